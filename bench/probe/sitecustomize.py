"""Times functions of the engine from outside: on PYTHONPATH, every Python process of the engine imports it.

WHERRY_PROBE_FILE names a file of SIZE bytes that all of them map: after the pivot a process can open
nothing, but memory it shares stays. WHERRY_PROBE_POINTS is a JSON object, module -> names of functions
("Class.method" for methods). Without the variables nothing happens.

    the file    SLOTS slots of SLOT_BYTES; a process takes one by the time at which it began
    a slot      a 4-byte length, then lines: "name begin end\\n", nanoseconds of the monotonic clock
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

SLOTS, SLOT_BYTES = 1024, 16384
SIZE = SLOTS * SLOT_BYTES


class Recorder:
    """One process's slot; a child of a fork takes another."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:  # noqa: PTH123 - no import that the engine does not have
            self._memory = mmap.mmap(file.fileno(), SIZE)
        self._take_slot()
        os.register_at_fork(after_in_child=self._take_slot)

    def _take_slot(self) -> None:
        self._at = (time.monotonic_ns() // 1000) % SLOTS * SLOT_BYTES
        self._length = 0
        self._set_length()

    def _set_length(self) -> None:
        self._memory[self._at : self._at + 4] = struct.pack("=I", self._length)

    def note(self, name: str, begin: int, end: int) -> None:
        line = f"{name} {begin} {end}\n".encode()
        if 4 + self._length + len(line) > SLOT_BYTES:
            self._length = 0
        place = self._at + 4 + self._length
        self._memory[place : place + len(line)] = line
        self._length += len(line)
        self._set_length()


def timed(function: Any, name: str, recorder: Recorder) -> Any:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            begin = time.monotonic_ns()
            try:
                return await function(*args, **kwargs)
            finally:
                recorder.note(name, begin, time.monotonic_ns())

        return coroutine

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        begin = time.monotonic_ns()
        try:
            return function(*args, **kwargs)
        finally:
            recorder.note(name, begin, time.monotonic_ns())

    return plain


class Loader(importlib.abc.Loader):
    """Lets the real one execute the module, then puts the clocks in."""

    def __init__(self, wrapped: Any, names: Sequence[str], recorder: Recorder) -> None:
        self._wrapped, self._names, self._recorder = wrapped, names, recorder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._wrapped.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._wrapped.exec_module(module)
        for name in self._names:
            holder: Any = module
            *outer, last = name.split(".")
            for each in outer:
                holder = getattr(holder, each)
            whole = f"{module.__name__}.{name}"
            found = inspect.getattr_static(holder, last)
            if isinstance(found, staticmethod):
                setattr(holder, last, staticmethod(timed(found.__func__, whole, self._recorder)))
            else:
                setattr(holder, last, timed(found, whole, self._recorder))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, points: dict[str, Sequence[str]], recorder: Recorder) -> None:
        self._points, self._recorder = points, recorder

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._points:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader, self._points[name], self._recorder)
        return spec


if "WHERRY_PROBE_FILE" in os.environ:
    sys.meta_path.insert(
        0, Finder(json.loads(os.environ["WHERRY_PROBE_POINTS"]), Recorder(os.environ["WHERRY_PROBE_FILE"]))
    )
