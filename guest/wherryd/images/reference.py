"""Image references: parsing and normalising as Docker does.

Grammar: distribution/reference, "reference.go": [domain/]path[:tag][@digest]. "mysql" is short for
docker.io/library/mysql:latest; the short form is called familiar and is what users see.
"""

import re
from dataclasses import dataclass, replace

from wherryd.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_MAX_NAME = 255

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Normalised. tag and digest may be empty."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """docker.io/library/mysql"""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """mysql"""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return rest if "/" not in rest else self.path

    @property
    def canonical(self) -> str:
        """docker.io/library/mysql:demo"""
        return self.name + self._suffix()

    @property
    def familiar(self) -> str:
        """mysql:demo"""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_default_tag(self) -> "Reference":
        """With "latest" when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> "Reference":
        """Raises InvalidParameter."""
        if not _TAG.fullmatch(tag):
            raise InvalidParameter("invalid tag format")
        return replace(self, tag=tag, digest="")


def parse(text: str) -> Reference:
    """Raises InvalidParameter with Docker's sentences."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    rest, at, digest = text.partition("@")
    domain, rest = _split_domain(rest)
    path, colon, tag = rest.partition(":")
    if path.lower() != path:
        raise InvalidParameter(f"invalid reference format: repository name ({path}) must be lowercase")
    valid = (
        _DOMAIN.fullmatch(domain)
        and _PATH.fullmatch(path)
        and (not colon or _TAG.fullmatch(tag))
        and (not at or _DIGEST.fullmatch(digest))
    )
    if not valid:
        raise InvalidParameter("invalid reference format")
    if len(path) > _MAX_NAME:
        raise InvalidParameter(f"repository name must not be more than {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not looks_like_host:
        first, rest = DEFAULT_DOMAIN, text
    if first == "index.docker.io":
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def from_query(repository: str, tag: str) -> Reference | None:
    """The `repo` and `tag` parameters of several routes; None when there is no repo.

    Raises InvalidParameter.
    """
    if not repository:
        return None
    reference = parse(repository)
    if reference.digest:
        raise InvalidParameter("cannot tag by digest; give a name and a tag")
    return (reference.with_tag(tag) if tag else reference).with_default_tag()
