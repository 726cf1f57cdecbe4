"""From the body of `POST /containers/create` to checked documents: load, fill in, merge, validate.

All problems of a request are told at once, each with its field. What the image's config says fills
what the request leaves open. Source: Engine API 1.51, ContainerCreate; OCI image-spec, config.md.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

from wherryd.containers import health, hostchecks, innerfields, kinds, limits, networking
from wherryd.containers.fields import CONFIG, HOST_CONFIG, Field, Verdict
from wherryd.errors import InvalidParameter, NotSupported

#: Warnings about fields that nobody knows.
_MOST_UNKNOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    config: dict[str, Any]
    host_config: dict[str, Any]
    #: Network name -> EndpointSettings as given.
    endpoints: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]


def parse(body: Mapping[str, Any]) -> CreateRequest:
    """The documents with every field present. Raises InvalidParameter or NotSupported with all problems."""
    warnings: list[str] = []
    problems: list[str] = []
    refusals: list[str] = []
    host_body = _object(body, "HostConfig", problems)
    networking = _object(body, "NetworkingConfig", problems)
    warnings += _unknown(body, {*CONFIG, "HostConfig", "NetworkingConfig"}, "")
    warnings += _unknown(host_body, HOST_CONFIG, "HostConfig.")
    warnings += islice(innerfields.warnings(body), _MOST_UNKNOWN)
    config = _read(body, CONFIG, "", warnings, problems, refusals)
    host_config = _read(host_body, HOST_CONFIG, "HostConfig.", warnings, problems, refusals)
    endpoints = _object(networking, "EndpointsConfig", problems)
    if problems:
        raise InvalidParameter("; ".join(problems))
    hostchecks.normalise(config, host_config)
    problems = [
        *hostchecks.config_problems(config),
        *hostchecks.problems(host_config),
        *limits.problems(host_config),
    ]
    if problems:
        raise InvalidParameter("; ".join(problems))
    refusals += hostchecks.refusals(host_config)
    settings = {name: _endpoint(name, given, problems, refusals) for name, given in endpoints.items()}
    if problems:
        raise InvalidParameter("; ".join(problems))
    if refusals:
        raise NotSupported("; ".join(refusals))
    warnings += hostchecks.warnings(config, host_config)
    warnings += limits.adapt(host_config)
    return CreateRequest(
        config=config,
        host_config=host_config,
        endpoints=settings,
        warnings=tuple(warnings),
    )


def _unknown(given: Mapping[str, Any], known: Collection[str], prefix: str) -> list[str]:
    """A misspelt option, or one of another version of the API, is not dropped in silence."""
    return [
        f"{prefix}{key[:64]}: is not known here and changes nothing"
        for key, value in given.items()
        if key not in known and value
    ][:_MOST_UNKNOWN]


def _object(body: Mapping[str, Any], key: str, problems: list[str]) -> dict[str, Any]:
    value = body.get(key)
    if value is None:
        return {}
    try:
        return kinds.mapping(value, key)
    except InvalidParameter as exc:
        problems.append(str(exc))
        return {}


def _read(
    body: Mapping[str, Any],
    table: Mapping[str, Field],
    prefix: str,
    warnings: list[str],
    problems: list[str],
    refusals: list[str],
) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, row in table.items():
        given = body.get(key)
        if given is None or (key == "MemorySwappiness" and given == -1):  # the docker CLI's "not given"
            document[key] = deepcopy(row.default)
            continue
        try:
            value = row.kind(given, prefix + key)
        except InvalidParameter as exc:
            problems.append(str(exc))
            continue
        document[key] = value
        # An empty value of any shape asks for nothing: clients send whole documents of zeroes.
        if not value or value == row.default:
            continue
        if row.verdict is Verdict.REFUSED:
            refusals.append(f"{prefix}{key}: {row.sentence}")
        elif row.verdict is Verdict.WARNED:
            warnings.append(f"{key}: {row.sentence}")
    return document


def _endpoint(name: str, given: Any, problems: list[str], refusals: list[str]) -> dict[str, Any]:
    try:
        return networking.settings(given, f"EndpointsConfig.{name}")
    except InvalidParameter as exc:
        problems.append(str(exc))
    except NotSupported as exc:
        refusals.append(str(exc))
    return {}


def merge_image(request: CreateRequest, image_config: Mapping[str, Any]) -> CreateRequest:
    """The request completed by the image's `config` object (OCI field names equal Docker's).

    Environment: the image's first, the request's wins by name. Cmd is the image's only if the request
    names neither Cmd nor Entrypoint. Raises InvalidParameter "no command specified".
    """
    config = dict(request.config)
    config["Env"] = merge_env(image_config.get("Env") or (), config["Env"] or ())
    if not config["Cmd"] and not config["Entrypoint"]:
        config["Cmd"] = list(image_config.get("Cmd") or ()) or None
    if config["Entrypoint"] is None:
        config["Entrypoint"] = list(image_config.get("Entrypoint") or ()) or None
    # The CLI's --entrypoint "" arrives as [""]: no entrypoint, not even the image's.
    if config["Entrypoint"] == [""]:
        config["Entrypoint"] = None
    config["Healthcheck"] = health.merge(config["Healthcheck"], image_config.get("Healthcheck"))
    for key in ("User", "WorkingDir", "StopSignal"):
        config[key] = config[key] or image_config.get(key) or ""
    for key in ("ExposedPorts", "Volumes"):
        merged = {**{name: {} for name in image_config.get(key) or {}}, **(config[key] or {})}
        config[key] = merged or None
    config["Labels"] = {**(image_config.get("Labels") or {}), **(config["Labels"] or {})}
    if not (config["Entrypoint"] or config["Cmd"]):
        raise InvalidParameter("no command specified")
    problems = hostchecks.config_problems(config)
    if problems:
        raise InvalidParameter("; ".join(problems))
    return CreateRequest(
        config=config, host_config=request.host_config, endpoints=request.endpoints, warnings=request.warnings
    )


def merge_env(image: Any, given: Any) -> list[str]:
    """The image's environment with the request's over it; an entry of the request may be a `NAME` alone.

    That one is shown as it is, and takes the variable away from the process, as in the reference daemon.
    Entries of the image without `=` are dropped (they would be filled from elsewhere: CVE-2026-57231).
    """
    merged: dict[str, str | None] = {}
    for entry in image:
        name, equals, value = str(entry).partition("=")
        if equals and name:
            merged[name] = value
    for entry in given:
        name, equals, value = entry.partition("=")
        merged[name] = value if equals else None
    return [name if value is None else f"{name}={value}" for name, value in merged.items()]
