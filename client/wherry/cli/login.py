"""`wherry login`: proves a password to a registry, through the engine, and keeps it as docker does."""

import sys
from typing import TYPE_CHECKING

import click

from wherry.cli.command import engine, flag, verb
from wherry.errors import EngineProblem, UsageProblem

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient
    from wherry.engine.logins import Login

UNENCRYPTED = (
    "\nWARNING! Your credentials are stored unencrypted in '{}'.\n"
    "Configure a credential helper to remove this warning. See\n"
    "https://docs.docker.com/go/credential-store/\n"
)


@verb("login")
@click.option("-p", "--password", default="", help="Password.")
@flag("--password-stdin", help="Take the password from stdin.")
@click.option("-u", "--username", default="", help="Username.")
@click.argument("server", required=False, default="")
@click.pass_context
def login(ctx: click.Context, password: str, password_stdin: bool, username: str, server: str) -> None:
    """Authenticate to a registry; Docker Hub without SERVER."""
    from wherry.engine.logins import Login, Logins, server_key

    password = _given_password(password, password_stdin, username)
    logins, key = Logins(), server_key(server)
    client = engine(ctx)
    known = None if username or password else logins.get(key)
    if known is not None:
        click.echo(f"Authenticating with existing credentials... [Username: {known.username}]")
        try:
            _prove(client, known)
        except EngineProblem as exc:
            if exc.status != 401:
                raise
            click.echo(f"Login did not succeed, error: {exc}")
        else:
            click.echo("\nLogin Succeeded")
            return
    username, password = _ask(username or (known.username if known else ""), password, server or "docker.io")
    wanted = Login(server=key, username=username, password=password)
    token = _prove(client, wanted)
    if token:
        wanted = Login(server=key, username=username, identity_token=token)
    if not logins.store(wanted):
        click.echo(UNENCRYPTED.format(logins.file), err=True)
    click.echo("Login Succeeded")


def _given_password(password: str, from_stdin: bool, username: str) -> str:
    """Raises UsageProblem for options that contradict each other."""
    if from_stdin:
        if password:
            raise UsageProblem("--password and --password-stdin are mutually exclusive; use the second")
        if not username:
            raise UsageProblem("the --password-stdin option requires --username to be set; add -u NAME")
        return sys.stdin.buffer.read().decode().rstrip("\r\n")
    if password:
        click.echo("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True)
    return password


def _ask(username: str, password: str, server: str) -> tuple[str, str]:
    """What is missing, from the terminal. Raises UsageProblem when there is none."""
    import getpass

    if username and password:
        return username, password
    if not sys.stdin.isatty():
        raise UsageProblem(
            "Error: Cannot perform an interactive login from a non TTY device; "
            "use -u NAME and --password-stdin"
        )
    click.echo(f"Log in to {server}.")
    username = username or input("Username: ").strip()
    if not username:
        raise UsageProblem("username is required; log in again and type one")
    password = password or getpass.getpass("Password: ")
    if not password:
        raise UsageProblem("password is required; log in again and type one")
    return username, password


def _prove(client: "EngineClient", login: "Login") -> str:
    """The registry's identity token, or "". Raises EngineProblem, with status 401 for a wrong password."""
    answer = client.post("/auth", body=login.document()) or {}
    return str(answer.get("IdentityToken") or "")
