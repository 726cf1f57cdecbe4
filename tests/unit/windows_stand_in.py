"""Loads a `_windows` module on any platform, with stand-ins for the calls that only Windows has.

What is tried is the module's own logic: which modes it sets and gives back, what it makes of errors. That
Windows' calls do what their documentation says is not.
"""

import ctypes
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import wherry

CLIENT = Path(wherry.__file__).parent


def load(monkeypatch: pytest.MonkeyPatch, path: str, **modules: Any) -> types.ModuleType:
    """path: below client/wherry. modules: stand-ins for msvcrt and _winapi."""
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location(f"stand_in_{path.replace('/', '_')[:-3]}", CLIENT / path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        spec.loader.exec_module(made)
    return made


class Kernel32:
    """Consoles: a mode per handle. A handle without one is no console."""

    def __init__(self, modes: dict[int, int]) -> None:
        self.modes = modes
        self.page = 437
        self.GetConsoleMode = _Call(self._get)
        self.SetConsoleMode = _Call(self._set)
        self.GetConsoleOutputCP = _Call(lambda: self.page)
        self.SetConsoleOutputCP = _Call(self._set_page)

    def _get(self, handle: int, mode: Any) -> int:
        if handle not in self.modes:
            return 0
        mode._obj.value = self.modes[handle]
        return 1

    def _set(self, handle: int, mode: int) -> int:
        if handle not in self.modes:
            return 0
        self.modes[handle] = mode
        return 1

    def _set_page(self, page: int) -> int:
        self.page = page
        return 1

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: self, raising=False)
        monkeypatch.setattr(ctypes, "get_last_error", lambda: 6, raising=False)
        monkeypatch.setattr(ctypes, "WinError", lambda code: OSError(code, "no console"), raising=False)


class _Call:
    """A function that takes argtypes as ctypes' do."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.argtypes: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)
