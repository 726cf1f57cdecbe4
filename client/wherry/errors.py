"""The client's errors, one tree, each class with one meaning; only `cli.main` exits.

WherryError             message ends in the next step to take; exit_code 1
 ├─ UsageProblem        the command line or a config file asks for something that cannot be
 │   └─ NoTerminal      a TTY was asked for, and standard input is none
 ├─ MissingTool         Vagrant, QEMU or VirtualBox is not installed; says what to install
 ├─ NoSuchMachine       no machine of that name
 ├─ MachineProblem      the VM could not be made, started or stopped; carries stage and log tail
 ├─ MachineNotRunning   a command needs the engine, and the machine is stopped
 ├─ TunnelProblem       SSH to the guest failed; carries the cause
 └─ EngineProblem       the engine answered with an error; carries HTTP status and exit code
"""


class WherryError(Exception):
    """Base of all errors the client raises on purpose. `str(error)` is what the user reads."""

    exit_code = 1


class UsageProblem(WherryError):  # noqa: N818 - what the user meets, not how Python spells it
    pass


class BadValue(UsageProblem):
    """A value that an option cannot have. Shown with how the command is used, as docker does."""

    exit_code = 125

    def __init__(self, option: str, value: str, reason: str) -> None:
        """option: its long name, with the dashes."""
        super().__init__(f'invalid argument "{value}" for "{option}" flag: {reason}')
        self.option = option
        self.value = value
        self.reason = reason


class NoTerminal(UsageProblem):
    pass


class MissingTool(WherryError):  # noqa: N818
    pass


class NoSuchMachine(WherryError):  # noqa: N818
    pass


class MachineProblem(WherryError):  # noqa: N818
    """stage: which part of init or start failed. log_tail: the last lines of the serial log, may be ''."""

    def __init__(self, message: str, *, stage: str = "", log_tail: str = "") -> None:
        super().__init__(message)
        self.stage = stage
        self.log_tail = log_tail


class MachineNotRunning(WherryError):  # noqa: N818
    pass


class TunnelProblem(WherryError):  # noqa: N818
    pass


class EngineProblem(WherryError):  # noqa: N818
    """status: HTTP status, or 0 when the engine could not be reached at all."""

    def __init__(self, message: str, *, status: int = 0, exit_code: int = 1) -> None:
        super().__init__(message)
        self.status = status
        self.exit_code = exit_code
