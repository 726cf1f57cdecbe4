"""Digests as the OCI image spec writes them ("Descriptors", section "Digests"). Only sha256 is stored."""

import hashlib
import re

from wherryd.errors import InvalidParameter

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def check(digest: str) -> str:
    """The digest itself. Raises InvalidParameter; so no caller's text becomes a path unchecked."""
    if not _SHA256.fullmatch(digest):
        raise InvalidParameter(f'invalid digest "{digest[:100]}": expected sha256: and 64 hexadecimal digits')
    return digest


def is_digest(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encoded(digest: str) -> str:
    """The hexadecimal part. Raises InvalidParameter."""
    return check(digest).removeprefix("sha256:")


def short(digest: str) -> str:
    """The twelve digits that people see."""
    return digest.removeprefix("sha256:")[:12]
