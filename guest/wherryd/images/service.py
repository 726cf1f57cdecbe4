"""The door to images. Everything else in this package is behind it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from wherryd.images.image import Image, InUse, Progress, Publish
from wherryd.metadata.database import Database
from wherryd.spec.mount import Mount

Filters = Mapping[str, Sequence[str]]


class ImageService(Protocol):
    """Construct with `ImageService(...)`, then `await open()`; `in_use` may be set later by the containers."""

    in_use: InUse

    def __init__(
        self,
        *,
        data_root: Path,
        database: Database,
        storage_driver: str = "",  # "overlay", "vfs", "" = the best that works here
        publish: Publish,
    ) -> None: ...

    @property
    def storage_driver(self) -> str: ...

    async def open(self) -> None:
        """Sweeps what no image and no container refers to."""

    async def close(self) -> None: ...

    # archives
    def import_tar(
        self,
        stream: AsyncIterator[bytes],
        *,
        reference: str | None,
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> AsyncIterator[Progress]: ...

    def load(self, stream: AsyncIterator[bytes], quiet: bool = False) -> AsyncIterator[Progress]: ...

    def save(self, references: Sequence[str]) -> AsyncIterator[bytes]:
        """Resolves every reference before the first byte: NotFound comes at the call."""

    # names
    def resolve(self, reference_or_id: str) -> Image:
        """Raises NotFound "No such image: mysql:demo", InvalidParameter "invalid reference format"."""

    def list(
        self, *, all_images: bool = False, filters: Filters = {}, shared_size: bool = False
    ) -> list[dict[str, Any]]: ...  # noqa: B006

    def inspect(self, image: Image) -> dict[str, Any]: ...

    def history(self, image: Image) -> list[dict[str, Any]]: ...

    def tag(self, image: Image, reference: str) -> None: ...

    async def remove(
        self, reference: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, str]]: ...

    async def prune(self, filters: Filters) -> dict[str, Any]: ...

    def disk_usage(self) -> tuple[list[dict[str, Any]], int]:
        """(image summaries with SharedSize, bytes of all layers): for GET /system/df and /info."""

    def count(self) -> int: ...

    # root file systems of containers
    async def prepare_rootfs(self, container_id: str, image: Image) -> tuple[Mount, ...]: ...

    async def rootfs_mounts(self, container_id: str) -> tuple[Mount, ...]: ...

    async def remove_rootfs(self, container_id: str) -> None:
        """Idempotent."""

    async def rootfs_usage(self, container_id: str) -> int:
        """Bytes the container wrote (SizeRw)."""
