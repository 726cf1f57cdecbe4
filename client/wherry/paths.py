"""Every file Wherry keeps on the user's machine, named once.

    CONFIG/config.json            the user's defaults (see config.py)
    CACHE/boxes/                  boxes built or fetched here
        <version>-<arch>.json       pointer: {"box": path, "sha256": hex, "inputs": hex}
        <inputs hash>/wherry.box    the box itself
    CACHE/contexts/               digests of files that were sent to builds (engine/statcache.py)
    DATA/machines/<name>/         one machine; the folder is a contract, other tools may read it
        machine.json                what the machine is: cpus, memory, disk, ports, box (machine/record.py)
        id_ed25519, id_ed25519.pub  key pair made before the first boot; only this machine accepts it
        known_host                  fingerprint of the guest's host key, from the serial line
        known_hosts                 the host key itself for OpenSSH, once it matched that fingerprint
        seed.vmdk, seed-flat.img    small disk that carries the public key into the guest
        data.vdi                    the data disk (/var/lib/wherry); survives `machine rm --keep-data`
        serial.log                  what the guest wrote on its serial port since the last start
        events.jsonl                one JSON line per change, written by the agent
        agent.json, agent.lock      the agent's pid and socket; the lock is held while it lives
        agent.log                   the agent's own log
        vagrant.json, vagrant.log   what the Vagrantfile reads, and what Vagrant said last
        vagrant/                    VAGRANT_CWD (a copy of the Vagrantfile) and VAGRANT_DOTFILE_PATH
    DATA/machines/.<name>.lock    held while a verb changes the machine (start, stop, rm)
    DATA/vagrant-home/            VAGRANT_HOME, one for all machines: a box is added once, and the user's
                                  own Vagrant set-up and plug-ins never mix with ours
    DATA/bin/                     vboxqemu's VBoxManage, on hosts without VirtualBox
    DATA/vboxqemu/                the state of vboxqemu's VMs
    RUNTIME/                      DATA/run
    RUNTIME/<name>.sock           Docker socket of the machine (short: a socket path holds 104 bytes on macOS)
    RUNTIME/<name>.ctl            how the client speaks to the agent: a JSON line each way

WHERRY_HOME replaces all four roots by one folder: tests and side-by-side installs use it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

APP = "wherry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    config: Path
    cache: Path
    data: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.json"

    @property
    def boxes(self) -> Path:
        return self.cache / "boxes"

    @property
    def contexts(self) -> Path:
        return self.cache / "contexts"

    @property
    def machines(self) -> Path:
        return self.data / "machines"

    @property
    def vboxqemu(self) -> Path:
        return self.data / "vboxqemu"

    @property
    def vagrant_home(self) -> Path:
        return self.data / "vagrant-home"

    @property
    def bin(self) -> Path:
        return self.data / "bin"

    def machine(self, name: str) -> "MachinePaths":
        return MachinePaths(folder=self.machines / name, socket=self.runtime / f"{name}.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePaths:
    folder: Path
    socket: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def pipe(self) -> str:
        """The named pipe that stands for `socket` on Windows."""
        return rf"\\.\pipe\wherry-{self.name}"

    @property
    def control(self) -> Path:
        return self.socket.with_suffix(".ctl")

    @property
    def control_pipe(self) -> str:
        return rf"\\.\pipe\wherry-{self.name}-ctl"

    @property
    def endpoint(self) -> str:
        """The machine's engine as DOCKER_HOST names it on this system."""
        if os.name == "nt":
            return f"npipe:////./pipe/wherry-{self.name}"
        return f"unix://{self.socket}"

    @property
    def record(self) -> Path:
        return self.folder / "machine.json"

    @property
    def private_key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_host(self) -> Path:
        return self.folder / "known_host"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def lock(self) -> Path:
        # Beside the folder, not in it: `rm` removes the folder while it holds the lock.
        return self.folder.parent / f".{self.name}.lock"

    @property
    def vagrant_settings(self) -> Path:
        return self.folder / "vagrant.json"

    @property
    def vagrant_log(self) -> Path:
        return self.folder / "vagrant.log"

    @property
    def public_key(self) -> Path:
        return self.folder / "id_ed25519.pub"

    @property
    def seed(self) -> Path:
        return self.folder / "seed.vmdk"

    @property
    def data_disk(self) -> Path:
        return self.folder / "data.vdi"

    @property
    def serial_log(self) -> Path:
        return self.folder / "serial.log"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def agent_state(self) -> Path:
        return self.folder / "agent.json"

    @property
    def agent_lock(self) -> Path:
        return self.folder / "agent.lock"

    @property
    def agent_log(self) -> Path:
        return self.folder / "agent.log"

    @property
    def vagrant(self) -> Path:
        return self.folder / "vagrant"


def paths() -> Paths:
    """The folders of this user, by the platform's custom or below WHERRY_HOME. Creates nothing."""
    home = os.environ.get("WHERRY_HOME")
    if home:
        root = Path(home).expanduser().absolute()
        # The cache stays shared on purpose only when asked for: a test's home must not fetch boxes again.
        cache = Path(os.environ.get("WHERRY_CACHE", root / "cache"))
        return Paths(config=root / "config", cache=cache, data=root, runtime=root / "run")
    import platformdirs  # as long to load as half a bare interpreter

    cache = Path(os.environ.get("WHERRY_CACHE", platformdirs.user_cache_path(APP, appauthor=False)))
    data = platformdirs.user_data_path(APP, appauthor=False)
    return Paths(
        config=platformdirs.user_config_path(APP, appauthor=False),
        cache=cache,
        data=data,
        # Not the platform's runtime folder: on Linux that depends on a variable which some logins (sudo,
        # cron) lack, and then lies in /tmp. An agent and its clients must name the same socket everywhere.
        runtime=data / "run",
    )
