"""The base layer: Debian by mmdebstrap, as a tar. Made once per recipe and kept in the cache."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from boxes import recipe
from boxes.errors import BoxError
from boxes.mirror import Mirror

HERE = Path(__file__).resolve().parent
HOOK = HERE / "base-hook.sh"


#: All of the recipe that shapes this layer: units and kernel command line may change without a new one.
VALUES = (
    recipe.SUITE,
    recipe.ARCHITECTURE,
    recipe.KERNEL,
    recipe.PACKAGES,
    recipe.EXCLUDES,
    recipe.INCLUDES,
    recipe.MODULES,
)


def arguments(mirror: Mirror, target: Path) -> Iterator[str]:
    """The mmdebstrap call. Root mode: real owners and device nodes, no user namespace needed."""
    yield from ("mmdebstrap", "--mode=root", "--variant=apt", f"--architectures={recipe.ARCHITECTURE}")
    yield f"--include={','.join(recipe.PACKAGES)}"
    yield '--aptopt=Acquire::Languages "none"'
    yield '--aptopt=Apt::Install-Recommends "false"'
    for path in recipe.EXCLUDES:
        yield f"--dpkgopt=path-exclude={path}"
    for path in recipe.INCLUDES:
        yield f"--dpkgopt=path-include={path}"
    yield f'--customize-hook={HOOK} "$1"'
    yield from (recipe.SUITE, str(target))
    yield from mirror.sources(recipe.SUITE)


def build(mirror: Mirror, target: Path) -> None:
    """Writes the tar at target. Raises BoxError with the tool's last words."""
    if os.geteuid() != 0:
        raise BoxError("building a box needs root: run it again with sudo")
    environment = os.environ | {
        "WHERRY_KERNEL": recipe.KERNEL,
        "WHERRY_MODULES": " ".join(recipe.MODULES),
        "LC_ALL": "C.UTF-8",
    }
    result = subprocess.run(
        list(arguments(mirror, target)), env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        target.unlink(missing_ok=True)
        raise BoxError(
            f"mmdebstrap failed with status {result.returncode}:\n{result.stderr[-2000:]}\n"
            "hint: check that the Debian mirror can be reached, then run it again"
        )
