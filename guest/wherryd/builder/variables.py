"""Which ARGs and ENVs an instruction sees. Source: Dockerfile reference, "ARG", scope and predefined args."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from wherryd.images.image import Platform

#: May be given without an ARG; kept out of the history and the cache key.
PROXIES = frozenset(
    name
    for each in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (each, each.lower())
)
#: Steers the builder itself and needs no ARG.
EPOCH = "SOURCE_DATE_EPOCH"


class BuildKitArgument(StrEnum):
    """Those of BuildKit's that we have, too. Source: Dockerfile reference, "BuildKit built-in build args"."""

    KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
    #: As the `# check=` directive, in its place.
    CHECK = "BUILDKIT_DOCKERFILE_CHECK"
    #: As the `# syntax=` directive, in its place.
    SYNTAX = "BUILDKIT_SYNTAX"
    #: Of RUN steps.
    HOSTNAME = "BUILDKIT_SANDBOX_HOSTNAME"
    #: Cache mounts of another namespace are others.
    CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
    #: What --cache-from needs is always in the image.
    INLINE_CACHE = "BUILDKIT_INLINE_CACHE"


def platform_arguments(target: Platform, build: Platform) -> dict[str, str]:
    """The automatic ones: in a FROM by themselves, in a stage after `ARG TARGETARCH`."""
    found: dict[str, str] = {}
    for prefix, each in (("TARGET", target), ("BUILD", build)):
        name = f"{each.os}/{each.architecture}" + (f"/{each.variant}" if each.variant else "")
        found |= {
            f"{prefix}PLATFORM": name,
            f"{prefix}OS": each.os,
            f"{prefix}ARCH": each.architecture,
            f"{prefix}VARIANT": each.variant,
        }
    return found


@dataclass(slots=True)
class Arguments:
    """The build's arguments, and the ARGs before the first FROM."""

    given: Mapping[str, str | None]
    automatic: Mapping[str, str]
    _globals: dict[str, str | None] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def declare_global(self, name: str, default: str | None) -> None:
        self._used.add(name)
        self._globals[name] = self.value(name, default)

    def globals(self) -> dict[str, str]:
        """What a FROM, or a later global ARG, sees."""
        automatic = {name: self.given.get(name) or value for name, value in self.automatic.items()}
        return {**automatic, **{name: value for name, value in self._globals.items() if value is not None}}

    def value(self, name: str, default: str | None) -> str | None:
        """What an ARG gets: --build-arg, then its default, then the global ARG of that name."""
        self._used.add(name)
        if (given := self.given.get(name)) is not None:
            return given
        if default is not None:
            return default
        return self._globals.get(name, self.automatic.get(name))

    def proxies(self) -> dict[str, str]:
        return {name: value for name, value in self.given.items() if name in PROXIES and value is not None}

    def unused(self) -> list[str]:
        """Names that were given and that no ARG takes."""
        known = self._used | PROXIES | set(self.automatic) | {EPOCH, *BuildKitArgument}
        return sorted(name for name in self.given if name not in known)


@dataclass(slots=True)
class Scope:
    """The ARGs of one stage, declared so far."""

    arguments: Arguments
    _declared: dict[str, str | None] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> None:
        self._declared[name] = self.arguments.value(name, default)

    def inherit(self, other: "Scope") -> None:
        """A stage on another stage sees that one's ARGs."""
        self._declared = {**other._declared}

    def declared(self, environment: Mapping[str, str]) -> dict[str, str]:
        """ARGs with a value that no ENV overrides; what a RUN's cache key and history name."""
        return {
            name: value
            for name, value in sorted(self._declared.items())
            if value is not None and name not in environment and name not in PROXIES
        }

    def run_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What a RUN gets besides the image's ENV."""
        proxies = {name: value for name, value in self.arguments.proxies().items() if name not in environment}
        declared = {
            name: value
            for name, value in self._declared.items()
            if value is not None and name not in environment
        }
        return {**proxies, **declared}

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """For expansion: an ENV wins over an ARG of its name."""
        return {**self.run_environment(environment), **environment}
