"""The boot sector assembled from probe.S; a test assembles it again and compares."""

from __future__ import annotations

import base64

_CODE = (
    "+jHAjtiOwI7QvAB8Zr8AEAAAZjHAZrkADAAA/Gbzq2bHBgAQAyAAAGbHBgAgAzAAAGbHBgAwgwAAAA8BFhh9DyDADAEPIsDqTHwI"
    "AGa4EACO2I7AjtAPIOAMIA8i4LgAEAAADyLYuYAAAMAPMg0AAQAADzAPIMANAAAAgA8iwOqGfAAAGAC8AHwAAL8AUgAAuO98AABm"
    "iQdmx0cCGABmx0cEAI5mx0cGAABIx0cIAAAAAA8BHCUefQAAsBHmILAg5iGwBOYhsAHmIbD+5iGwNOZDsKnmQLAE5kAx2/v0gPsD"
    "cvr6McAPorAq5vT06/3/w7Ag5iBIz5AAAAAAAAAAAP//AAAAms8A//8AAACSzwD//wAAAJqvAB8A+HwAAA8CAFA="
)

#: What the guest writes to the isa-debug-exit port; QEMU then exits with 2 * n + 1.
EXIT_STATUS = 0x2A * 2 + 1


def boot_sector() -> bytes:
    """512 bytes: the code, padding, the boot signature."""
    return base64.b64decode(_CODE).ljust(510, b"\0") + b"\x55\xaa"
