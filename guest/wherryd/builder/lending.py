"""`RUN --mount=type=secret` and `type=ssh`: what the client lends, where a step sees it, until it ends."""

import os
import posixpath
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.offers import Offer, serve_agent

#: Source: Dockerfile reference, "RUN --mount=type=secret" and "RUN --mount=type=ssh".
_SECRETS = "/run/secrets"
_AGENT = "/run/buildkit/ssh_agent.{}"
_SECRET_MODE = 0o400
_AGENT_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Lent:
    """source: a file of ours to mount at target, or None. environment: `NAME=value` lines for the step."""

    source: Path | None
    target: str
    environment: tuple[str, ...] = ()


def name_of(mount: ins.RunMount) -> str:
    """The id by which the client offers it."""
    if mount.type is ins.MountType.SSH:
        return mount.id or "default"
    return mount.id or mount.source or posixpath.basename(mount.target)


async def lend(
    opened: AsyncExitStack, folder: Path, offer: Offer, mount: ins.RunMount, number: int
) -> Lent | None:
    """Until `opened` closes. folder: of this step alone, on a file system in memory where there is one.
    number: of the mount among its step's. None: the client offers no such thing and the step can do without.
    Raises DockerfileError.
    """
    name = name_of(mount)
    if mount.type is ins.MountType.SECRET and name in offer.secrets:
        return _secret(opened, folder, offer.secrets[name], mount, name, number)
    if mount.type is ins.MountType.SSH and name in offer.agents:
        return await _agent(opened, folder, offer, mount, name, number)
    if mount.required:
        option = f"--ssh {name}" if mount.type is ins.MountType.SSH else f"--secret id={name},src=FILE"
        raise DockerfileError(f"{mount.type} {name}: not found", f"build with {option}")
    return None


def _secret(
    opened: AsyncExitStack, folder: Path, content: bytes, mount: ins.RunMount, name: str, number: int
) -> Lent:
    environment: tuple[str, ...] = ()
    if mount.env:
        if b"\0" in content:
            raise DockerfileError(f"secret {name}: a variable cannot hold a zero byte", "mount it as a file")
        environment = (f"{mount.env}={os.fsdecode(content)}",)
        if not mount.target:
            return Lent(None, "", environment)
    file = folder / f"secret.{number}"
    opened.callback(file.unlink, missing_ok=True)
    file.touch(0o600)
    file.write_bytes(content)
    _own(file, mount, _SECRET_MODE)
    return Lent(file, mount.target or f"{_SECRETS}/{name}", environment)


async def _agent(
    opened: AsyncExitStack, folder: Path, offer: Offer, mount: ins.RunMount, name: str, number: int
) -> Lent:
    path = folder / f"agent.{number}"
    server = await serve_agent(path, offer.agents[name])
    opened.callback(path.unlink, missing_ok=True)
    opened.callback(server.close)
    _own(path, mount, _AGENT_MODE)
    target = mount.target or _AGENT.format(number)
    return Lent(path, target, (f"SSH_AUTH_SOCK={target}",))


def _own(path: Path, mount: ins.RunMount, mode: int) -> None:
    os.chown(path, mount.uid or 0, mount.gid or 0)
    path.chmod(mode if mount.mode is None else mount.mode)
