"""snapshot VM list|take|delete|restore|restorecurrent. Of VMs that are powered off: snapshots inside the
qcow2 disks."""

from __future__ import annotations

import sys

from vboxqemu import options, state, store, tools
from vboxqemu.errors import InvalidArgument, InvalidVmState, NotSupported, ObjectNotFound, Syntax
from vboxqemu.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from vboxqemu.schema import Snapshot, Vm

#: qemu-img's letters for what to do with a snapshot.
LETTERS = {"take": "-c", "restore": "-a", "delete": "-d"}


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    if len(words) < 2:
        raise Syntax("Not enough parameters")
    folder, vm = store.find(words[0])
    action = words[1]
    flags = {"--machinereadable": "machine", "--details": "details", "--live": "live"}
    positional, found = options.parse(words[2:], {"--description": "description"}, flags)
    if action == "list":
        if not vm["snapshots"]:
            # VBoxManage says this on stdout and fails; Vagrant looks for the words.
            sys.stdout.write("This machine does not have any snapshots\n")
            return 1
        sys.stdout.write("\n".join(listing(vm, machine_readable="machine" in found)) + "\n")
        return 0
    if action not in ("take", "delete", "restore", "restorecurrent"):
        raise Syntax(f"Invalid parameter '{action}'")
    with store.locked(folder, vm["name"]), Progress():
        vm = store.load(folder) or vm
        _check_offline(folder, vm)
        if action == "take":
            _take(vm, options.one(positional, "Snapshot name"), found.get("description", ""))
        else:
            wanted = (
                vm["current_snapshot"]
                if action == "restorecurrent"
                else options.one(positional, "Snapshot name")
            )
            _use(vm, find(vm, wanted), "delete" if action == "delete" else "restore")
        store.save(folder, vm)
    return 0


def _check_offline(folder: str, vm: Vm) -> None:
    now = state.of(folder)
    if now not in ("poweroff", "aborted"):
        raise InvalidVmState(
            f"Snapshots of '{vm['name']}' need it powered off on QEMU; it is {state.WORDS[now]}"
        )


def find(vm: Vm, name_or_uuid: str) -> Snapshot:
    """Raises ObjectNotFound."""
    for snapshot in vm["snapshots"]:
        if name_or_uuid in (snapshot["name"], snapshot["uuid"]):
            return snapshot
    raise ObjectNotFound(f"Could not find a snapshot named '{name_or_uuid}'")


def listing(vm: Vm, *, machine_readable: bool) -> list[str]:
    """The lines of `snapshot list`. Snapshots form a chain here; VirtualBox numbers a chain -1, -1-1, ..."""
    lines: list[str] = []
    for depth, snapshot in enumerate(vm["snapshots"]):
        suffix = "-1" * depth
        current = snapshot["uuid"] == vm["current_snapshot"]
        if machine_readable:
            lines.append(f'SnapshotName{suffix}="{snapshot["name"]}"')
            lines.append(f'SnapshotUUID{suffix}="{snapshot["uuid"]}"')
            if current:
                lines.append(f'CurrentSnapshotName="{snapshot["name"]}"')
                lines.append(f'CurrentSnapshotUUID="{snapshot["uuid"]}"')
                lines.append(f'CurrentSnapshotNode="SnapshotName{suffix}"')
        else:
            star = " *" if current else ""
            lines.append(f"{'   ' * (depth + 1)}Name: {snapshot['name']} (UUID: {snapshot['uuid']}){star}")
    return lines


def _disks(vm: Vm) -> list[str]:
    """The disks that take part. Raw disks (the seed) are left as they are; others that cannot are an
    error."""
    disks = []
    for controller in vm["controllers"]:
        for each in controller["attachments"]:
            if each["kind"] != "hdd" or not each["path"]:
                continue
            if each["format"] == "qcow2":
                disks.append(each["path"])
            elif each["format"] != "raw":
                raise NotSupported(
                    f"A {each['format'].upper()} disk has no snapshots on QEMU: '{each['path']}'"
                )
    return disks


def _take(vm: Vm, name: str, description: str) -> None:
    if any(each["name"] == name for each in vm["snapshots"]):
        raise InvalidArgument(f"A snapshot named '{name}' exists already")
    snapshot: Snapshot = {
        "name": name,
        "uuid": store.new_uuid(),
        "description": description,
        "taken_at": store.now(),
    }
    _on_disks(vm, "take", snapshot)
    vm["snapshots"].append(snapshot)
    vm["current_snapshot"] = snapshot["uuid"]


def _use(vm: Vm, snapshot: Snapshot, action: str) -> None:
    _on_disks(vm, action, snapshot)
    if action == "restore":
        vm["current_snapshot"] = snapshot["uuid"]
        return
    vm["snapshots"].remove(snapshot)
    if vm["current_snapshot"] == snapshot["uuid"]:
        vm["current_snapshot"] = vm["snapshots"][-1]["uuid"] if vm["snapshots"] else ""


def _on_disks(vm: Vm, action: str, snapshot: Snapshot) -> None:
    """Raises Hypervisor at the first disk that fails; a snapshot half taken is removed from the disks
    before."""
    done: list[str] = []
    try:
        for path in _disks(vm):
            tools.run("qemu-img", "snapshot", "-q", LETTERS[action], snapshot["uuid"], path)
            done.append(path)
    except BaseException:
        if action == "take":
            for path in done:
                tools.run("qemu-img", "snapshot", "-q", "-d", snapshot["uuid"], path)
        raise
