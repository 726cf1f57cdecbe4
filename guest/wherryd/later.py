"""Modules that are imported when they are first looked into.

An engine is idle most of its life, and what it imports stays in memory for as long: 12 MB for a client of
registries, a few for the builder. What only some requests want is therefore imported by the first of them:

    if TYPE_CHECKING:
        from wherryd.images import pulling
    else:
        pulling = later.module("wherryd.images.pulling")

Not for what runs between a fork and an exec: there nothing may be imported.
"""

import importlib
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> ModuleType:
    """name: in full. An ImportError comes with the first use."""
    return _Later(name)
