"""Errors inside the child. They cross to the engine by their fault's name and become its own there."""

from enum import StrEnum


class Fault(StrEnum):
    MISSING = "missing"  # no such file
    WISH = "wish"  # the request, or the archive, asks for what cannot be
    READ_ONLY = "read-only"
    SYSTEM = "system"


class CopyFault(Exception):  # noqa: N818 - named for what it is
    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def missing(path: str) -> CopyFault:
    return CopyFault(Fault.MISSING, path)


def wish(message: str) -> CopyFault:
    return CopyFault(Fault.WISH, message)
