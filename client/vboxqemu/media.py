"""The disks VBoxManage knows: media.json, one entry per file, and who uses them."""

from __future__ import annotations

import os

from vboxqemu import files, images, paths, store
from vboxqemu.errors import FileProblem, ObjectInUse, ObjectNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Medium


def _file() -> str:
    return os.path.join(paths.home(), "media.json")


def known() -> dict[str, Medium]:
    """All registered media by path."""
    media: dict[str, Medium] = files.read_json(_file()) or {}
    return media


def register(path: str, driver: str, *, size_bytes: int, variant: str = "dynamic default") -> Medium:
    """Adds a file to the known media, or brings its entry up to date; the UUID stays."""
    path = os.path.abspath(path)
    with files.Lock(os.path.join(paths.home(), "media.lock")):
        media = known()
        uuid = media[path]["uuid"] if path in media else store.new_uuid()
        medium: Medium = {
            "uuid": uuid,
            "path": path,
            "format": driver,
            "virtual_bytes": size_bytes,
            "variant": variant,
        }
        media[path] = medium
        files.write_json(_file(), media)
    return medium


def forget(path: str) -> None:
    """Removes the entry; the file stays. A path that is not known is fine."""
    with files.Lock(os.path.join(paths.home(), "media.lock")):
        media = known()
        if media.pop(path, None) is not None:
            files.write_json(_file(), media)


def find(path_or_uuid: str) -> Medium:
    """The medium of that UUID or path; a file not seen before is registered. Raises FileProblem,
    ObjectNotFound."""
    media = known()
    wanted = path_or_uuid.strip("{}").lower()
    for medium in media.values():
        if medium["uuid"] == wanted:
            return medium
    if store.is_uuid(wanted):
        raise ObjectNotFound(f"Could not find an open hard disk with UUID {{{wanted}}}")
    path = os.path.abspath(path_or_uuid)
    if path in media:
        if not os.path.exists(path):
            raise FileProblem(f"Could not find file for the medium '{path}' (VERR_FILE_NOT_FOUND)")
        return media[path]
    driver = images.detect(path)
    return register(path, driver, size_bytes=images.info(path, driver)["virtual-size"])


def users(path: str) -> list[tuple[str, str]]:
    """(name, UUID) of the VMs that have the disk attached."""
    return [
        (vm["name"], vm["uuid"])
        for _, vm in store.walk()
        if any(each["path"] == path for controller in vm["controllers"] for each in controller["attachments"])
    ]


def must_be_free(path: str) -> None:
    """Raises ObjectInUse when a VM has the disk attached."""
    attached = users(path)
    if attached:
        names = ", ".join(f"'{name}'" for name, _ in attached)
        raise ObjectInUse(
            f"Medium '{path}' cannot be changed because it is attached to {names}; detach it first"
        )
