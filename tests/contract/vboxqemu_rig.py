"""What the vboxqemu contract tests share: a box with a guest of some 50 bytes, and VBoxManage
run as Vagrant runs it."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vboxqemu import shim

#: Boot sectors, 16-bit code. COUNTER writes "U" to COM1, then the digits 0 to 9 over and over, one per two
#: timer ticks (about nine a second). SHUTDOWN writes "D" and after half a second switches the machine off
#: through the PIIX4 power management port, as an operating system does.
COUNTER = bytes.fromhex(
    "fa31c08ed88ed0bc007cfbb055e82100b33088d8e81a00fec380fb3a7202b3308b0e6c04f4a16c0429c883f80272f5ebe1baf803eec3"
)
SHUTDOWN = bytes.fromhex("fa31c08ed8fbb044baf803ee8b0e6c04f4a16c0429c883f80972f5b80020ba0406eff4ebfd")

OVF = """<?xml version="1.0"?>
<Envelope ovf:version="1.0" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vbox="http://www.virtualbox.org/ovf/machine"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="file1" ovf:href="{href}"/></References>
  <DiskSection><Disk ovf:capacity="1048576" ovf:diskId="vmdisk1" ovf:fileRef="file1"
   ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
  <VirtualSystem ovf:id="tiny">
    <OperatingSystemSection ovf:id="96"><vbox:OSType ovf:required="false">Debian_64</vbox:OSType>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>32</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
        <rasd:ResourceType>20</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>/disk/vmdisk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>virtio</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def write_box(folder: Path, code: bytes) -> Path:
    """A box of one 1 MiB disk that starts with the code as its boot sector. Returns the OVF's path."""
    folder.mkdir(parents=True)
    raw = folder / "disk.raw"
    raw.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    subprocess.run(
        [
            "qemu-img",
            "convert",
            "-O",
            "vmdk",
            "-o",
            "subformat=streamOptimized",
            raw,
            folder / "box-disk001.vmdk",
        ],
        check=True,
        timeout=60,
    )
    raw.unlink()
    ovf = folder / "box.ovf"
    ovf.write_text(OVF.format(href="box-disk001.vmdk"))
    return ovf


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


class VBox:
    """VBoxManage with a home of its own. `close()` ends every QEMU it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "vbox home, with a comma"
        self.program = shim.install(folder / "bin")
        self.env = {**os.environ, "VBOXQEMU_HOME": str(self.home), "VBOXQEMU_ACCEL": "tcg"}

    def run(self, *words: str | Path, env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            [self.program, *map(str, words)],
            env=self.env | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.status == 0, f"{words}: {done.err}"
        assert "error:" not in done.err
        return done.out

    def fails(self, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.status != 0, f"{words} succeeded"
        return done.err

    def info(self, vm: str) -> dict[str, str]:
        lines = self.ok("showvminfo", vm, "--machinereadable").splitlines()
        pairs = (line.partition("=") for line in lines)
        return {key.strip('"'): value.strip('"') for key, _, value in pairs}

    def state(self, vm: str) -> str:
        return self.info(vm)["VMState"]

    def machine(self, vm: str) -> Path:
        return Path(self.info(vm)["CfgFile"]).parent

    def qemu_pid(self, vm: str) -> int:
        pid = self.machine(vm) / "qemu.pid"
        until(lambda: pid.exists() and pid.read_text().isdecimal())
        return int(pid.read_text())

    def make(self, ovf: Path, name: str) -> Path:
        """Imports and gives the VM a serial file. Returns that file."""
        serial = self.folder / f"{name} serial.log"
        self.ok("import", ovf, "--vsys", "0", "--vmname", name)
        self.ok("modifyvm", name, "--uart1", "0x3F8", "4", "--uartmode1", "file", serial)
        return serial

    def close(self) -> None:
        for line in self.ok("list", "runningvms").splitlines():
            match = re.search(r"\{(.+)\}", line)
            assert match is not None
            self.run("controlvm", match[1], "poweroff")


def until(true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Waits for something another process does. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
