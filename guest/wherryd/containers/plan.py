"""From a container's record to the OCI config of one start: looks up what `spec.build` needs as facts."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherryd.containers import confinement, limits, linking, rootfiles
from wherryd.containers.deps import Deps
from wherryd.containers.idranges import Ids
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.errors import Conflict, InvalidParameter
from wherryd.networks.sandbox import Sandbox
from wherryd.spec import dockerinit, idrange, users
from wherryd.spec.build import Device, Plan, UserMount, build, granted
from wherryd.spec.mount import Mount

SHORT_ID = 12


def hostname(record: ContainerRecord) -> str:
    if record.config["Hostname"]:
        return str(record.config["Hostname"])
    if record.network_mode == "host" or record.host_config["UTSMode"] == "host":
        return os.uname().nodename
    return record.id[:SHORT_ID]


def config(
    deps: Deps,
    record: ContainerRecord,
    sandbox: Sandbox,
    rootfs: Sequence[Mount],
    ids: Ids,
    lent_environment: Sequence[str] = (),
) -> dict[str, Any]:
    """config.json for this start. lent_environment: what the record does not have.

    Raises InvalidParameter for a user or device that is not there.
    """
    files = deps.files(record.id)
    if record.network_mode.startswith("container:"):
        files = deps.files(record.network_mode.partition(":")[2])
    mounts = [mount(point, ids) for point in record.mounts]
    covered = [each.destination for each in mounts]
    mounts += files.mounts(covered, bool(record.host_config["ReadonlyRootfs"]))
    words = [record.path, *record.args]
    if has_init(deps, record):
        words = [*dockerinit.PREFIX, *words]
        source = str(deps.files(record.id).init)
        mounts.append(UserMount(type="bind", source=source, destination=dockerinit.TARGET, read_only=True))
    return build(
        Plan(
            container_id=record.id,
            arguments=words,
            environment=[*linking.environment(deps, record), *lent_environment],
            working_directory=record.config["WorkingDir"],
            user=_user(record, rootfs),
            terminal=record.tty,
            hostname=hostname(record),
            domainname=record.config["Domainname"],
            host_config=record.host_config,
            namespaces=_namespaces(deps, record, sandbox, ids),
            cgroup_parent=record.host_config["CgroupParent"] or deps.cgroup_parent,
            available_capabilities=deps.capabilities,
            mounts=mounts,
            devices=devices(record),
            block_io=limits.block_io(record.host_config),
            device_rules=limits.device_rules(record.host_config),
            id_mappings=idrange.mappings(ids.base),
            seccomp=confinement.seccomp_filter(
                record.host_config, granted(record.host_config, deps.capabilities)
            ),
        )
    )


def has_init(deps: Deps, record: ContainerRecord) -> bool:
    """Whether its first process is our init: --init, or the engine's own --init when nothing was said."""
    wish = record.host_config["Init"]
    return deps.default_init if wish is None else bool(wish)


def mount(point: MountPoint, ids: Ids) -> UserMount:
    return UserMount(
        type="tmpfs" if point.type == "tmpfs" else "bind",
        source=point.source,
        destination=point.destination,
        read_only=not point.rw,
        propagation=point.propagation or "rprivate",
        options=point.options if point.type == "tmpfs" else (),
        idmap=ids.words.get(point.source, ""),
        is_mapped=point.type == "image",
        recursive=point.recursive,
        writable_below=point.writable_below,
    )


def _user(record: ContainerRecord, rootfs: Sequence[Mount]) -> users.User:
    passwd = rootfiles.read(rootfs, "/etc/passwd", users.MAX_FILE_BYTES)
    group = rootfiles.read(rootfs, "/etc/group", users.MAX_FILE_BYTES)
    return users.resolve(record.config["User"], passwd, group, record.host_config["GroupAdd"] or ())


def living_user(record: ContainerRecord, user: str) -> users.User:
    """The same for a process that joins a running container."""
    passwd = rootfiles.read_living(record.pid, "/etc/passwd", users.MAX_FILE_BYTES)
    group = rootfiles.read_living(record.pid, "/etc/group", users.MAX_FILE_BYTES)
    extra = () if user else record.host_config["GroupAdd"] or ()
    return users.resolve(user or record.config["User"], passwd, group, extra)


def _namespaces(deps: Deps, record: ContainerRecord, sandbox: Sandbox, ids: Ids) -> dict[str, str | None]:
    """Kind -> path to join, or None for a new one. What is left out is the host's."""
    host = record.host_config
    found: dict[str, str | None] = {"mount": None}
    if sandbox.netns_path is not None:
        found["network"] = sandbox.netns_path
    if (host["UTSMode"] != "host" and record.network_mode != "host") or (
        host["UTSMode"] != "host" and record.config["Hostname"]
    ):
        found["uts"] = None
    for kind, mode in (("ipc", host["IpcMode"]), ("pid", host["PidMode"])):
        if mode.startswith("container:"):
            found[kind] = f"/proc/{_peer(deps, mode, kind)}/ns/{kind}"
        elif mode != "host":
            found[kind] = None
    if host["CgroupnsMode"] == "private":
        found["cgroup"] = None
    if ids.base:
        found["user"] = sandbox.userns_path
    return found


def _peer(deps: Deps, mode: str, kind: str) -> int:
    peer = deps.store.get(mode.partition(":")[2]).record
    if not peer.alive:
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {peer.id}")
    return peer.pid


def devices(record: ContainerRecord) -> list[Device]:
    """--device, and every device of the host when privileged. Raises InvalidParameter."""
    found = {}
    if record.host_config["Privileged"]:
        found.update({device.path: device for device in _host_devices()})
    for entry in record.host_config["Devices"]:
        source = str(entry.get("PathOnHost") or "")
        target = str(entry.get("PathInContainer") or source)
        access = str(entry.get("CgroupPermissions") or "rwm")
        if not target.startswith("/") or not set(access) <= set("rwm"):
            raise InvalidParameter(f'invalid device "{source}:{target}:{access}"')
        device = _device(Path(source), target, access)
        if device is None:
            raise InvalidParameter(
                f'error gathering device information while adding custom device "{source}": not a device node'
            )
        found[target] = device
    return list(found.values())


def _host_devices() -> list[Device]:
    found = []
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [
            each for each in folders if each not in ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts")
        ]
        for name in names:
            if name == "console":
                continue
            path = Path(folder, name)
            device = None if path.is_symlink() else _device(path, str(path), "rwm")
            if device is not None:
                found.append(device)
    return found


def _device(source: Path, target: str, access: str) -> Device | None:
    """None when it is not a device node."""
    try:
        status = source.stat()
    except OSError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return Device(
        path=target,
        type="c" if stat.S_ISCHR(status.st_mode) else "b",
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        access=access,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )
