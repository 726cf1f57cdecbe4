"""createvm, registervm, unregistervm, discardstate."""

from __future__ import annotations

import os
import sys

from vboxqemu import files, media, options, paths, state, store
from vboxqemu.errors import FileProblem, InvalidVmState, NotSupported, ObjectState, Syntax
from vboxqemu.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vboxqemu.schema import Vm


def run(verb: str, words: Sequence[str]) -> int:
    verbs: dict[str, Callable[[Sequence[str]], int]] = {
        "createvm": create,
        "registervm": register,
        "unregistervm": unregister,
        "discardstate": discard_state,
    }
    return verbs[verb](words)


def create(words: Sequence[str]) -> int:
    values = {
        "--name": "name",
        "--ostype": "os_type",
        "--uuid": "uuid",
        "--groups": "groups",
        "--basefolder": "base",
    }
    positional, found = options.parse(words, values, {"--register": "register", "--default": "default"})
    if positional:
        raise Syntax(f"Invalid parameter '{positional[0]}'")
    if not found.get("name"):
        raise Syntax("Parameter --name is required")
    if "base" in found:
        raise NotSupported(f"VMs of this command live in {paths.machines()}; set VBOXQEMU_HOME to move it")
    vm = store.new_vm(found["name"], found.get("os_type", "Other_64"))
    if "uuid" in found:
        vm["uuid"] = found["uuid"].strip("{}").lower()
    folder = store.folder_for(vm["name"])
    store.create(folder, vm)
    if "register" not in found:
        os.replace(store.record(folder), _put_away(folder))
    registered = "and registered" if "register" in found else "but not registered"
    sys.stdout.write(
        f"Virtual machine '{vm['name']}' is created {registered}.\nUUID: {vm['uuid']}\n"
        f"Settings file: '{store.record(folder) if 'register' in found else _put_away(folder)}'\n"
    )
    return 0


def _put_away(folder: str) -> str:
    """The record of a VM that is not registered."""
    return os.path.join(folder, "vm.unregistered.json")


def register(words: Sequence[str]) -> int:
    positional, _ = options.parse(words, {"--password": "password"})
    path = os.path.abspath(options.one(positional, "Settings file"))
    folder = os.path.dirname(path)
    vm: Vm | None = files.read_json(path)
    if vm is None or path != _put_away(folder) or os.path.dirname(folder) != paths.machines():
        raise FileProblem(f"'{path}' is not the settings file of an unregistered VM below {paths.machines()}")
    store.check_name_free(vm)
    os.replace(path, store.record(folder))
    return 0


def unregister(words: Sequence[str]) -> int:
    """--delete removes the VM's disks too, wherever they lie, as VirtualBox does: detach first what shall
    stay."""
    flags = {"--delete": "delete", "--delete-all": "delete", "-delete": "delete"}
    positional, found = options.parse(words, {}, flags)
    folder, vm = store.find(options.one(positional, "VM name"))
    with store.locked(folder, vm["name"]):
        vm = store.load(folder) or vm
        now = state.of(folder)
        if now in state.ONLINE:
            raise ObjectState(
                f"Cannot unregister the machine '{vm['name']}' while it is locked; it is {state.WORDS[now]}"
            )
        if "delete" not in found:
            os.replace(store.record(folder), _put_away(folder))
            return 0
        with Progress():
            _delete(folder, vm)
    return 0


def _delete(folder: str, vm: Vm) -> None:
    """The record goes first: a half-deleted VM must not be started. Then its disks, then its folder."""
    import shutil

    os.unlink(store.record(folder))
    for controller in vm["controllers"]:
        for attachment in controller["attachments"]:
            path = attachment["path"]
            if not path or attachment["kind"] != "hdd" or media.users(path):
                continue
            media.forget(path)
            for file in {path, attachment["file"]}:
                if os.path.exists(file):
                    os.unlink(file)
    shutil.rmtree(folder)


def discard_state(words: Sequence[str]) -> int:
    positional, _ = options.parse(words, {})
    folder, vm = store.find(options.one(positional, "VM name"))
    with store.locked(folder, vm["name"]):
        now = state.of(folder)
        if now != "saved":
            raise InvalidVmState(f"Cannot discard the machine's state: it is {state.WORDS[now]}, not saved")
        os.unlink(os.path.join(folder, "saved.json"))
        for name in ("state.bin", "run.json"):
            if os.path.exists(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
        store.touch(folder)
    return 0
