"""What can go wrong, with VBoxManage's code names and numbers (VirtualBox SDK, VirtualBox.xidl, "result
codes").

VBoxError                 printed as VBoxManage prints it; exit status 1
 ├─ ObjectNotFound        no such VM, medium, property        VBOX_E_OBJECT_NOT_FOUND
 ├─ InvalidVmState        the VM's state forbids it           VBOX_E_INVALID_VM_STATE
 ├─ ObjectState           locked, already running             VBOX_E_INVALID_OBJECT_STATE
 ├─ ObjectInUse           medium attached, name taken         VBOX_E_OBJECT_IN_USE
 ├─ FileProblem           a file is missing, exists, unreadable   VBOX_E_FILE_ERROR
 ├─ NotSupported          VirtualBox can, this command can't  VBOX_E_NOT_SUPPORTED
 ├─ InvalidArgument       a value out of range                E_INVALIDARG
 ├─ Hypervisor            QEMU said no, or is not installed   VBOX_E_IPRT_ERROR
 └─ Syntax                unknown verb or option; exit status 2, no details line
"""

from __future__ import annotations


class VBoxError(Exception):
    """Base of all errors raised on purpose. `str(error)` is the first line the user reads."""

    exit_status = 1
    code = ""
    number = 0
    component = "VirtualBoxWrap"
    interface = "IVirtualBox"

    def lines(self) -> list[str]:
        """The lines for stderr, without line ends."""
        lines = [f"VBoxManage: error: {self}"]
        if self.code:
            lines.append(
                f"VBoxManage: error: Details: code {self.code} (0x{self.number:08x}), "
                f"component {self.component}, interface {self.interface}, callee nsISupports"
            )
        return lines


class ObjectNotFound(VBoxError):  # noqa: N818 - VirtualBox's own names
    code = "VBOX_E_OBJECT_NOT_FOUND"
    number = 0x80BB0001


class InvalidVmState(VBoxError):  # noqa: N818
    code = "VBOX_E_INVALID_VM_STATE"
    number = 0x80BB0002
    component = "SessionMachine"
    interface = "IMachine"


class FileProblem(VBoxError):  # noqa: N818
    code = "VBOX_E_FILE_ERROR"
    number = 0x80BB0004


class Hypervisor(VBoxError):  # noqa: N818
    code = "VBOX_E_IPRT_ERROR"
    number = 0x80BB0005
    component = "ConsoleWrap"
    interface = "IConsole"


class ObjectState(VBoxError):  # noqa: N818
    code = "VBOX_E_INVALID_OBJECT_STATE"
    number = 0x80BB0007
    component = "MachineWrap"
    interface = "IMachine"


class NotSupported(VBoxError):  # noqa: N818
    code = "VBOX_E_NOT_SUPPORTED"
    number = 0x80BB0009


class ObjectInUse(VBoxError):  # noqa: N818
    code = "VBOX_E_OBJECT_IN_USE"
    number = 0x80BB000C


class InvalidArgument(VBoxError):  # noqa: N818
    code = "E_INVALIDARG"
    number = 0x80070057


class Syntax(VBoxError):  # noqa: N818
    exit_status = 2
