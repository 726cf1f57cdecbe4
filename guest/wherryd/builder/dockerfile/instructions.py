"""What each instruction is, before variables are put in. Values only.

Source: Dockerfile reference; BuildKit's `instructions` package for which flags there are.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from wherryd.builder.dockerfile.heredocs import Heredoc


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """keyword: upper case. text: the instruction as Docker shows it in "Step 1/3 : ...", flags and all.
    line, end: lines of the file, from 1."""

    keyword: str
    text: str
    line: int
    end: int


@dataclass(frozen=True, slots=True)
class Pair:
    """separator: "=", or "" for the old form `ENV NAME the rest of the line`."""

    name: str
    value: str
    separator: str = "="


@dataclass(frozen=True, slots=True)
class ArgPair:
    """value: the default, or None."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Command:
    """words: an exec form's words, or the one line of a shell form. shell: whether it is a shell form.
    heredocs: files that the line reads."""

    words: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


class MountType(StrEnum):
    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - the name of a kind of mount
    SSH = "ssh"


class Sharing(StrEnum):
    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One --mount of a RUN. size_bytes: of a tmpfs, 0 = no limit. mode: octal number or None.
    env: name of the variable that gets the secret's content, None for a file only."""

    type: MountType
    origin: str = ""
    source: str = ""
    target: str = ""
    read_only: bool
    size_bytes: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """base: an image, a stage or "scratch". name: of this stage, lower case, or ""."""

    base: str
    name: str
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    pairs: tuple[ArgPair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """mounts: texts of --mount; they may hold variables, `mounts.parse` reads them."""

    command: Command
    mounts: tuple[str, ...]
    network: str
    security: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD share. heredocs: sources that stand in the Dockerfile itself."""

    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    destination: str
    chown: str
    chmod: str
    link: bool
    excludes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    """origin: --from, a stage, an image or "" for the context."""

    origin: str
    parents: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    """unpack: None = archives of the context are unpacked, downloads are not."""

    checksum: str
    keep_git_dir: bool
    unpack: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """test: ("NONE",), ("CMD", words...) or ("CMD-SHELL", line). times: Docker's field -> nanoseconds."""

    test: tuple[str, ...]
    times: dict[str, int] = field(default_factory=dict)
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """trigger: the text that a build on this image runs, heredocs included."""

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    maintainer: str
