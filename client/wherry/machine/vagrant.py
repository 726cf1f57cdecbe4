"""Vagrant, through python-vagrant: it makes and destroys VMs, from the one Vagrantfile.

Everything Vagrant keeps is in Wherry's own folders, so the user's Vagrant set-up, plug-ins and projects
are neither read nor changed.
"""

import importlib.resources
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherry.errors import MachineProblem, MissingTool
from wherry.machine.record import MachineRecord, write_json
from wherry.machine.serial import printable
from wherry.paths import MachinePaths

MINIMUM_VERSION = (2, 3)
#: Importing a box copies its disk; on a slow disk that takes minutes.
UP_SECONDS = 900.0
DESTROY_SECONDS = 120.0
VERSION_SECONDS = 60.0

INSTALL_HINT = (
    "Vagrant is not installed: install it with `apt install vagrant` (Debian, Ubuntu), "
    "`brew install --cask vagrant` (macOS) or `winget install Hashicorp.Vagrant` (Windows)"
)


def settings(record: MachineRecord, files: MachinePaths, ssh_port: int) -> dict[str, Any]:
    """What the Vagrantfile reads from vagrant.json."""
    return {
        "name": record.name,
        "cpus": record.cpus,
        "memory_mib": record.memory_mib,
        "disk_gib": record.disk_gib,
        "ssh_port": ssh_port,
        "box_url": record.box,
        "box_name": record.box_name,
        "private_key": str(files.private_key),
        "seed": str(files.seed),
        "data_disk": str(files.data_disk),
        "serial_log": str(files.serial_log),
    }


class VagrantRunner:
    """Vagrant for one machine. home: VAGRANT_HOME. env: what the hypervisor's front end needs."""

    def __init__(
        self, record: MachineRecord, files: MachinePaths, *, home: Path, env: Mapping[str, str]
    ) -> None:
        self._record = record
        self._files = files
        self._home = home
        self._env = env

    def check(self) -> None:
        """Raises MissingTool when Vagrant is missing or too old."""
        program = shutil.which("vagrant")
        if program is None:
            raise MissingTool(INSTALL_HINT)
        try:
            done = subprocess.run(
                [program, "--version"],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=VERSION_SECONDS,
                env=self._environment(create_only=False),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise MissingTool(f"`vagrant --version` does not work: {exc}; install Vagrant again") from exc
        version = re.search(r"Vagrant (\d+)\.(\d+)", done.stdout.decode(errors="replace"))
        if version is None:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise MissingTool(
                f"`vagrant --version` does not work: {(words or ['no answer'])[-1]}; install it again"
            )
        if (int(version[1]), int(version[2])) < MINIMUM_VERSION:
            raise MissingTool(f"Vagrant {version[1]}.{version[2]} is too old: install 2.3 or newer")

    @property
    def is_known(self) -> bool:
        """Whether Vagrant has a VM on its books for this machine."""
        return any(self._dotfiles.glob("machines/*/virtualbox/id"))

    def up(self) -> None:
        """Imports the box and sets the VM up, without booting it. Raises MachineProblem."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._files.vagrant.mkdir(exist_ok=True)
        shutil.copyfile(vagrantfile(), self._files.vagrant / "Vagrantfile")
        self.write_settings(self._record.ssh_port)
        self._call("up", UP_SECONDS, lambda vagrant: vagrant.up(provider="virtualbox"), create_only=True)

    def destroy(self) -> None:
        """Raises MachineProblem. The Vagrantfile detaches the data disk first, so that it stays."""
        self._call("destroy", DESTROY_SECONDS, lambda vagrant: vagrant.destroy(), create_only=False)

    def write_settings(self, ssh_port: int) -> None:
        write_json(self._files.vagrant_settings, settings(self._record, self._files, ssh_port))

    @property
    def _dotfiles(self) -> Path:
        return self._files.vagrant / ".vagrant"

    def _environment(self, *, create_only: bool) -> dict[str, str]:
        return {
            **os.environ,
            "VAGRANT_HOME": str(self._home),
            "VAGRANT_CWD": str(self._files.vagrant),
            "VAGRANT_DOTFILE_PATH": str(self._dotfiles),
            "VAGRANT_DEFAULT_PROVIDER": "virtualbox",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
            "WHERRY_MACHINE_DIR": str(self._files.folder),
            # Tells the Vagrantfile to end `up` before the boot: `machine start` boots, with its stages.
            "WHERRY_CREATE_ONLY": "1" if create_only else "",
            **self._env,
        }

    def _call(self, verb: str, limit_seconds: float, action: Any, *, create_only: bool) -> None:
        import vagrant  # warns at import when Vagrant is missing, so only after check()

        log = self._files.vagrant_log
        log.write_bytes(b"")
        library: Any = vagrant
        output = library.make_file_cm(str(log))
        runner = _bounded(library.Vagrant, limit_seconds)(
            root=str(self._files.vagrant),
            env=self._environment(create_only=create_only),
            out_cm=output,
            err_cm=output,
        )
        try:
            action(runner)
        except subprocess.TimeoutExpired as exc:
            raise MachineProblem(
                f"`vagrant {verb}` did not end in {limit_seconds:g} s; see {log}", stage="vagrant"
            ) from exc
        except subprocess.CalledProcessError as exc:
            raise MachineProblem(
                f"`vagrant {verb}` failed: {_reason(log)}; see {log}", stage="vagrant"
            ) from exc


def _bounded(base: Any, limit_seconds: float) -> Any:
    """python-vagrant's class with a time limit on the calls whose output it does not read."""

    class Bounded(base):  # type: ignore[misc]
        def _call_vagrant_command(self, args: list[str | None]) -> None:
            with self.out_cm() as out, self.err_cm() as err:
                subprocess.run(
                    self._make_vagrant_command(args),
                    cwd=self.root,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=self.env,
                    timeout=limit_seconds,
                    check=True,
                )

    return Bounded


def _reason(log: Path) -> str:
    """The first sentence of Vagrant's complaint, which comes after its last progress line ("==> ...")."""
    lines = [
        printable(line).strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    last_progress = max((i for i, line in enumerate(lines) if line.startswith("==>")), default=-1)
    words = [line for line in lines[last_progress + 1 :] if line and not line.startswith("default:")]
    return " ".join(words[:3]) or "it said nothing"


def vagrantfile() -> Path:
    """The one Vagrantfile: in the installed package, or at the top of a source tree."""
    installed = Path(str(importlib.resources.files("wherry.machine"))) / "Vagrantfile"
    if installed.is_file():
        return installed
    source = Path(__file__).resolve().parents[3] / "Vagrantfile"
    if source.is_file():
        return source
    raise MachineProblem("wherry's Vagrantfile is missing; install wherry again")
