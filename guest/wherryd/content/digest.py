"""Digests as the OCI image spec writes them ("Descriptors", section "Digests"). Only sha256 is stored."""

import hashlib
import os
import re
from io import BufferedReader
from typing import Final

from wherryd.errors import InvalidParameter

try:
    # Python's own: hashlib prefers OpenSSL's, which is ten times as fast, and 2 MB for an engine that only
    # ever hashes a few documents.
    from _sha2 import sha256 as _plain  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256 as _plain  # type: ignore[import-not-found, unused-ignore] # before 3.12
    except ImportError:
        _plain = hashlib.sha256

#: More bytes are worth OpenSSL.
_FEW: Final = 256 * 1024
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def check(digest: str) -> str:
    """The digest itself. Raises InvalidParameter; so no caller's text becomes a path unchecked."""
    if not _SHA256.fullmatch(digest):
        raise InvalidParameter(f'invalid digest "{digest[:100]}": expected sha256: and 64 hexadecimal digits')
    return digest


def is_digest(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def of(data: bytes) -> str:
    return "sha256:" + raw(data).hex()


def raw(data: bytes) -> bytes:
    """The 32 bytes themselves."""
    found: bytes = (_plain if len(data) <= _FEW else hashlib.sha256)(data).digest()
    return found


def of_file(file: BufferedReader) -> str:
    """Of all of it."""
    if os.fstat(file.fileno()).st_size <= _FEW:
        return of(file.read())
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def encoded(digest: str) -> str:
    """The hexadecimal part. Raises InvalidParameter."""
    return check(digest).removeprefix("sha256:")


def short(digest: str) -> str:
    """The twelve digits that people see."""
    return digest.removeprefix("sha256:")[:12]
