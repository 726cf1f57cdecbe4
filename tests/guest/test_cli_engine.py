"""Wherry's own client on a native wherryd: the verbs of a day, and the same words as docker's client."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = pytest.mark.root

PATIENCE = 30.0
WHERRY = [sys.executable, "-c", "from wherry.cli.main import main; main()"]


def environment(engine: NativeEngine) -> dict[str, str]:
    url = f"unix://{engine.socket}"
    return {**os.environ, "WHERRY_HOST": url, "DOCKER_HOST": url, "TZ": "UTC"}


def wherry(engine: NativeEngine, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*WHERRY, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(engine),
        timeout=PATIENCE,
        check=False,
    )


def ok(engine: NativeEngine, *arguments: str, stdin: bytes = b"") -> str:
    result = wherry(engine, *arguments, stdin=stdin)
    assert result.returncode == 0, (arguments, result.stderr.decode(), engine.log_tail())
    return result.stdout.decode().removesuffix("\n")


def test_the_session_of_the_first_light(engine: NativeEngine, tmp_path: Path) -> None:
    tar = tmp_path / "root.tar"
    tar.write_bytes(busybox_tar())
    assert ok(engine, "import", "--change", 'CMD ["sh"]', str(tar), "mysql:demo").startswith("sha256:")
    assert "mysql" in ok(engine, "images")
    identifier = ok(engine, "run", "-d", "--name", "db", "mysql:demo", "sh", "-c", "echo up; sleep 300")
    assert re.fullmatch(r"[0-9a-f]{64}", identifier)
    assert ok(engine, "ps", "-q", "--no-trunc") == identifier
    address = ok(engine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db")
    assert re.fullmatch(r"10(\.\d+){3}", address)
    assert ok(engine, "exec", "db", "hostname") == identifier[:12]
    assert ok(engine, "logs", "db") == "up"
    assert ok(engine, "stop", "-t", "1", "db") == "db"
    assert ok(engine, "rm", "db") == "db"
    assert "Untagged: mysql:demo" in ok(engine, "rmi", "mysql:demo")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("nosuch",), 127),
        (("/tmp",), 126),
        (("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137),
    ],
)
def test_run_has_dockers_statuses_and_rm_leaves_nothing(
    engine: NativeEngine, command: tuple[str, ...], status: int
) -> None:
    assert wherry(engine, "run", "--rm", IMAGE, *command).returncode == status
    assert ok(engine, "ps", "-aq") == ""


def test_piped_data_goes_through_whole(engine: NativeEngine) -> None:
    data = os.urandom(3_000_000)
    assert wherry(engine, "run", "--rm", "-i", IMAGE, "cat", stdin=data).stdout == data


def test_exec_passes_data_and_status(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "xx", IMAGE, "sleep", "300")
    assert ok(engine, "exec", "-i", "xx", "cat", stdin=b"abc") == "abc"
    result = wherry(engine, "exec", "-e", "A=5", "-w", "/tmp", "xx", "sh", "-c", "echo $A; pwd; exit $A")
    assert (result.returncode, result.stdout) == (5, b"5\n/tmp\n")
    assert wherry(engine, "exec", "xx", "nosuch").returncode in {126, 127}


def test_save_and_load_give_the_image_back(engine: NativeEngine, tmp_path: Path) -> None:
    ok(engine, "tag", IMAGE, "copy:1")
    before = ok(engine, "inspect", "-f", "{{.Id}}", "copy:1")
    ok(engine, "save", "-o", str(tmp_path / "x.tar"), "copy:1")
    ok(engine, "rmi", "copy:1")
    assert "Loaded image: copy:1" in ok(engine, "load", "-i", str(tmp_path / "x.tar"))
    assert ok(engine, "inspect", "-f", "{{.Id}}", "copy:1") == before
    ok(engine, "rmi", "copy:1")


def test_version_is_one_for_client_and_engine(engine: NativeEngine) -> None:
    client, server = ok(engine, "version", "-f", "{{.Client.Version}} {{.Server.Version}}").split()
    assert client == server


def test_start_attached_and_wait(engine: NativeEngine) -> None:
    assert wherry(engine, "run", "--name", "again", IMAGE, "sh", "-c", "echo out; exit 4").returncode == 4
    result = wherry(engine, "start", "-a", "again")
    assert (result.returncode, result.stdout) == (4, b"out\n")
    assert ok(engine, "wait", "again") == "4"


_AGE = re.compile(r"Less than a second|About a minute|\d+ seconds?")
SAME = [
    ("ps",),
    ("ps", "-a", "--no-trunc"),
    ("ps", "-aq"),
    ("ps", "-as"),
    ("ps", "-a", "-f", "status=exited", "--format", "table {{.Names}}\t{{.Status}}"),
    ("ps", "-a", "--format", "{{json .}}"),
    ("ps", "-a", "--format", '{{.Label "a.b"}}|{{.Ports}}|{{.Networks}}|{{.Mounts}}'),
    ("images",),
    ("images", "--digests"),
    ("images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Digest}} {{.Size}} {{.CreatedAt}}"),
    ("inspect", "one"),
    ("inspect", IMAGE),
    ("inspect", "--type", "network", "bridge"),
    ("inspect", "-f", "{{.State.Status}} {{.State.Health}} {{json .NetworkSettings.Ports}}", "one"),
    ("inspect", "-f", "{{.NetworkSettings.Ports}} {{.HostConfig.RestartPolicy}} {{.Config.Labels}}", "one"),
    ("inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.Gateway}}{{end}}", "one"),
    ("logs", "two"),
    ("logs", "-t", "--tail", "1", "two"),
    ("wait", "two"),
    ("info", "-f", "{{.ServerVersion}} {{.Driver}} {{.OSType}}"),
    ("exec", "one", "sh", "-c", "echo $HOSTNAME; exit 3"),
]


def test_prints_what_docker_prints(engine: NativeEngine, docker_cli: str) -> None:
    ok(
        engine,
        "run",
        "-d",
        "--name",
        "one",
        "-l",
        "a.b=c",
        "-p",
        "80",
        "--expose",
        "90",
        IMAGE,
        "sleep",
        "300",
    )
    assert wherry(engine, "run", "--name", "two", IMAGE, "sh", "-c", "echo a; echo b >&2").returncode == 0
    differing = []
    for arguments in SAME:
        results = [
            subprocess.run(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(engine),
                timeout=PATIENCE,
                check=False,
            )
            for command in ([docker_cli], WHERRY)
        ]
        shown = [
            (result.returncode, *(_AGE.sub("N", text.decode()) for text in (result.stdout, result.stderr)))
            for result in results
        ]
        # Ages differ in width now and then: columns are compared without their padding.
        theirs, ours = ((status, re.sub(r" {2,}", "  ", out), err) for status, out, err in shown)
        if theirs != ours:
            differing.append((arguments, theirs, ours))
    assert differing == []


def test_inspect_of_what_is_not_there(engine: NativeEngine) -> None:
    result = wherry(engine, "inspect", "nope")
    assert (result.returncode, result.stdout) == (1, b"[]\n")


def test_json_of_inspect_is_the_engines(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "one", IMAGE, "sleep", "300")
    assert json.loads(ok(engine, "inspect", "one")) == [engine.call("GET", "/containers/one/json").json]


class Screen:
    """wherry on a pseudo-terminal of its own."""

    def __init__(self, engine: NativeEngine, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(30, 100)
        self.process = subprocess.Popen(
            [*WHERRY, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(engine),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = b""

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> None:
        """Waits for text and forgets what came before it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, f"waited for {text!r}; the screen shows {self.shown!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 4096)
        self.shown = self.shown.partition(text)[2]

    def finish(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the client does not end; the screen shows {self.shown!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 4096)
                except OSError:  # EIO: the other side is closed
                    self.process.wait(PATIENCE)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def test_a_shell_on_a_terminal(engine: NativeEngine) -> None:
    screen = Screen(engine, "run", "-it", "--name", "sh", IMAGE, "sh")
    try:
        screen.expect(b"# ")
        screen.type(b"stty size\r")
        screen.expect(b"30 100")
        screen.resize(40, 120)
        screen.expect(b"# ")
        time.sleep(0.5)  # the new size travels beside the keys, not with them
        screen.type(b"stty size\r")
        screen.expect(b"40 120")
        screen.type(b"sleep 300\r")
        screen.expect(b"sleep 300")
        time.sleep(0.3)
        screen.type(b"\x03")
        screen.expect(b"# ")
        screen.type(b"\x10\x11")
        assert screen.finish() == 0
    finally:
        screen.close()
    assert ok(engine, "inspect", "-f", "{{.State.Status}}", "sh") == "running"
    screen = Screen(engine, "attach", "sh")
    try:
        screen.type(b"\r")
        screen.expect(b"# ")
        screen.type(b"exit 9\r")
        assert screen.finish() == 9
    finally:
        screen.close()


def test_exec_on_a_terminal(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "xx", IMAGE, "sleep", "300")
    screen = Screen(engine, "exec", "-it", "xx", "sh")
    try:
        screen.expect(b"# ")
        screen.type(b"stty size; tty; exit 3\r")
        screen.expect(b"30 100")
        screen.expect(b"/dev/pts/")
        assert screen.finish() == 3
    finally:
        screen.close()


def test_ctrl_c_without_a_tty_reaches_the_container(engine: NativeEngine) -> None:
    script = "trap 'echo got; exit 6' INT; echo up; while :; do sleep 0.1; done"
    screen = Screen(engine, "run", "--rm", IMAGE, "sh", "-c", script)
    try:
        screen.expect(b"up")
        screen.type(b"\x03")
        screen.expect(b"got")
        assert screen.finish() == 6
    finally:
        screen.close()


def test_following_logs_ends_with_ctrl_c_and_without_a_word(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "xx", IMAGE, "sh", "-c", "echo one; sleep 300")
    screen = Screen(engine, "logs", "-f", "xx")
    try:
        screen.expect(b"one\r\n")
        screen.type(b"\x03")
        assert screen.finish() == 130
        assert screen.shown.replace(b"^C", b"").strip() == b""
    finally:
        screen.close()


def test_created_paused_renamed_and_restarted(engine: NativeEngine, docker_cli: str) -> None:
    identifier = ok(engine, "create", "--name", "aa", "-p", "127.0.0.1:0:80", IMAGE, "sleep", "300")
    assert ok(engine, "inspect", "-f", "{{.State.Status}} {{.Id}}", "aa") == f"created {identifier}"
    ok(engine, "start", "aa")
    ok(engine, "rename", "aa", "bb")
    assert ok(engine, "pause", "bb") == "bb"
    assert ok(engine, "inspect", "-f", "{{.State.Status}}", "bb") == "paused"
    assert ok(engine, "unpause", "bb") == "bb"
    before = ok(engine, "inspect", "-f", "{{.State.Pid}}", "bb")
    assert ok(engine, "restart", "-t", "0", "bb") == "bb"
    assert ok(engine, "inspect", "-f", "{{.State.Pid}}", "bb") != before
    assert re.fullmatch(r"80/tcp -> 127\.0\.0\.1:\d+", ok(engine, "port", "bb"))
    assert "127.0.0.1:" in ok(engine, "port", "bb", "80")
    assert wherry(engine, "port", "bb", "81").returncode == 1
    theirs = engine.docker("top", "bb", "-o", "pid,cmd").stdout.decode()
    assert ok(engine, "top", "bb", "-o", "pid,cmd") == theirs.removesuffix("\n")
