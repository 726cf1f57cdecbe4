"""The initramfs: busybox, four drivers and boxes/initramfs/init, packed by busybox's own cpio."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import zstandard

from boxes import recipe
from boxes.errors import BoxError

HERE = Path(__file__).resolve().parent


def load_order(modules_dep: str, wanted: Sequence[str]) -> list[str]:
    """Paths of the wanted modules and of all they depend on, each after its own dependencies.

    modules_dep: text of depmod's modules.dep, which lists a module's dependencies with the deepest last.
    Raises BoxError when the kernel has no such module.
    """
    needs: dict[str, list[str]] = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {Path(path).stem: path for path in needs}
    order: list[str] = []
    for name in wanted:
        if name not in by_name:
            raise BoxError(f"the kernel has no module {name}: change INITRAMFS_MODULES in boxes/recipe.py")
        path = by_name[name]
        order += [need for need in [*reversed(needs[path]), path] if need not in order]
    return order


def build(root: Path, target: Path) -> None:
    """Writes the compressed archive at target from the system unpacked in root."""
    folders = list((root / "usr/lib/modules").iterdir())
    if len(folders) != 1:
        raise BoxError(f"expected one kernel in the base layer, found {[f.name for f in folders]}")
    modules = folders[0]
    order = load_order((modules / "modules.dep").read_text(), recipe.INITRAMFS_MODULES)
    busybox = root / "usr/bin/busybox"
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        tree = Path(temporary)
        for folder in ("bin", "dev", "proc", "sys", "system", "modules"):
            (tree / folder).mkdir()
        shutil.copy2(busybox, tree / "bin/busybox")
        shutil.copy2(HERE / "initramfs/init", tree / "init")
        for path in order:
            shutil.copy2(modules / path, tree / "modules")
        (tree / "modules/order").write_text("".join(Path(path).stem + "\n" for path in order))
        names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
        archive = subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc", "-R", "0:0"],
            input="".join(name + "\n" for name in names).encode(),
            cwd=tree,
            capture_output=True,
            check=True,
        ).stdout
    target.write_bytes(zstandard.ZstdCompressor(level=19).compress(archive))
