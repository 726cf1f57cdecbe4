"""The system's tree: base layer, our files, the engine's code; what a change of the code makes anew."""

import shutil
import subprocess
from pathlib import Path

from boxes import recipe

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

#: What the guest runs of this repository -> where it lives in the guest.
PYTHON = Path("usr/lib/wherry/python")
SOURCES = ("guest/wherryd", "wire/wherrywire")


def unpack(base: Path, root: Path) -> None:
    subprocess.run(
        ["tar", "-x", "-f", base, "-C", root, "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*"],
        check=True,
    )


def finish(root: Path, *, version: str) -> None:
    """Lays our files over the unpacked base, compiles the engine's code with the guest's own Python."""
    _lay_files(HERE / "rootfs", root)
    for source in SOURCES:
        shutil.copytree(
            REPOSITORY / source,
            root / PYTHON / Path(source).name,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
    # `python3 -m wherryd...` finds it too: the engine starts its own helper processes that way.
    (root / "usr/lib/python3/dist-packages/wherry.pth").write_text(f"/{PYTHON}\n")
    # Unchecked: /usr is read-only in the guest, so that a source cannot change under its byte code.
    subprocess.run(
        [
            "chroot",
            root,
            "python3",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            f"/{PYTHON}",
        ],
        check=True,
    )
    (root / "usr/lib/wherry/version").write_text(version + "\n")
    (root / "var/lib/wherry").mkdir(mode=0o711)
    (root / "etc/hostname").write_text("wherry\n")
    (root / "etc/hosts").write_text("127.0.0.1\tlocalhost\n127.0.1.1\twherry\n::1\tlocalhost\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/fstab").write_text("# The initramfs mounts the system, wherry-data.service the data disk.\n")
    _units(root)


def _lay_files(source: Path, root: Path) -> None:
    """Copies the tree; owner root, and of the mode only whether it is executable (git keeps no more)."""
    for path in sorted(source.rglob("*")):
        target = root / path.relative_to(source)
        if path.is_dir():
            target.mkdir(exist_ok=True)
            continue
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    (root / "etc/sudoers.d/wherry").chmod(0o440)


def _units(root: Path) -> None:
    units = root / "etc/systemd/system"
    generators = root / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    shutil.rmtree(units / "getty.target.wants", ignore_errors=True)
    for folder, names in ((units, recipe.MASKED), (generators, recipe.MASKED_GENERATORS)):
        for name in names:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to("/dev/null")
    subprocess.run(["systemctl", "--root", root, "-q", "enable", *recipe.ENABLED], check=True)
    subprocess.run(["systemctl", "--root", root, "-q", "set-default", "wherry.target"], check=True)
