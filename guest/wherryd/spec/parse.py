"""config.json -> `oci.Spec`: the one door. Tells all problems at once, and refuses what it cannot carry out.

What is refused (resctrl, ...) is listed in the
_REFUSED tables below and in resources.py: each name goes when the runtime learns it.
"""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from wherryd.errors import InvalidParameter, NotSupported
from wherryd.spec import oci, resources, scheduling, seccomp
from wherryd.spec.fields import Fields, Refusals

#: A config beyond this is not a config; checked before it is read.
MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024

_REFUSED_TOP: Final = ("freebsd", "solaris", "vm", "windows", "zos")
_REFUSED_PROCESS: Final = ("commandLine",)
_REFUSED_LINUX: Final = ("intelRdt", "netDevices")

_PROPAGATIONS = (
    "",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
)


def load(path: Path) -> oci.Spec:
    """Reads and parses a config.json. Raises InvalidParameter, NotSupported."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidParameter(f"{path} is larger than {MAX_CONFIG_BYTES} bytes: not a runtime config")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidParameter(f"{path} does not exist: the bundle needs a config.json") from error
    except ValueError as error:
        raise InvalidParameter(f"{path} is not JSON: {error}") from error
    return parse(document)


def parse(document: Any) -> oci.Spec:
    """Raises InvalidParameter with one problem per line, NotSupported with what this runtime cannot do."""
    problems: list[str] = []
    refused = Refusals()
    top = Fields(document, "", problems)
    refused.look(top, _REFUSED_TOP)
    version = top.text("ociVersion")
    if version.split(".")[0] != "1":
        top.problem("ociVersion", f"must be 1.x, is {version!r}")
    root = top.child("root")
    spec = oci.Spec(
        version=version,
        root=oci.Root(path=root.text("path", "rootfs"), readonly=root.flag("readonly")),
        process=_process(top.child("process"), refused) if top.raw("process") is not None else None,
        hostname=top.text("hostname"),
        domainname=top.text("domainname"),
        mounts=tuple(_mount(mount) for mount in top.children("mounts")),
        linux=_linux(top.child("linux"), refused),
        annotations=top.pairs("annotations"),
        hooks=_hooks(top.child("hooks")),
    )
    _cross_check(spec, top)
    _raise(problems, refused)
    return spec


def parse_process(document: Any) -> oci.Process:
    """A `process` object by itself, as exec gets it. Raises InvalidParameter, NotSupported."""
    problems: list[str] = []
    refused = Refusals()
    process = _process(Fields(document, "process", problems), refused)
    _raise(problems, refused)
    return process


def parse_resources(document: Any) -> oci.Resources:
    """A `linux.resources` object by itself, as update gets it. Raises InvalidParameter, NotSupported."""
    problems: list[str] = []
    refused = Refusals()
    found = resources.parse(Fields(document, "linux.resources", problems), refused)
    _raise(problems, refused)
    return found


def _raise(problems: list[str], refused: Refusals) -> None:
    if problems:
        raise InvalidParameter("invalid runtime config:\n" + "\n".join(f"  {line}" for line in problems))
    if refused.places:
        raise NotSupported(
            f"this runtime cannot carry out {', '.join(refused.places)}: "
            "remove it from the config, or use another runtime (--runtime)"
        )


def _process(fields: Fields, refused: Refusals) -> oci.Process:
    refused.look(fields, _REFUSED_PROCESS)
    args = fields.texts("args")
    if not args:
        fields.problem("args", "must name a program")
    cwd = fields.text("cwd", "/")
    if not cwd.startswith("/"):
        fields.problem("cwd", f"must be an absolute path, is {cwd!r}")
    env = fields.texts("env")
    if not all("=" in entry[1:] for entry in env):
        fields.problem("env", "every entry must be NAME=value")
    sets = fields.child("capabilities")
    size = fields.child("consoleSize")
    height, width = size.number("height", low=0, high=65535), size.number("width", low=0, high=65535)
    return oci.Process(
        args=args,
        env=env,
        cwd=cwd,
        terminal=fields.flag("terminal"),
        console_size=(height, width) if height and width else None,
        user=_user(fields.child("user")),
        capabilities=oci.CapabilitySets(
            bounding=sets.texts("bounding"),
            effective=sets.texts("effective"),
            inheritable=sets.texts("inheritable"),
            permitted=sets.texts("permitted"),
            ambient=sets.texts("ambient"),
        ),
        rlimits=tuple(_rlimit(limit) for limit in fields.children("rlimits")),
        no_new_privileges=fields.flag("noNewPrivileges"),
        oom_score_adj=fields.number("oomScoreAdj", low=-1000, high=1000),
        apparmor_profile=fields.text("apparmorProfile"),
        selinux_label=fields.text("selinuxLabel"),
        scheduler=scheduling.scheduler(fields.child("scheduler")) if "scheduler" in fields else None,
        io_priority=scheduling.io_priority(fields.child("ioPriority")) if "ioPriority" in fields else None,
        cpu_affinity=scheduling.cpu_affinity(fields.child("execCPUAffinity")),
    )


def _user(fields: Fields) -> oci.User:
    gids = fields.items("additionalGids")
    if not all(isinstance(gid, int) and not isinstance(gid, bool) and 0 <= gid < 2**31 for gid in gids):
        fields.problem("additionalGids", f"must be integers from 0 to {2**31 - 1}")
        gids = []
    return oci.User(
        uid=fields.id("uid"),
        gid=fields.id("gid"),
        umask=fields.number("umask", low=0, high=0o777),
        additional_gids=tuple(gids),
        username=fields.text("username") if fields.raw("username") is not None else None,
    )


def _rlimit(fields: Fields) -> oci.Rlimit:
    soft = fields.number("soft", low=0, high=2**64 - 1, required=True) or 0
    hard = fields.number("hard", low=0, high=2**64 - 1, required=True) or 0
    if soft > hard:
        fields.problem("soft", f"must not be above hard ({hard}), is {soft}")
    return oci.Rlimit(kind=fields.text("type"), soft=soft, hard=hard)


def _hooks(fields: Fields) -> oci.Hooks:
    def of(name: str) -> tuple[oci.Hook, ...]:
        return tuple(_hook(entry) for entry in fields.children(name))

    return oci.Hooks(
        prestart=of("prestart"),
        create_runtime=of("createRuntime"),
        create_container=of("createContainer"),
        start_container=of("startContainer"),
        poststart=of("poststart"),
        poststop=of("poststop"),
    )


def _hook(fields: Fields) -> oci.Hook:
    if not fields.text("path").startswith("/"):
        fields.problem("path", f"must be an absolute path, is {fields.text('path')!r}")
    env = fields.texts("env")
    if not all("=" in entry[1:] for entry in env):
        fields.problem("env", "every entry must be NAME=value")
    return oci.Hook(
        path=fields.text("path"),
        args=fields.texts("args"),
        env=env,
        timeout_s=fields.number("timeout", low=1, high=2**31 // 1000),
    )


def _mount(fields: Fields) -> oci.SpecMount:
    uids, gids = (
        tuple(_id_mapping(entry) for entry in fields.children(name))
        for name in ("uidMappings", "gidMappings")
    )
    if bool(uids) != bool(gids):
        fields.problem("uidMappings", "and gidMappings can only be given together")
    destination = fields.text("destination")
    if not destination:
        fields.problem("destination", "is missing")
    options = fields.texts("options")
    # Older configs have relative destinations; the spec says to take them from the root.
    return oci.SpecMount(
        destination=posixpath.join("/", destination),
        kind=fields.text("type"),
        source=fields.text("source"),
        options=options,
        uid_mappings=uids,
        gid_mappings=gids,
    )


def _linux(fields: Fields, refused: Refusals) -> oci.Linux:
    refused.look(fields, _REFUSED_LINUX)
    propagation = fields.text("rootfsPropagation")
    if propagation not in _PROPAGATIONS:
        fields.problem("rootfsPropagation", f"must be one of {', '.join(_PROPAGATIONS[1:])}")
    return oci.Linux(
        namespaces=_namespaces(fields),
        uid_mappings=tuple(_id_mapping(entry) for entry in fields.children("uidMappings")),
        gid_mappings=tuple(_id_mapping(entry) for entry in fields.children("gidMappings")),
        devices=tuple(_device(entry) for entry in fields.children("devices")),
        cgroups_path=fields.text("cgroupsPath"),
        mount_label=fields.text("mountLabel"),
        resources=resources.parse(fields.child("resources"), refused),
        rootfs_propagation=propagation,
        masked_paths=fields.texts("maskedPaths"),
        readonly_paths=fields.texts("readonlyPaths"),
        sysctl=fields.pairs("sysctl"),
        time_offsets={
            clock: (entry.number("secs") or 0, entry.number("nanosecs", low=0, high=10**9 - 1) or 0)
            for clock in ("monotonic", "boottime")
            if clock in fields.child("timeOffsets")
            for entry in [fields.child("timeOffsets").child(clock)]
        },
        seccomp=seccomp.parse(fields.child("seccomp")) if "seccomp" in fields else None,
        personality=scheduling.personality(fields.child("personality")) if "personality" in fields else None,
        memory_policy=scheduling.memory_policy(fields.child("memoryPolicy"))
        if "memoryPolicy" in fields
        else None,
    )


def _namespaces(fields: Fields) -> Mapping[oci.NamespaceKind, str | None]:
    found: dict[oci.NamespaceKind, str | None] = {}
    for entry in fields.children("namespaces"):
        kind, path = entry.text("type"), entry.text("path")
        if kind not in set(oci.NamespaceKind):
            entry.problem("type", f"must be one of {', '.join(oci.NamespaceKind)}, is {kind!r}")
        elif kind in found:
            entry.problem("type", f"{kind} is there twice")
        elif path and not path.startswith("/"):
            entry.problem("path", f"must be absolute, is {path!r}")
        else:
            found[oci.NamespaceKind(kind)] = path or None
    return found


def _id_mapping(fields: Fields) -> oci.IdMapping:
    high = 2**32 - 1
    return oci.IdMapping(
        container_id=fields.number("containerID", low=0, high=high, required=True) or 0,
        host_id=fields.number("hostID", low=0, high=high, required=True) or 0,
        size=fields.number("size", low=1, high=high, required=True) or 1,
    )


def _device(fields: Fields) -> oci.DeviceNode:
    kind = fields.text("type")
    if kind not in ("c", "b", "u", "p"):
        fields.problem("type", f"must be c, b, u or p, is {kind!r}")
    if not fields.text("path").startswith("/"):
        fields.problem("path", "must be absolute")
    mode = fields.number("fileMode", low=0, high=0o177777)
    return oci.DeviceNode(
        path=fields.text("path"),
        kind="c" if kind == "u" else kind,
        major=fields.number("major", low=0, high=0xFFF, required=kind != "p") or 0,
        minor=fields.number("minor", low=0, high=0xFFFFF, required=kind != "p") or 0,
        mode=0o666 if mode is None else mode & 0o7777,
        uid=fields.id("uid"),
        gid=fields.id("gid"),
    )


def _cross_check(spec: oci.Spec, top: Fields) -> None:
    linux, kinds = spec.linux, oci.NamespaceKind
    if kinds.USER in linux.namespaces and not linux.is_new(kinds.MOUNT):
        top.problem(
            "linux.namespaces", "a user namespace needs a new mount namespace: it may not use another"
        )
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if value and kinds.UTS not in linux.namespaces:
            top.problem(name, "needs a private UTS namespace (linux.namespaces: uts)")
    if linux.is_new(kinds.USER) and not (linux.uid_mappings and linux.gid_mappings):
        top.problem("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings")
    for number, mount in enumerate(spec.mounts):
        _check_id_mapping(mount, linux, top, f"mounts[{number}]")
    if linux.time_offsets and not linux.is_new(kinds.TIME):
        top.problem("linux.timeOffsets", "needs a new time namespace (linux.namespaces: time)")
    for name in linux.sysctl:
        needed = sysctl_namespace(name)
        if needed is None or needed not in linux.namespaces:
            where = (
                f"a private {needed} namespace" if needed else "the host, and is not the container's to set"
            )
            top.problem(f"linux.sysctl.{name}", f"belongs to {where}")


def _check_id_mapping(mount: oci.SpecMount, linux: oci.Linux, top: Fields, place: str) -> None:
    asked = {"idmap", "ridmap"} & set(mount.options)
    if not (asked or mount.uid_mappings):
        return
    if mount.kind not in ("", "bind", "none") or not {"bind", "rbind"} & set(mount.options):
        top.problem(place, "only bind mounts can be id-mapped")
    if not (mount.uid_mappings or linux.uid_mappings):
        top.problem(place, "an id-mapped mount needs uidMappings and gidMappings, its own or linux's")


def sysctl_namespace(name: str) -> oci.NamespaceKind | None:
    """The namespace a sysctl belongs to. Source: namespaces(7), ipc_namespaces(7), uts_namespaces(7)."""
    dotted = name.replace("/", ".")
    if ".." in dotted:
        return None
    if dotted.startswith("net."):
        return oci.NamespaceKind.NETWORK
    if dotted == "kernel.domainname":
        return oci.NamespaceKind.UTS
    ipc = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax")
    if dotted in (*ipc, "kernel.shmmni", "kernel.shm_rmid_forced") or dotted.startswith("fs.mqueue."):
        return oci.NamespaceKind.IPC
    return None
