"""Verbs that VirtualBox has and QEMU behind this command has not. They fail with a reason, not as typing
errors."""

from __future__ import annotations

from vboxqemu.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REASONS = {
    "adoptstate": "a state saved by VirtualBox cannot be read by QEMU",
    "clonevm": "import the box again instead (Vagrantfile: linked_clone = false)",
    "dhcpserver": "adapters are NAT only, with addresses from QEMU's own DHCP",
    "export": "package the box on a host with VirtualBox",
    "guestcontrol": "there are no Guest Additions; use SSH",
    "hostonlyif": "adapters are NAT only; forward ports instead (--natpf1)",
    "hostonlynet": "adapters are NAT only; forward ports instead (--natpf1)",
    "sharedfolder": "there is no shared folder device; share over SSH instead (in Vagrant: disabled: true)",
}


def run(verb: str, words: Sequence[str]) -> int:
    del words
    raise NotSupported(f"{verb} is not supported on QEMU: {REASONS.get(verb, 'there is nothing like it')}")
