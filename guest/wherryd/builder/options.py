"""What a build was asked for, checked by the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wherryd.images.reference import Reference
from wherryd.registry.credentials import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """context: token of one that was announced. remote: where it comes from otherwise, "" for the request.
    dockerfile: path in the context. tags: names for the result. build_args: None takes no value. network:
    NetworkMode of RUN steps. host_config: limits of RUN steps, as in HostConfig. keep_failed: the container
    of a failing RUN stays for a look (docker's --rm=false without --force-rm). credentials: for base images,
    by the domain of their registry. offer: token of what the client lends."""

    context: str = field(default="", repr=False)
    remote: str = ""
    dockerfile: str = "Dockerfile"
    tags: tuple[Reference, ...] = ()
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    #: Images that docker would take steps from. Only our own cache is used; the build says so.
    cache_from: tuple[str, ...] = ()
    pull: bool = False
    quiet: bool = False
    keep_failed: bool = False
    network: str = ""
    platform: str = ""
    host_config: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False)
    offer: str = field(default="", repr=False)
