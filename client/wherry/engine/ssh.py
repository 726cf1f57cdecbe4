"""An engine on another machine, through the user's own `ssh`: its keys, agent, jump hosts and configuration.

On the other side `docker system dial-stdio` (or `wherry system dial-stdio`) carries the bytes to the engine
there. Each connection is one ssh; a ControlMaster in the user's configuration makes them cheap.

Source: docker docs, "Protect the Docker daemon socket", "Use SSH"; ssh(1).
"""

import contextlib
import os
import select
import shlex
import subprocess
import sys
import threading

from wherry.engine.endpoint import Endpoint

#: Seconds until the other side must have answered.
CONNECT_TIMEOUT = 30
#: Of what ssh says before it fails, in bytes.
_SAID_BYTES = 4096
#: Seconds for ssh to end when its streams have.
_END_SECONDS = 2.0


def command(endpoint: Endpoint) -> list[str]:
    """The words of the ssh that reaches an engine. Its last word is read by the shell over there."""
    words = ["ssh", "-o", f"ConnectTimeout={CONNECT_TIMEOUT}", "-T"]
    if endpoint.user:
        words += ["-l", endpoint.user]
    if endpoint.port:
        words += ["-p", str(endpoint.port)]
    host = f" --host {shlex.quote(f'unix://{endpoint.path}')}" if endpoint.path else ""
    # sh, fish, cmd and PowerShell 7 all read `||`; the second is for a side that has only Wherry.
    remote = " || ".join(f"{program}{host} system dial-stdio" for program in ("docker", "wherry"))
    return [*words, "--", endpoint.host, remote]


class SshConnection:
    """A connection (dial.Connection) over the pipes of one ssh. Closing twice is fine."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises OSError if there is no ssh."""
        # Of its own session, so that Ctrl-C is the command's to handle; ssh can then ask for no password.
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        self._process = subprocess.Popen(
            command(endpoint),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101, PT018 - for the type checker
        self._stdin, self._stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        self._said = b""
        self._answered = False
        self._listener = threading.Thread(
            target=self._listen, args=(stderr.fileno(),), name="ssh-stderr", daemon=True
        )
        self._listener.start()

    def _listen(self, descriptor: int) -> None:
        while data := os.read(descriptor, _SAID_BYTES):
            self._said = (self._said + data)[-_SAID_BYTES:]

    def recv(self, size: int, /) -> bytes:
        data = os.read(self._stdout.fileno(), size)
        if not data and not self._answered:
            raise ConnectionError(self._reason())
        self._answered = True
        return data

    def sendall(self, data: bytes, /) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._stdin.fileno(), view) :]
        except OSError as exc:
            if self._answered:
                raise
            raise ConnectionError(self._reason()) from exc

    def _reason(self) -> str:
        """Why nothing came: what ssh has said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._listener.join(_END_SECONDS)
        said = self._said.decode(errors="replace").strip().replace("\r\n", "\n")
        return f"ssh ended with {self._process.returncode}: {said or 'it said nothing'}"

    def close_write(self) -> None:
        self._stdin.close()

    def is_quiet(self) -> bool:
        if sys.platform == "win32":
            from wherry.engine._windows import pipe_is_quiet

            return pipe_is_quiet(self._stdout.fileno())
        else:  # noqa: RET505 - the type checker follows if and else per platform
            return not select.select([self._stdout], [], [], 0)[0]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        # The end of its input ends the other side; one that hangs is ended here.
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listener.join(_END_SECONDS)
        for stream in (self._stdout, self._process.stderr):
            if stream is not None:
                stream.close()
