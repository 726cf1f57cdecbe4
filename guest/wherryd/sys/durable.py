"""Files that are whole after a power cut: the new content or the old, never half of it and never nothing.

Source: rename(2), fsync(2). A rename alone is not enough: ext4 may write the name before the content, and the
file is empty afterwards.
"""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Returns when the disk has it. The folder must exist."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Its names are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
