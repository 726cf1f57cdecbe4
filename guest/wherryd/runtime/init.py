"""The child that becomes the container's first process. The order of its steps is this file's point.

1. let go of the parent's descriptors, signals and session
2. set the OOM score; join the cgroup, as late as its namespace and its mount allow: the parent makes it
   while we mount
3. only with a user namespace: what only works outside of it (outside.py), joins of what was there before,
   then it; if it is new then PID and time, and a fork (otherwise the parent did these, see namespaces.py)
4. the other namespaces; host name; sysctls, through our own /proc
5. the root: mounts, device nodes, terminal, masks, working directory, read-only
   hooks of create: the engine's, then the container's
6. pivot: from here on no path outside exists, and nothing is imported
7. streams, limits, user, capabilities, no_new_privs
8. find the program, say READY, wait at the start gate
9. AppArmor profile, seccomp filter, exec: nothing of our own is called under the filter but capset and execve
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from wherryd.cgroups import manager
from wherryd.cgroups.manager import CgroupManager
from wherryd.errors import RuntimeFault
from wherryd.runtime import (
    apparmor,
    child,
    devices,
    hooks,
    identity,
    namespaces,
    outside,
    rootfs,
    scheduling,
    seccomp,
)
from wherryd.runtime.messages import ChildMessage, Peer, Step
from wherryd.spec import parse
from wherryd.spec.mount import Mount
from wherryd.spec.oci import NamespaceKind, Process, Spec
from wherryd.sys import namespaces as ns
from wherryd.sys import process as proc


@dataclass(frozen=True, slots=True, kw_only=True)
class InitPlan:
    """All the child needs to know, made by the parent before the fork.

    gate: how init waits for start; it returns when it may go on. tied: init dies with its parent.
    preserve_fds: how many descriptors from 3 on the program gets. pivot: whether the old root is let go by
    pivot_root(2); it cannot be where the root is a ramdisk. new_keyring: whether it gets a session keyring.
    """

    spec: Spec
    process: Process
    bundle: str
    rootfs: str
    layers: tuple[Mount, ...]
    cgroup: CgroupManager
    streams: child.ChildStreams
    gate: Callable[[Peer], None]
    system_calls: seccomp.Program | None = None
    container_id: str = ""
    keep_fds: tuple[int, ...] = ()
    tied: bool = True
    preserve_fds: int = 0
    pivot: bool = True
    new_keyring: bool = True


def wait_for_start(peer: Peer) -> None:
    """The gate of a monitored container: a word from the monitor, or the end with it."""
    answer = peer.receive()
    if answer is None or answer[0].step is not Step.START:
        os._exit(child.CHILD_FAILED)


class CgroupJoin:
    """Init in its cgroup, made by its parent, and the namespace that makes it the root. Each step once."""

    def __init__(self, plan: InitPlan, peer: Peer) -> None:
        self._plan = plan
        self._peer = peer
        self._in_group = False
        self._in_namespace = False

    def group(self) -> None:
        """Waits until the parent has made it and lets us in."""
        if self._in_group:
            return
        answer = self._peer.receive()
        if answer is None or answer[0].step is not Step.CGROUP:
            os._exit(child.CHILD_FAILED)
        manager.join(answer[1])
        self._in_group = True

    def all(self) -> None:
        """The namespace is made after joining: its root is where the process is at that moment."""
        self.group()
        if not self._in_namespace and self._plan.spec.linux.is_new(NamespaceKind.CGROUP):
            ns.unshare(ns.CLONE_NEWCGROUP)
        self._in_namespace = True


def run(plan: InitPlan, peer: Peer) -> NoReturn:
    child.run_child(peer, lambda: _init(plan, peer))


def _init(plan: InitPlan, peer: Peer) -> None:
    linux = plan.spec.linux
    os.setsid()
    preserved = range(child.FIRST_FREE, child.FIRST_FREE + plan.preserve_fds)
    child.let_go(
        (peer.socket.fileno(), *plan.streams.fds(), *plan.keep_fds, *preserved), new_keyring=plan.new_keyring
    )
    join = CgroupJoin(plan, peer)
    identity.set_oom_score(plan.process.oom_score_adj)
    own_proc = apparmor.open_proc(plan.process.apparmor_profile)
    os.chdir(plan.bundle)
    os.umask(0)
    prepared = None
    if NamespaceKind.USER in linux.namespaces:
        # It has no power over this once it is in there.
        scheduling.apply(plan.process, forks=namespaces.needs_stage(linux))
        if namespaces.needs_stage(linux) and plan.cgroup.version == 2:
            # There the parent moves a process by its number, and that is ours until the fork.
            join.group()
        prepared = _enter_user_namespace(plan)
    if namespaces.needs_stage(linux):
        namespaces.enter_for_children(linux)
        pid = os.fork()
        if pid:
            peer.send(ChildMessage(step=Step.FORKED, pid=pid))
            os._exit(0)
        os.setsid()
    guard = seccomp.Guard(plan.system_calls, status="creating")
    guard.note_pid()
    namespaces.enter_own(linux)
    _name_host(plan.spec)
    _set_sysctls(plan.spec, early=False)
    root, slave = _build_root(plan, prepared, peer, join)
    who = identity.resolve_user(root, plan.process)
    _open_streams(plan, slave, who.uid)
    identity.set_rlimits(plan.process.rlimits)
    state = _run_hooks(plan, peer)
    rootfs.enter(root, linux, pivot=plan.pivot)
    scheduling.set_personality(linux.personality)
    scheduling.set_memory_policy(linux.memory_policy)
    identity.enter_cwd(root, plan.process.cwd, identity=who)
    os.close(root)
    settle(
        plan.process,
        who,
        guard,
        tied=plan.tied,
        peer=peer,
        gate=plan.gate,
        own_proc=own_proc,
        preserve_fds=plan.preserve_fds,
        last=lambda: hooks.run("startContainer", plan.spec.hooks.start_container, state),
    )


def _run_hooks(plan: InitPlan, peer: Peer) -> bytes:
    """Those of create; the state document for those of start."""
    wanted = plan.spec.hooks
    if wanted.prestart or wanted.create_runtime:
        peer.send(ChildMessage(step=Step.ENVIRONMENT))
        answer = peer.receive()
        if answer is None or answer[0].step is not Step.HOOKED:
            os._exit(child.CHILD_FAILED)
    if not (wanted.create_container or wanted.start_container):
        return b""
    # Our number as the engine sees it: its /proc is still there.
    pid = int(os.readlink("/proc/self"))  # noqa: PTH115
    document = partial(hooks.state_document, plan.spec, plan.container_id, plan.bundle, pid=pid)
    hooks.run("createContainer", wanted.create_container, document(status="creating"))
    return document(status="created")


def _enter_user_namespace(plan: InitPlan) -> outside.Prepared:
    linux = plan.spec.linux
    with namespaces.user_namespace(linux) as user_namespace:
        prepared = outside.prepare(plan.rootfs, plan.layers, plan.spec, user_namespace)
        namespaces.join_early(linux)
        _set_sysctls(plan.spec, early=True)
        identity.raise_rlimits(plan.process.rlimits)
        os.setgroups([])  # not inside: a namespace that somebody else made may deny it
        ns.setns(user_namespace, ns.CLONE_NEWUSER, "the user namespace")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A change of ids has switched it back on.
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    return prepared


def _name_host(spec: Spec) -> None:
    if spec.hostname:
        ns.sethostname(spec.hostname)
    if spec.domainname:
        ns.setdomainname(spec.domainname)


def _set_sysctls(spec: Spec, *, early: bool) -> None:
    """Through our own /proc, before the image could put a file in its place (CVE-2025-52881).

    early: those of namespaces that a new user namespace has no power over, before it is entered.
    """
    for name, value in spec.linux.sysctl.items():
        kind = parse.sysctl_namespace(name)
        joined = kind is not None and bool(spec.linux.namespaces.get(kind))
        if early is not (joined and namespaces.joins_early(spec.linux)):
            continue
        path = "/proc/sys/" + name.replace(".", "/")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise RuntimeFault(
                f"cannot set sysctl {name} to {value!r}: {error.strerror}: check linux.sysctl"
            ) from error


def _build_root(
    plan: InitPlan, prepared: outside.Prepared | None, peer: Peer, join: CgroupJoin
) -> tuple[int, int]:
    """(root, terminal's slave or -1). The terminal's master goes to the parent."""
    spec = plan.spec
    root = rootfs.build(
        rootfs.RootfsPlan(
            path=plan.rootfs,
            layers=plan.layers,
            spec=spec,
            cgroup=plan.cgroup,
            join=join.all,
            prepared=prepared,
        )
    )
    join.all()
    if NamespaceKind.USER not in spec.linux.namespaces:
        # A real-time process may not join a group; what its group allows it gets in there.
        scheduling.apply(plan.process, forks=False)
    devices.make_nodes(
        root,
        spec.linux.devices,
        by_bind=NamespaceKind.USER in spec.linux.namespaces,
        made=() if prepared is None else prepared.nodes,
    )
    devices.make_links(root)
    slave = -1
    if plan.process.terminal:
        master, slave = devices.open_terminal(root)
        devices.bind_console(root, slave)
        peer.send(ChildMessage(step=Step.TERMINAL), (master,))
        os.close(master)
    identity.make_cwd(root, plan.process.cwd)
    rootfs.mask(root, spec)
    if spec.root.readonly:
        rootfs.make_root_readonly(root)
    return root, slave


def _open_streams(plan: InitPlan, slave: int, uid: int) -> None:
    if slave >= 0:
        child.take_terminal(slave, uid)
    else:
        child.take_streams(plan.streams, uid)


def settle(
    wanted: Process,
    who: identity.Identity,
    guard: seccomp.Guard,
    *,
    tied: bool,
    peer: Peer,
    gate: Callable[[Peer], None],
    own_proc: int = -1,
    preserve_fds: int = 0,
    last: Callable[[], None] = lambda: None,
) -> None:
    """Steps 7 to 9, the same for init and exec: becomes the user, waits at the gate, becomes the program.

    own_proc: our own /proc, for an AppArmor profile. last: done under it, right before the filter.
    """
    final = identity.become(
        who,
        wanted.capabilities,
        no_new_privileges=wanted.no_new_privileges,
        umask=wanted.user.umask,
        keep=guard.needed_capabilities(no_new_privileges=wanted.no_new_privileges),
    )
    # Changed ids have switched it back on.
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    identity.check_cwd()
    program = identity.find_program(wanted, identity.environment(wanted, who.home))
    child.hand_down(preserve_fds)
    peer.send(ChildMessage(step=Step.READY))
    gate(peer)
    if tied:
        # Not earlier: with a stage between, that one's end would count as the parent's.
        proc.prctl(proc.PR_SET_PDEATHSIG, 9)
    last()
    if own_proc >= 0:
        apparmor.change_on_exec(own_proc, wanted.apparmor_profile)
    guard.install(final)
    identity.execute(program)
