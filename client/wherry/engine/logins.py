"""Logins to registries: docker's own config file and its credential helpers, shared with docker's client.

    DOCKER_CONFIG/config.json, or ~/.docker/config.json
        auths         {server: {"auth": base64 of user:password, "identitytoken": ...}}
        credsStore    name of a helper for every server
        credHelpers   {server: name of a helper}

A helper is a program docker-credential-NAME with the verbs get, store and erase. The engine never sees
this file: each request carries what it needs in a header. Source: docker login reference,
"Credential helper protocol"; Engine API, "Authentication".
"""

import base64
import binascii
import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherry.engine import dockerconfig
from wherry.errors import UsageProblem
from wherry.renaming import replace

#: Docker Hub's key in the file.
HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
#: What a helper calls the user of an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a marker
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")
#: A helper may ask the user to unlock a keychain.
_HELPER_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One server's credentials. identity_token: stands in for the password."""

    server: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def document(self) -> dict[str, str]:
        """An AuthConfig of the Engine API."""
        fields = {"serveraddress": self.server}
        if self.identity_token:
            return fields | {"identitytoken": self.identity_token}
        return fields | {"username": self.username, "password": self.password}

    def header(self) -> dict[str, str]:
        """X-Registry-Auth."""
        packed = base64.urlsafe_b64encode(json.dumps(self.document()).encode()).decode()
        return {"X-Registry-Auth": packed}


def server_key(address: str) -> str:
    """A registry's key in the file: "docker.io" -> Docker Hub's, "https://reg:5000/v2/" -> "reg:5000"."""
    host = _host(address)
    return HUB_KEY if not host or host in _HUB_NAMES else host


def _host(address: str) -> str:
    return address.removeprefix("https://").removeprefix("http://").partition("/")[0]


class Logins:
    """The user's logins. Reading never fails for a missing file; a broken one is a UsageProblem."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or Path(dockerconfig.folder()) / "config.json"

    def header_for(self, domain: str) -> dict[str, str]:
        """X-Registry-Auth for an image of this registry; {} when the user is not logged in there."""
        login = self.get(server_key(domain))
        return login.header() if login else {}

    def header_for_build(self) -> dict[str, str]:
        """X-Registry-Config: every login, as nobody knows yet which registries a Dockerfile names. The engine
        gives each only to its own. {} without any. Raises UsageProblem."""
        document = self._read()
        servers = {server_key(key) for names in ("auths", "credHelpers") for key in document.get(names) or {}}
        logins = [login for server in sorted(servers) if (login := self.get(server))]
        if not logins:
            return {}
        known = {login.server: login.document() for login in logins}
        return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(known).encode()).decode()}

    def get(self, server: str) -> Login | None:
        """server: a key as `server_key` makes it. Raises UsageProblem."""
        document = self._read()
        helper = _helper(document, server)
        if helper:
            return _ask(helper, server)
        auths = document.get("auths") or {}
        entry = auths.get(server)
        if entry is None:
            # Others have written the same server with its scheme or a path.
            same = (value for key, value in auths.items() if server_key(key) == server)
            entry = next(same, None)
        return _login(server, entry) if isinstance(entry, dict) else None

    def store(self, login: Login) -> bool:
        """Whether it went to a helper; else it lies unencrypted in the file. Raises UsageProblem."""
        document = self._read()
        helper = _helper(document, login.server)
        if helper:
            secret = login.identity_token or login.password
            user = _TOKEN_USER if login.identity_token else login.username
            _run(helper, "store", json.dumps({"ServerURL": login.server, "Username": user, "Secret": secret}))
            # Docker keeps the name of the server, to know whom the helper can be asked for.
            document.setdefault("auths", {})[login.server] = {}
        else:
            packed = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
            entry = {"auth": packed}
            if login.identity_token:
                packed = base64.b64encode(f"{login.username}:".encode()).decode()
                entry = {"auth": packed, "identitytoken": login.identity_token}
            document.setdefault("auths", {})[login.server] = entry
        self._write(document)
        return helper != ""

    def erase(self, server: str) -> bool:
        """Whether there was a login. Raises UsageProblem."""
        document = self._read()
        auths = document.get("auths") or {}
        keys = [key for key in auths if server_key(key) == server]
        helper = _helper(document, server)
        known = bool(keys)
        if helper and _ask(helper, server) is not None:
            known = True
            _run(helper, "erase", server)
        for key in keys:
            del auths[key]
        if keys:
            self._write(document)
        return known

    def set_current_context(self, name: str) -> None:
        """name: "" for none. Raises UsageProblem."""
        document = self._read()
        document.pop("currentContext", None)
        self._write({**document, "currentContext": name} if name else document)

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self.file.read_text(encoding="utf-8") or "{}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise UsageProblem(f"{self.file}: {exc}; mend it or remove it") from exc
        if not isinstance(document, dict) or not isinstance(document.get("auths") or {}, dict):
            raise UsageProblem(f"{self.file}: wants an object with an object in auths; mend it or remove it")
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        """Whole or not at all, readable by the user alone, through a symbolic link if it is one."""
        import tempfile

        target = self.file.resolve()
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".config-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                    json.dump(document, out, indent="\t")
                    out.write("\n")
                replace(Path(name), target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as exc:
            raise UsageProblem(f"cannot write {self.file}: {exc.strerror}") from exc


def _login(server: str, entry: Mapping[str, Any]) -> Login | None:
    token = str(entry.get("identitytoken") or "")
    try:
        username, _, password = (
            base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError) as exc:
        raise UsageProblem(f"the login for {server} cannot be read; run `wherry login` again") from exc
    password = password.rstrip("\0")  # very old files are padded with it
    if not username and not token:
        return None
    return Login(server=server, username=username, password=password, identity_token=token)


def _helper(document: Mapping[str, Any], server: str) -> str:
    """The helper's name, or ""."""
    helpers = document.get("credHelpers") or {}
    name = helpers.get(server) or helpers.get(_host(server)) if isinstance(helpers, dict) else None
    name = name or document.get("credsStore") or ""
    if name and (not isinstance(name, str) or not _HELPER_NAME.fullmatch(name)):
        raise UsageProblem(f'"{name}" is no name of a credential helper; mend credsStore or credHelpers')
    return str(name)


def _ask(helper: str, server: str) -> Login | None:
    answer = _run(helper, "get", server, may_be_absent=True)
    if answer is None:
        return None
    try:
        document = json.loads(answer)
        username, secret = str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageProblem(
            f"docker-credential-{helper} gave no credentials: {exc!r}; see its manual"
        ) from exc
    if username == _TOKEN_USER:
        return Login(server=server, identity_token=secret)
    return Login(server=server, username=username, password=secret)


def _run(helper: str, verb: str, given: str, *, may_be_absent: bool = False) -> str | None:
    """The helper's output; None when it says that it has nothing. Raises UsageProblem."""
    import subprocess  # most have no helper

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb],
            input=given.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError as exc:
        raise UsageProblem(
            f"{program} is named in docker's config file, but not installed; install it, or take it out"
        ) from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UsageProblem(f"{program} {verb}: {exc}; see its manual") from exc
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0:
        return text
    if may_be_absent and ("credentials not found" in text or "no credentials" in text):
        return None
    raise UsageProblem(f"{program} {verb}: {text or done.stderr.decode(errors='replace').strip()}")
