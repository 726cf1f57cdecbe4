"""Image names as users write them. Source: distribution reference grammar."""

import re

DEFAULT_TAG = "latest"
_ID = re.compile(r"^(?:sha256:)?[0-9a-f]{64}$")
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile("[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
#: What Docker leaves out when it shows a name.
_DEFAULT_DOMAINS = ("docker.io/library/", "docker.io/")


def split(reference: str) -> tuple[str, str]:
    """`host:5000/a/b:tag` -> name and tag; a digest counts as the tag; without either, the default tag."""
    name, at, digest = reference.partition("@")
    if at:
        return _without_tag(name)[0], digest
    name, tag = _without_tag(name)
    return name, tag or DEFAULT_TAG


def _without_tag(name: str) -> tuple[str, str]:
    head, colon, tag = name.rpartition(":")
    # A colon before a slash belongs to a port.
    return (head, tag) if colon and "/" not in tag else (name, "")


def check(reference: str) -> None:
    """Raises UsageProblem, as docker's client does before it asks an engine. Ids are references, too."""
    from wherry.errors import UsageProblem

    if is_id(reference):
        return
    rest, at, digest = reference.partition("@")
    registry = domain(rest)
    path, colon, tag = canonical(rest, "").removeprefix(f"{registry}/").partition(":")
    if path.lower() != path:
        raise UsageProblem(f"invalid reference format: repository name ({path}) must be lowercase")
    if not (
        _HOST.fullmatch(registry)
        and _PATH.fullmatch(path)
        and (not colon or _TAG.fullmatch(tag))
        and (not at or _DIGEST.fullmatch(digest))
    ):
        raise UsageProblem("invalid reference format")


def is_id(reference: str) -> bool:
    """Whether it can only be an image's id, which nobody can pull."""
    return _ID.match(reference) is not None


def familiar(name: str) -> str:
    """Without docker.io/library/."""
    for domain in _DEFAULT_DOMAINS:
        if name.startswith(domain):
            return name.removeprefix(domain)
    return name


def domain(name: str) -> str:
    """The registry a name belongs to: `mysql` -> `docker.io`, `localhost:5000/a` -> `localhost:5000`."""
    first, slash, _ = name.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not looks_like_host or first == "index.docker.io":
        return "docker.io"
    return first


def canonical(name: str, tag: str) -> str:
    """`mysql`, `8` -> `docker.io/library/mysql:8`. tag may be a digest, or "" for none."""
    registry = domain(name)
    path = name.removeprefix("index.docker.io/").removeprefix(f"{registry}/")
    if registry == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{registry}/{path}" + (f"{'@' if ':' in tag else ':'}{tag}" if tag else "")


def with_tag(reference: str) -> str:
    """`mysql` -> `mysql:latest`, as Docker shows it."""
    name, tag = split(reference)
    return f"{familiar(name)}{'@' if ':' in tag else ':'}{tag}"


def platform(text: str) -> str:
    """`linux/arm64/v8` -> the JSON object that the Engine API wants. Raises UsageProblem."""
    import json

    from wherry.errors import UsageProblem

    os_, slash, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    if not slash or not os_ or not architecture or "/" in variant:
        raise UsageProblem(f'--platform {text}: write it as os/architecture, such as "linux/amd64"')
    fields = {"os": os_, "architecture": architecture, "variant": variant}
    return json.dumps({key: value for key, value in fields.items() if value})
