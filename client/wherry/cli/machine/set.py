"""`wherry machine set`: options of the engine in the machine, kept on its data disk."""

import json
from pathlib import Path
from typing import Any

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine, option_for, show_json
from wherry.errors import MachineNotRunning, MachineProblem, UsageProblem
from wherry.machine.state import MachineState
from wherry.machine.store import Machine

#: In dockerd's words for its file.
_LISTS = {"registry_mirror": "registry-mirrors", "insecure_registry": "insecure-registries"}
_CERTIFICATES = (".crt", ".cert", ".key")


@verb("set")
@name_option
@click.option(
    "--registry-mirror",
    multiple=True,
    metavar="URL",
    help='Ask this mirror of Docker Hub first. May repeat; replaces those of before, "" is none.',
)
@click.option(
    "--insecure-registry",
    multiple=True,
    metavar="HOST[:PORT]|CIDR",
    help='Do without TLS, or with any certificate. May repeat; replaces those of before, "" is none.',
)
@click.option(
    "--registry-ca",
    multiple=True,
    metavar="HOST[:PORT]=FILE",
    help="Trust this certificate authority for this registry. May repeat; without a file it is forgotten.",
)
@click.option(
    "--registry-certs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Take over a folder laid out as docker's certs.d: HOST[:PORT]/*.crt, *.cert, *.key.",
)
@json_option
def set_(
    name: str,
    registry_mirror: tuple[str, ...],
    insecure_registry: tuple[str, ...],
    registry_ca: tuple[str, ...],
    registry_certs: Path | None,
    as_json: bool,
) -> None:
    """Change how the machine's engine reaches registries; without options, show it.

    The engine is restarted, containers go on. What is set stays on the machine's data disk.
    """
    given = {"registry_mirror": registry_mirror, "insecure_registry": insecure_registry}
    wanted = document(given, registry_ca, registry_certs)
    machine = open_machine(name)
    found = apply(machine, wanted)
    if as_json:
        show_json(found)
        return
    for key, value in found["options"].items():
        click.echo(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else json.dumps(value)}")
    for host, files in found["certificates"].items():
        click.echo(f"certificates of {host}: {', '.join(files)}")
    if not found["options"] and not found["certificates"]:
        click.echo("nothing is set")


def document(
    lists: dict[str, tuple[str, ...]], authorities: tuple[str, ...], folder: Path | None
) -> dict[str, Any]:
    """What `wherryd configure` is sent. Raises UsageProblem for files that cannot be read."""
    options = {
        _LISTS[name]: [value for value in values if value] or None for name, values in lists.items() if values
    }
    certificates: dict[str, dict[str, str] | None] = {}
    if folder is not None:
        for host in sorted(path for path in folder.iterdir() if path.is_dir()):
            files = {
                path.name: _text(path) for path in sorted(host.iterdir()) if path.suffix in _CERTIFICATES
            }
            certificates[host.name] = files
        if not certificates:
            raise UsageProblem(f"--registry-certs {folder}: no folder in it; it wants HOST[:PORT]/ca.crt")
    for authority in authorities:
        host_name, equals, file = authority.partition("=")
        if not host_name or not equals:
            raise UsageProblem(f'--registry-ca "{authority}": write it as HOST[:PORT]=FILE')
        if file:
            certificates[host_name] = (certificates.get(host_name) or {}) | {"ca.crt": _text(Path(file))}
        else:
            certificates[host_name] = None
    return {key: value for key, value in (("options", options), ("certificates", certificates)) if value}


def apply(machine: Machine, wanted: dict[str, Any]) -> dict[str, Any]:
    """What is set afterwards. Raises MachineNotRunning, UsageProblem for what the engine refuses."""
    from wherry.cli.machine.sshfallback import answer_of

    if machine.provider.state() is not MachineState.RUNNING or not machine.files.known_host.exists():
        raise MachineNotRunning(
            f'machine "{machine.name}" is not running, and its settings lie on its disk; '
            f"run `wherry machine start{option_for(machine.name)}`"
        )
    command = "sudo wherryd configure"
    if wanted:
        command += " && sudo systemctl restart wherryd"
    status, out, problem = answer_of(machine, command, json.dumps(wanted).encode())
    said = problem.decode(errors="replace").strip()
    if status < 0:
        raise MachineProblem(
            f'the connection to machine "{machine.name}" broke off before its engine had answered; '
            f"`wherry machine set{option_for(machine.name)}` shows what is set"
        )
    if status:
        if "unrecognized arguments: configure" in said:
            raise MachineProblem(
                f'the engine of machine "{machine.name}" is older than this wherry; make the machine again'
            )
        raise UsageProblem(said.removeprefix("wherryd: ") or f"the engine refused, with status {status}")
    if said:
        click.echo(said, err=True)
    found: dict[str, Any] = json.loads(out)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not PEM"
        raise UsageProblem(f"{path}: {reason}; give a certificate in PEM") from exc
