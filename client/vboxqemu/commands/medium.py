"""createmedium, closemedium, modifymedium, showmediuminfo, clonemedium (and their old ...hd names),
convertfromraw."""

from __future__ import annotations

import os
import sys

from vboxqemu import images, media, options, state, store
from vboxqemu.errors import FileProblem, InvalidArgument, NotSupported, ObjectInUse, Syntax
from vboxqemu.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vboxqemu.schema import Medium

MIB = 1 << 20
#: VirtualBox's disk formats, and QEMU's drivers for them.
FORMATS = {"VDI": "vdi", "VMDK": "vmdk", "VHD": "vpc", "RAW": "raw"}


def run(verb: str, words: Sequence[str]) -> int:
    verbs: dict[str, Callable[[Sequence[str]], int]] = {
        "createmedium": create,
        "createhd": create,
        "closemedium": close,
        "modifymedium": modify,
        "modifyhd": modify,
        "showmediuminfo": show,
        "showhdinfo": show,
        "clonemedium": clone,
        "convertfromraw": convert_from_raw,
    }
    return verbs[verb](words)


def _without_kind(positional: list[str]) -> list[str]:
    """`createmedium disk ...`: the kind of medium may be said first."""
    if positional and positional[0] in ("disk", "dvd", "floppy"):
        if positional[0] == "floppy":
            raise NotSupported("Floppy disks are not supported on QEMU")
        return positional[1:]
    return positional


def create(words: Sequence[str]) -> int:
    values = {
        "--filename": "path",
        "--size": "mib",
        "--sizebyte": "bytes",
        "--format": "format",
        "--variant": "variant",
    }
    positional, found = options.parse(words, {**values, "--diffparent": "parent", "--property": "property"})
    if _without_kind(positional):
        raise Syntax(f"Invalid parameter '{positional[-1]}'")
    if "parent" in found:
        raise NotSupported("Differencing disks are not supported; use snapshot take")
    if not found.get("path"):
        raise Syntax("Parameter --filename is required")
    if "mib" not in found and "bytes" not in found:
        raise Syntax("Parameter --size is required")
    _check_format(found.get("format", "VDI"))
    size = (
        options.whole_number(found["bytes"], "size", least=MIB, most=1 << 50)
        if "bytes" in found
        else options.whole_number(found["mib"], "size", least=1, most=1 << 30) * MIB
    )
    fixed = "fixed" in found.get("variant", "").lower()
    path = os.path.abspath(found["path"])
    with Progress():
        images.create(path, size, fixed=fixed)
        medium = media.register(
            path, "qcow2", size_bytes=size, variant="fixed default" if fixed else "dynamic default"
        )
    sys.stdout.write(f"Medium created. UUID: {medium['uuid']}\n")
    return 0


def _check_format(name: str) -> str:
    if name.upper() not in FORMATS:
        raise InvalidArgument(f"Invalid format '{name}' ({', '.join(FORMATS)})")
    return FORMATS[name.upper()]


def close(words: Sequence[str]) -> int:
    positional, found = options.parse(words, {}, {"--delete": "delete"})
    medium = media.find(options.one(_without_kind(positional), "Medium"))
    media.must_be_free(medium["path"])
    if "delete" in found:
        with Progress():
            os.unlink(medium["path"])
            media.forget(medium["path"])
    else:
        media.forget(medium["path"])
    return 0


def modify(words: Sequence[str]) -> int:
    values = {"--resize": "mib", "--resizebyte": "bytes", "--type": "type", "--description": "description"}
    positional, found = options.parse(words, {**values, "--property": "property"}, {"--compact": "compact"})
    medium = media.find(options.one(_without_kind(positional), "Medium"))
    _check_not_running(medium["path"])
    if "mib" in found or "bytes" in found:
        size = (
            options.whole_number(found["bytes"], "size", least=MIB, most=1 << 50)
            if "bytes" in found
            else options.whole_number(found["mib"], "size", least=1, most=1 << 30) * MIB
        )
        with Progress():
            images.resize(medium["path"], medium["format"], size)
            media.register(medium["path"], medium["format"], size_bytes=size, variant=medium["variant"])
    if "compact" in found:
        with Progress():
            images.convert(medium["path"], medium["format"], medium["path"], medium["format"])
    return 0


def _check_not_running(path: str) -> None:
    for name, uuid in media.users(path):
        folder, _ = store.find(uuid)
        now = state.of(folder)
        if now not in ("poweroff", "aborted"):
            raise ObjectInUse(f"Medium '{path}' is in use: machine '{name}' is {state.WORDS[now]}")


def show(words: Sequence[str]) -> int:
    positional, _ = options.parse(words, {})
    sys.stdout.write(describe(media.find(options.one(_without_kind(positional), "Medium")), brief=False))
    return 0


def describe(medium: Medium, *, brief: bool) -> str:
    """The block `list hdds` (brief) and `showmediuminfo` print for a disk."""
    used_by = media.users(medium["path"])
    there = os.path.exists(medium["path"])
    rows = [
        ("UUID", medium["uuid"]),
        ("Parent UUID", "base"),
        ("State", "created" if there else "inaccessible"),
        ("Type", "normal (base)"),
        ("Location", medium["path"]),
        ("Storage format", medium["format"].upper()),
    ]
    if not brief:
        rows.append(("Format variant", medium["variant"]))
    rows.append(("Capacity", f"{medium['virtual_bytes'] // MIB} MBytes"))
    if not brief:
        taken = images.info(medium["path"], medium["format"])["actual-size"] if there else 0
        rows.append(("Size on disk", f"{taken // MIB} MBytes"))
    rows.append(("Encryption", "disabled"))
    if not brief and used_by:
        rows.append(("In use by VMs", ", ".join(f"{name} (UUID: {uuid})" for name, uuid in used_by)))
    return "".join(f"{name + ':':<16}{value}\n" for name, value in rows)


def clone(words: Sequence[str]) -> int:
    """The copy is qcow2 under the name asked for, as createmedium's (see images.py)."""
    values = {"--format": "format", "--variant": "variant"}
    positional, found = options.parse(words, values, {"--existing": "existing"})
    names = _without_kind(positional)
    if len(names) != 2:
        raise Syntax("Mandatory parameters: the medium to copy and the file to make")
    _check_format(found.get("format", "VDI"))
    source, target = media.find(names[0]), os.path.abspath(names[1])
    if os.path.exists(target):
        raise FileProblem(f"Could not create the medium storage unit '{target}' (VERR_ALREADY_EXISTS)")
    _check_not_running(source["path"])
    with Progress():
        images.convert(source["path"], source["format"], target, "qcow2")
        medium = media.register(target, "qcow2", size_bytes=source["virtual_bytes"])
    sys.stdout.write(f"Clone medium created in format 'QCOW2'. UUID: {medium['uuid']}\n")
    return 0


def convert_from_raw(words: Sequence[str]) -> int:
    """convertfromraw RAW FILE [--format VDI|VMDK|VHD]: the real format, since the file is for other programs
    too."""
    values = {"--format": "format", "--variant": "variant", "--uuid": "uuid"}
    positional, found = options.parse(words, values)
    if len(positional) != 2:
        raise Syntax("Mandatory parameters: the raw file and the file to make")
    driver = _check_format(found.get("format", "VDI"))
    source, target = (os.path.abspath(each) for each in positional)
    if not os.path.exists(source):
        raise FileProblem(f"Could not open '{source}' (VERR_FILE_NOT_FOUND)")
    if os.path.exists(target):
        raise FileProblem(f"Could not create the medium storage unit '{target}' (VERR_ALREADY_EXISTS)")
    sys.stdout.write(f'Converting from raw image file="{source}" to file="{target}"...\n')
    images.convert(source, "raw", target, driver)
    return 0
