"""`wherry machine ssh`."""

import shlex
import shutil
import subprocess

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import name_option, open_machine, option_for
from wherry.errors import MachineNotRunning, MissingTool
from wherry.machine.state import MachineState
from wherry.machine.store import Machine


@verb("ssh", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def ssh(ctx: click.Context, name: str, command: tuple[str, ...]) -> None:
    """A shell in the machine, or one command: `wherry machine ssh -- uname -a`."""
    machine = open_machine(name)
    if machine.provider.state() is not MachineState.RUNNING or not machine.files.known_hosts.exists():
        raise MachineNotRunning(
            f'machine "{name}" is not running; run `wherry machine start{option_for(name)}`'
        )
    program = shutil.which("ssh")
    if program is not None:
        ctx.exit(subprocess.call([program, *_arguments(machine, command)]))
    if not command:
        raise MissingTool(
            "a shell needs the `ssh` command: install OpenSSH's client "
            "(on Windows: Settings, Optional features)"
        )
    from wherry.cli.machine.sshfallback import run_command

    ctx.exit(run_command(machine, command_line(command)))


def _arguments(machine: Machine, command: tuple[str, ...]) -> list[str]:
    endpoint = machine.provider.ssh_endpoint()
    options = {
        # The user's own configuration must neither help nor hinder.
        "UserKnownHostsFile": f'"{machine.files.known_hosts}"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "PasswordAuthentication": "no",
        "LogLevel": "ERROR",
    }
    arguments = ["-F", "none", "-i", str(machine.files.private_key), "-p", str(endpoint.port)]
    for key, value in options.items():
        arguments += ["-o", f"{key}={value}"]
    arguments.append(f"wherry@{endpoint.host}")
    return [*arguments, "--", command_line(command)] if command else arguments


def command_line(command: tuple[str, ...]) -> str:
    """What the guest's shell is given. Several words stay the words they are; a single one is a command line
    already, as `ssh` has it.
    """
    return command[0] if len(command) == 1 else shlex.join(command)
