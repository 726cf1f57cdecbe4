"""A log that was packed, as a file to read from."""

import gzip
from typing import BinaryIO


class Unpacked(gzip.GzipFile):
    """Closes the file below it too, and keeps its descriptor visible."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()
