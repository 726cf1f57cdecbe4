"""`VBoxManage VERB ...`: finds the verb's module, and turns errors into VBoxManage's lines and exit
status."""

from __future__ import annotations

import sys

from vboxqemu.errors import Syntax, VBoxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The VirtualBox whose behaviour is given. Vagrant picks its driver by the first two numbers.
VERSION = "7.0.20r163906"

#: verb -> module below commands/; its function is the verb, or `run` where the module has one verb.
VERBS = {
    "clonemedium": "medium",
    "closemedium": "medium",
    "controlvm": "controlvm",
    "convertfromraw": "medium",
    "createhd": "medium",
    "createmedium": "medium",
    "createvm": "registry",
    "discardstate": "registry",
    "getextradata": "properties",
    "guestproperty": "properties",
    "import": "import_",
    "list": "list_",
    "modifyhd": "medium",
    "modifymedium": "medium",
    "modifyvm": "modifyvm",
    "registervm": "registry",
    "setextradata": "properties",
    "sharedfolder": "unsupported",
    "showhdinfo": "medium",
    "showmediuminfo": "medium",
    "showvminfo": "showvminfo",
    "snapshot": "snapshot",
    "startvm": "startvm",
    "storageattach": "storage",
    "storagectl": "storage",
    "unregistervm": "registry",
    # Known to VirtualBox, without a meaning here: they say so instead of "invalid command".
    "adoptstate": "unsupported",
    "bandwidthctl": "unsupported",
    "clonevm": "unsupported",
    "dhcpserver": "unsupported",
    "export": "unsupported",
    "guestcontrol": "unsupported",
    "hostonlyif": "unsupported",
    "hostonlynet": "unsupported",
    "movevm": "unsupported",
    "natnetwork": "unsupported",
    "usbfilter": "unsupported",
}


def execute(words: Sequence[str]) -> int:
    """Runs one command and returns its exit status. Raises VBoxError."""
    if not words:
        sys.stdout.write(usage())
        return Syntax.exit_status
    verb, arguments = words[0], list(words[1:])
    if verb in ("--version", "-V", "-v"):
        sys.stdout.write(VERSION + "\n")
        return 0
    if verb in ("help", "--help", "-h", "-?"):
        sys.stdout.write(usage())
        return 0
    if verb in ("-q", "--nologo"):
        return execute(arguments)
    module_name = VERBS.get(verb)
    if module_name is None:
        raise Syntax(f"Invalid command '{verb}'")
    module = __import__(f"vboxqemu.commands.{module_name}", fromlist=["run"])
    status: int = module.run(verb, arguments)
    return status


def usage() -> str:
    verbs = "".join(f"  VBoxManage {verb} ...\n" for verb in sorted(VERBS) if VERBS[verb] != "unsupported")
    return f"VBoxManage-compatible command on QEMU, as VirtualBox {VERSION}\n\nUsage:\n\n{verbs}"


def main() -> None:
    """The one place where an error becomes an exit status."""
    try:
        status = execute(sys.argv[1:])
        sys.stdout.flush()
    except VBoxError as exc:
        sys.stdout.flush()
        sys.stderr.write("\n".join(exc.lines()) + "\n")
        sys.exit(exc.exit_status)
    except BrokenPipeError:
        # The reader went away (`... | head`): nothing is left to say, and nowhere to say it.
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("VBoxManage: error: interrupted\n")
        sys.exit(130)
    sys.exit(status)


if __name__ == "__main__":
    main()
