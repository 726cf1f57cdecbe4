"""The runtime's values that cross its door: how streams are kept, and how a process ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerIo:
    """How the monitor keeps a container's streams.

    log_path: json-file log, written by the monitor; None = no log. log_max_bytes: the file is rotated
    before it would grow past this; None = never. log_max_files: files kept in all, the current one
    included. log_compress: whether older files are packed. log_attributes: kept with each record, for
    `logs --details`. console_size: (height, width) in characters, for a terminal only.
    """

    terminal: bool
    open_stdin: bool
    stdin_once: bool
    log_path: Path | None
    log_max_bytes: int | None = None
    log_max_files: int = 1
    log_compress: bool = False
    log_attributes: Mapping[str, str] = field(default_factory=dict)
    console_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended.

    exit_code: its status, or 128 + signal number. exited_at: RFC 3339 in UTC with nanoseconds.
    oom_killed: whether the kernel killed a process of the container for want of memory. error: why it
    never ran, or how its end was lost; empty when it ran and ended by itself.
    """

    exit_code: int
    exited_at: str
    oom_killed: bool
    error: str
