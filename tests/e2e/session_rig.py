"""A machine made for the end-to-end tests, and the commands a user types, as functions."""

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dnslib.server import DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver
from serving import made

from wherry.paths import paths

BINARIES = Path(sys.executable).parent
COMMAND_SECONDS = 300
#: The port MariaDB is published on: not 3306, which a developer's own server may hold.
DATABASE_PORT = 23306


@dataclass(frozen=True, slots=True)
class Session:
    """A shell of the user: `wherry` in PATH, and a home folder of its own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        own = {"WHERRY_HOME": str(self.home), "WHERRY_CACHE": str(paths().cache)}
        foreign = ("WHERRY_", "DOCKER_", "VAGRANT_", "VBOXQEMU_")
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | own

    @property
    def socket(self) -> Path:
        return self.home / "run" / "default.sock"

    def run(
        self, *command: str, check: bool = True, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command. With check, a status other than 0 fails with what the command said."""
        done = subprocess.run(
            command, env=self.env, input=stdin, capture_output=True, timeout=seconds, check=False
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}:\n"
                f"{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"
            )
        return done

    def wherry(
        self, *arguments: str, check: bool = True, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> str:
        """The output of `wherry ARGUMENTS`, without the last newline."""
        return (
            self.run(str(BINARIES / "wherry"), *arguments, check=check, stdin=stdin, seconds=seconds)
            .stdout.decode()
            .rstrip("\n")
        )

    def start_with_names_of(self, resolv_conf: Path) -> None:
        """`wherry machine start` on a host that looks names up as this file says: in a mount namespace."""
        shown = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        wherry = (str(BINARIES / "wherry"), "machine", "start")
        self.run("unshare", "--mount", "sh", "-c", shown, str(resolv_conf), *wherry)

    def refused(self, *arguments: str) -> str:
        """What `wherry ARGUMENTS` says on stderr when it must fail."""
        done = self.run(str(BINARIES / "wherry"), *arguments, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr.decode()

    def docker(self, *arguments: str, check: bool = True) -> str:
        """The output of docker's own command against the machine's socket."""
        return (
            self.run("docker", "-H", f"unix://{self.socket}", *arguments, check=check)
            .stdout.decode()
            .rstrip("\n")
        )

    def sql(self, statement: str) -> str:
        """What the host's MySQL client reads through the forwarded port."""
        return self.run(*self._sql_command(statement)).stdout.decode().rstrip("\n")

    @staticmethod
    def _sql_command(statement: str) -> tuple[str, ...]:
        where = ("--protocol=tcp", "-h127.0.0.1", f"-P{DATABASE_PORT}")
        return ("mariadb", "--no-defaults", *where, "-udemo", "-pdemo", "-N", "-e", statement, "demo")

    def wait_for_sql(self, seconds: float = 120) -> None:
        """Until MariaDB answers. Fails with the container's log."""
        deadline = time.monotonic() + seconds
        while self.run(*self._sql_command("SELECT 1"), check=False).returncode:
            if time.monotonic() > deadline:
                done = self.run(*self._sql_command("SELECT 1"), check=False)
                raise AssertionError(f"{done.stderr.decode()}\n{self.wherry('logs', 'db')}")
            time.sleep(0.5)


@contextmanager
def session() -> Iterator[Session]:
    """A new home folder; whatever machine the tests made in it is removed at the end."""
    # Below /tmp: the path of the machine's socket may not be longer than 103 bytes.
    home = Path(tempfile.mkdtemp(prefix="we-", dir="/tmp"))
    made = Session(home)
    try:
        yield made
    finally:
        made.run(str(BINARIES / "wherry"), "machine", "rm", "--force", check=False)
        shutil.rmtree(home)


def mariadb_image() -> Path:
    """The demo's root file system; made once, then from the cache."""
    return made("examples/mariadb/rootfs.sh")


def debian_image() -> Path:
    """A small Debian's root file system; made once, then from the cache."""
    return made("examples/debian/rootfs.sh")


@contextmanager
def name_server(address: str, names: str) -> Iterator[None]:
    """Answers at port 53 of this loopback address. names: lines of a zone file."""
    server = DNSServer(ZoneResolver(names), address=address, port=53, logger=DNSLogger("-request,-reply"))
    server.start_thread()
    try:
        yield
    finally:
        server.stop()
        server.server.server_close()


class Terminal:
    """A command on a terminal of its own, as a user at a keyboard has it."""

    def __init__(self, user: Session, *arguments: str, size: tuple[int, int] = (33, 99)) -> None:
        import fcntl
        import struct
        import termios

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.process = subprocess.Popen(
            [str(BINARIES / "wherry"), *arguments],
            env={**user.env, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def expect(self, text: bytes, seconds: float = 60) -> None:
        """Until the text has appeared since the last `expect`; fails with what appeared instead."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} did not appear in {seconds:g} s, but {self.output!r}")
            try:
                self.output += os.read(self._master, 65536)
            except OSError as exc:  # EIO: the other side is closed
                raise AssertionError(f"the command ended before {text!r}: {self.output!r}") from exc
        self.output = self.output.split(text, 1)[1]

    def end(self, seconds: float = 60) -> int:
        """The exit status."""
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self._master)
