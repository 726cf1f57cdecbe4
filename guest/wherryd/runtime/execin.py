"""The child that becomes a further process in a running container (docker exec).

It is born in the container's PID namespace, joins the cgroup on our side, then init's other namespaces at
once through init's pidfd, which cannot be reused for another process. The image's files are hostile from
here on, and run already.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from wherryd.cgroups.manager import CgroupManager
from wherryd.runtime import apparmor, child, devices, identity, init, namespaces, scheduling, seccomp
from wherryd.runtime.messages import ChildMessage, Peer, Step
from wherryd.spec.oci import MemoryPolicy, NamespaceKind, Process
from wherryd.sys import namespaces as ns
from wherryd.sys import paths
from wherryd.sys import process as proc


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlan:
    """init_pidfd: of the container's init. namespaces: kinds that are not the host's; who carries the plan
    out is born in the PID namespace already. init_root: init's root directory, where that is not the root
    of its mount namespace; -1 = it is.
    """

    process: Process
    init_pidfd: int
    namespaces: tuple[NamespaceKind, ...]
    cgroup: CgroupManager
    streams: child.ChildStreams
    gate: Callable[[Peer], None]
    system_calls: seccomp.Program | None = None
    tied: bool = True
    preserve_fds: int = 0
    init_root: int = -1
    personality: int | None = None
    memory_policy: MemoryPolicy | None = None


def run(plan: ExecPlan, peer: Peer) -> NoReturn:
    child.run_child(peer, lambda: _exec(plan, peer))


def _exec(plan: ExecPlan, peer: Peer) -> None:
    os.setsid()
    preserved = range(child.FIRST_FREE, child.FIRST_FREE + plan.preserve_fds)
    child.let_go((peer.socket.fileno(), *plan.streams.fds(), plan.init_pidfd, plan.init_root, *preserved))
    scheduling.set_affinity(plan.process.cpu_affinity.initial)
    plan.cgroup.enter()
    scheduling.set_affinity(plan.process.cpu_affinity.final)
    identity.set_oom_score(plan.process.oom_score_adj)
    own_proc = apparmor.open_proc(plan.process.apparmor_profile)
    scheduling.apply(plan.process, forks=False)
    os.umask(0)
    guard = seccomp.Guard(plan.system_calls, status="running")
    to_join = [kind for kind in plan.namespaces if kind is not NamespaceKind.PID]
    if NamespaceKind.USER in plan.namespaces:
        identity.raise_rlimits(plan.process.rlimits)
        os.setgroups([])  # not inside: see init.py
    ns.setns(plan.init_pidfd, namespaces.mask(to_join), "the container's namespaces")
    os.close(plan.init_pidfd)
    if plan.init_root >= 0:
        os.fchdir(plan.init_root)
        os.chroot(".")
        os.close(plan.init_root)
    guard.note_pid()
    if NamespaceKind.USER in plan.namespaces:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        proc.prctl(proc.PR_SET_DUMPABLE, 0)
    root = paths.open_root("/")
    who = identity.resolve_user(root, plan.process)
    if plan.process.terminal:
        master, slave = devices.open_terminal(root)
        peer.send(ChildMessage(step=Step.TERMINAL), (master,))
        os.close(master)
        child.take_terminal(slave, who.uid)
    else:
        child.take_streams(plan.streams, who.uid)
    identity.set_rlimits(plan.process.rlimits)
    identity.enter_cwd(root, plan.process.cwd, identity=who)
    os.close(root)
    scheduling.set_personality(plan.personality)
    scheduling.set_memory_policy(plan.memory_policy)
    init.settle(
        plan.process,
        who,
        guard,
        tied=plan.tied,
        peer=peer,
        gate=plan.gate,
        own_proc=own_proc,
        preserve_fds=plan.preserve_fds,
    )
