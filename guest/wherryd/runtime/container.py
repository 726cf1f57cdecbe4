"""A container as the process that brings it up sees it: spec, cgroup, state on disk, init.

Used by the monitor, and by wherry-runc without one. What was made is unmade when a step fails; an
error of the unmaking is attached to the first one.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd import clock
from wherryd.cgroups.choose import manager_for
from wherryd.cgroups.manager import CgroupManager, normalise
from wherryd.errors import Conflict, EngineError, InvalidParameter
from wherryd.runtime import apparmor, execin, hooks, idmap, init, launch, mounting, seccomp, selinux
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.launch import Launched
from wherryd.runtime.messages import Peer
from wherryd.runtime.state import State, StateDir, is_alive, process_start_ticks
from wherryd.runtime.types import ExitStatus
from wherryd.spec import parse, resources
from wherryd.spec.mount import Mount
from wherryd.spec.oci import NamespaceKind, Process, Spec

#: How a container whose monitor was killed is said to have ended, as no one saw its status.
LOST_EXIT_CODE: Final = 137


@dataclass(slots=True, kw_only=True)
class Container:
    spec: Spec
    process: Process
    directory: StateDir
    cgroup: CgroupManager
    bundle: Path
    layers: tuple[Mount, ...]
    warnings: tuple[str, ...] = ()

    @staticmethod
    def load(
        directory: StateDir, bundle: Path, layers: tuple[Mount, ...], config: Path | None = None
    ) -> "Container":
        """Reads the bundle's config, or a copy of it. Raises InvalidParameter, NotSupported."""
        spec = parse.load(config or bundle / "config.json")
        if spec.process is None:
            raise InvalidParameter(f"{bundle}/config.json has no `process`: nothing could be started")
        ignored = selinux.without_effect(spec)
        apparmor.check(spec.process.apparmor_profile)
        path = normalise(spec.linux.cgroups_path, directory.container_id)
        return Container(
            spec=spec,
            process=spec.process,
            directory=directory,
            cgroup=manager_for(path),
            bundle=bundle,
            layers=layers,
            warnings=tuple(
                f"{field} has no effect: SELinux is not enabled in this kernel" for field in ignored
            ),
        )

    def make_directory(self) -> None:
        """Takes the id. Raises Conflict when a container of that id is alive."""
        try:
            self.directory.create()
        except FileExistsError:
            discard_stale(self.directory)
            self.directory.create()

    def bring_up(
        self,
        streams: ChildStreams,
        *,
        gate: Callable[[Peer], None] = init.wait_for_start,
        keep_fds: tuple[int, ...] = (),
        tied: bool = True,
        preserve_fds: int = 0,
        pivot: bool = True,
        new_keyring: bool = True,
    ) -> Launched:
        """Cgroup and init, up to its gate. Raises EngineError with the cgroup removed again."""
        rising = self.begin(
            streams,
            gate=gate,
            keep_fds=keep_fds,
            tied=tied,
            preserve_fds=preserve_fds,
            pivot=pivot,
            new_keyring=new_keyring,
        )
        return rising.to_the_end()

    def begin(
        self,
        streams: ChildStreams,
        *,
        gate: Callable[[Peer], None] = init.wait_for_start,
        keep_fds: tuple[int, ...] = (),
        tied: bool = True,
        preserve_fds: int = 0,
        pivot: bool = True,
        new_keyring: bool = True,
    ) -> "Rising":
        """Cgroup and init, which sets itself up. For the arguments see InitPlan. Raises EngineError with the
        cgroup removed again."""
        rising = Rising(self)

        def make_cgroup(pid: int) -> tuple[int, ...]:
            self.cgroup.create()
            rising.has_cgroup = True
            self.cgroup.apply(resources.with_default_devices(self.spec.linux.resources))
            return self.cgroup.admit(pid)

        def environment(pid: int) -> None:
            rising.hooked = True
            self._hooks_of_create(pid)

        self._give_streams(streams)
        try:
            rising.talk = launch.begin_init(
                init.InitPlan(
                    spec=self.spec,
                    process=self.process,
                    bundle=str(self.bundle),
                    rootfs=launch.rootfs_path(self.spec, self.bundle),
                    layers=self.layers,
                    cgroup=self.cgroup,
                    streams=streams,
                    gate=gate,
                    system_calls=self.seccomp_program(),
                    container_id=self.directory.container_id,
                    keep_fds=keep_fds,
                    tied=tied,
                    preserve_fds=preserve_fds,
                    pivot=pivot,
                    new_keyring=new_keyring,
                ),
                make_cgroup,
                environment,
            )
        except BaseException as error:
            rising.undo(error)
            raise
        return rising

    def _hooks_of_create(self, pid: int) -> None:
        # prestart is older than the word "creating", and its programs were promised "created".
        hooks.run_outside("prestart", self.spec.hooks.prestart, self.oci_state("created", pid))
        hooks.run_outside("createRuntime", self.spec.hooks.create_runtime, self.oci_state("creating", pid))

    def started(self, pid: int, complain: Callable[[str], None]) -> None:
        """The hooks of a program that runs. Raises RuntimeFault: the caller then ends the container."""
        wanted = self.spec.hooks.poststart
        if not wanted:
            return
        state = self.oci_state("running", pid)
        if hooks.poststart_may_fail(self.spec.version):
            hooks.run_to_the_end("poststart", wanted, state, complain)
        else:
            hooks.run_outside("poststart", wanted, state)

    def stopped(self, complain: Callable[[str], None]) -> None:
        """The hooks of a container that is being deleted."""
        if self.spec.hooks.poststop:
            hooks.run_to_the_end("poststop", self.spec.hooks.poststop, self.oci_state("stopped", 0), complain)

    def oci_state(self, status: str, pid: int) -> bytes:
        return hooks.state_document(
            self.spec, self.directory.container_id, str(self.bundle), status=status, pid=pid
        )

    def exec_plan(
        self,
        process: Process,
        streams: ChildStreams,
        *,
        init_pidfd: int,
        tied: bool = True,
        preserve_fds: int = 0,
        init_root: int = -1,
    ) -> execin.ExecPlan:
        """A further process. Raises RuntimeFault for a filter or a profile that cannot be."""
        apparmor.check(process.apparmor_profile)
        self._give_streams(streams)
        return execin.ExecPlan(
            process=process,
            init_pidfd=init_pidfd,
            namespaces=tuple(self.spec.linux.namespaces),
            cgroup=self.cgroup,
            streams=streams,
            gate=init.wait_for_start,
            system_calls=self.seccomp_program(),
            tied=tied,
            preserve_fds=preserve_fds,
            init_root=init_root,
            personality=self.spec.linux.personality,
            memory_policy=self.spec.linux.memory_policy,
        )

    def fork_exec(self, process: Process, streams: ChildStreams, *, init_pidfd: int) -> Launched:
        """A further process on its way; the talk with it is the caller's (entering.py)."""
        return launch.fork_exec(self.exec_plan(process, streams, init_pidfd=init_pidfd))

    def seccomp_program(self) -> seccomp.Program | None:
        """The compiled filter, which exec gets too. Raises RuntimeFault."""
        if self.spec.linux.seccomp is None:
            return None
        return seccomp.load(
            self.spec.linux.seccomp,
            seccomp.Subject(
                container_id=self.directory.container_id,
                bundle=str(self.bundle),
                version=self.spec.version,
                annotations=self.spec.annotations,
            ),
            cache=self.directory.seccomp_cache,
        )

    def _give_streams(self, streams: ChildStreams) -> None:
        """Pipes belong to root inside, which could not open /dev/stdout again otherwise."""
        linux = self.spec.linux
        if NamespaceKind.USER not in linux.namespaces:
            return
        uid, gid = idmap.host_id(linux.uid_mappings, 0), idmap.host_id(linux.gid_mappings, 0)
        for fd in streams.fds():
            if uid is not None and gid is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, uid, gid)

    def state(self, pid: int, *, monitor_pid: int, gate: str) -> State:
        return State(
            container_id=self.directory.container_id,
            pid=pid,
            pid_started=process_start_ticks(pid),
            monitor_pid=monitor_pid,
            bundle=str(self.bundle),
            rootfs=launch.rootfs_path(self.spec, self.bundle),
            cgroup=self.cgroup.path,
            namespaces=tuple(self.spec.linux.namespaces),
            created_at=clock.now(),
            gate=gate,
            annotations=dict(self.spec.annotations),
        )


class Rising:
    """A container between its init's fork and its gate. Either `to_the_end`, or `step` whenever the peer's
    socket has something to read; then `end` once somebody waits for init. What fails undoes everything."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.talk: launch.Talk | None = None
        #: A group that was there before, with processes of somebody else, is not ours to kill.
        self.has_cgroup = False
        self.hooked = False

    @property
    def launched(self) -> Launched:
        return self._talk.launched

    @property
    def _talk(self) -> launch.Talk:
        assert self.talk is not None, "begin sets it"  # noqa: S101
        return self.talk

    def to_the_end(self) -> Launched:
        try:
            launched = self._talk.to_the_end()
        except BaseException as error:
            self.undo(error)
            raise
        self.end()
        return launched

    def step(self) -> bool:
        """Whether init is at its gate. Raises EngineError with the cgroup removed again."""
        try:
            return self._talk.step()
        except BaseException as error:
            self.undo(error)
            raise

    def end(self) -> None:
        """Done twice is fine."""
        self._talk.end()

    def give_up(self, error: BaseException) -> None:
        """Ends init because of an error, to which errors of the clean-up are attached."""
        self._talk.give_up()
        self.undo(error)

    def undo(self, error: BaseException) -> None:
        cgroup = self.container.cgroup
        if self.has_cgroup:
            try:
                cgroup.kill()
                cgroup.destroy()
            except EngineError as second:
                error.add_note(f"and the cgroup could not be removed: {second}")
        spec = self.container.spec
        mounting.unmount_root(spec.linux.namespaces, launch.rootfs_path(spec, self.container.bundle))
        if self.hooked:
            # runtime.md, "Lifecycle": a failed create goes on with the end.
            self.container.stopped(error.add_note)


def discard_stale(directory: StateDir) -> None:
    """Clears what a container without a living monitor has left. Raises Conflict when one is alive."""
    connection = directory.connect()
    if connection is not None:
        connection.close()
        raise Conflict(f"container {directory.container_id} exists already: delete it, or take another id")
    if directory.state_file.exists():
        state = directory.read_state()
        if state.gate == "fifo" and is_alive(state):
            raise Conflict(
                f"container {directory.container_id} exists already: delete it, or take another id"
            )
        end_processes(state)
        manager_for(state.cgroup).destroy()
        # Another runtime's own state is taken away at the next create of that id, see foreign.py.
    directory.remove()


def end_processes(state: State) -> None:
    """Kills what is left of a container nobody watches any more."""
    manager_for(state.cgroup).kill()


def lost(directory: StateDir) -> ExitStatus | None:
    """The end of a container whose monitor has died: from disk, or written now as lost. None: never ran."""
    status = directory.read_exit()
    if status is not None or not directory.state_file.exists():
        return status
    end_processes(directory.read_state())
    status = ExitStatus(
        LOST_EXIT_CODE,
        clock.now(),
        False,
        "the container's monitor was killed, and its exit status was lost; start the container again",
    )
    directory.write_exit(status)
    return status
