"""Modules that are imported when they are first looked into.

An engine is idle most of its life, and what it imports stays in memory for as long: 12 MB for a client of
registries, a few for the builder. What only some requests want is therefore imported by the first of them:

    if TYPE_CHECKING:
        from wherryd.images import pulling
    else:
        pulling = later.module("wherryd.images.pulling")

Not for what runs between a fork and an exec: there nothing may be imported.

What the standard library's modules import of each other, needed or not, is put off by `stand_in`: asyncio
wants ssl (and the memory of OpenSSL) for servers that have none, dataclasses want inspect, which wants ast.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any, NoReturn


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> ModuleType:
    """name: in full. An ImportError comes with the first use."""
    return _Later(name)


_giving_way = threading.Lock()


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of each module does not count
            raise AttributeError(name)
        with _giving_way:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        real = importlib.import_module(self.__name__)
        self.__dict__.update(real.__dict__)
        return getattr(real, name)


class _Sealed(_StandIn):
    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self.__name__} is not imported in this process")


def stand_in(name: str, **meanwhile: object) -> None:
    """Has `import name` do nothing but hand out a module that imports itself when it is first looked into.

    To be called before anything imports it; has no effect afterwards. meanwhile: what it has until then.
    """
    if name not in sys.modules:
        module = _StandIn(name)
        module.__dict__.update(meanwhile)
        sys.modules[name] = module


def without_inspect() -> None:
    """dataclasses look into it for two things, which need none of what it imports.

    They alone get these: who else asks for a signature wants a real one.
    """
    if "inspect" in sys.modules:
        return
    stand_in(
        "inspect",
        signature=lambda _: "",
        get_annotations=lambda cls: cls.__dict__.get("__annotations__", {}),
    )
    importlib.import_module("dataclasses")
    if type(sys.modules["inspect"]) is _StandIn:
        del sys.modules["inspect"]
        stand_in("inspect")


def seal() -> None:
    """For a process that may import nothing from now on: what stands in for a module, stays."""
    for module in sys.modules.values():
        if type(module) is _StandIn:
            module.__class__ = _Sealed
