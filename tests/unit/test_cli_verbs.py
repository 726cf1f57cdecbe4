"""The verbs from the command line to the engine and back: what is asked, printed and returned."""

import io
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_fake_engine import Answer, Container, FakeEngine, fake_engine, frame, read_to_end

from wherry.cli.main import COMMANDS, main


@dataclass
class Result:
    status: int
    out: str
    err: str


Wherry = Callable[..., Result]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_engine() as made:
        monkeypatch.setenv("WHERRY_HOST", made.url)
        yield made


@pytest.fixture
def wherry(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Wherry:
    """Runs main() here, with an empty standard input unless `stdin` says otherwise."""

    def run(*args: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["wherry", *args])
        read_end, write_end = os.pipe()
        saved = os.dup(0)
        try:
            os.dup2(read_end, 0)
            os.write(write_end, stdin)
            os.close(write_end)
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            os.dup2(saved, 0)
            os.close(saved)
            os.close(read_end)
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, out, err)

    return run


CONTAINER = {
    "Id": "a" * 64, "Names": ["/db"], "Image": "mysql:demo", "ImageID": "sha256:1", "Command": "sleep 300",
    "Created": 1, "State": "running", "Status": "Up 3 seconds", "Ports": [], "Labels": {},
}  # fmt: skip


def test_every_verb_of_the_table_loads_and_has_help() -> None:
    import importlib

    for name, target in COMMANDS.items():
        if "cli.machine" in target:
            continue  # the machine's own tests
        module, _, attribute = target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert command.help, name


def test_ps_prints_dockers_columns(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/json", Answer(200, [CONTAINER]))
    result = wherry("ps")
    heading, line, rest = result.out.split("\n")
    assert heading.split("   ")[0] == "CONTAINER ID"
    assert " ".join(heading.split()) == "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES"
    assert re.match(r"aaaaaaaaaaaa   mysql:demo   \"sleep 300\"   \d+ years ago   Up 3 seconds {13}db$", line)
    assert rest == ""
    assert engine.requests[-1].query == {}


def test_ps_passes_filters_on(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/json", Answer(200, []))
    wherry("ps", "-a", "-n", "3", "-f", "name=db", "--filter=status=exited", "--format", "{{.Size}}")
    query = engine.requests[-1].query
    assert json.loads(query["filters"][0]) == {"name": {"db": True}, "status": {"exited": True}}
    assert (query["all"], query["limit"], query["size"]) == (["1"], ["3"], ["1"])
    assert wherry("ps", "-f", "bad").status == 125


def test_each_name_is_tried_and_the_first_failure_does_not_stop_the_rest(
    engine: FakeEngine, wherry: Wherry
) -> None:
    engine.on("POST", "/containers/(a|c)/stop", Answer(204))
    engine.on("POST", "/containers/b/stop", Answer(404, {"message": "No such container: b"}))
    result = wherry("stop", "-t", "1", "a", "b", "c")
    assert result == Result(1, "a\nc\n", "Error response from daemon: No such container: b\n")
    assert engine.requests[-1].query == {"t": ["1"]}


def test_forced_rm_of_what_is_not_there_is_told_and_fine(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("DELETE", "/containers/x", Answer(404, {"message": "No such container: x"}))
    assert wherry("rm", "-f", "x") == Result(0, "", "Error response from daemon: No such container: x\n")
    assert wherry("rm", "x").status == 1


def test_start_names_what_failed(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/containers/a/start", Answer(304))
    engine.on("POST", "/containers/b/start", Answer(500, {"message": "boom"}))
    result = wherry("start", "a", "b")
    assert result.out == "a\n"
    assert result.err.endswith("boom\nError: failed to start containers: b\n")


def test_wait_prints_statuses(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/containers/a/wait", Answer(200, {"StatusCode": 137}))
    assert wherry("wait", "a").out == "137\n"


def test_inspect_looks_for_an_image_after_a_container(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/images/mysql:demo/json", Answer(200, {"Id": "sha256:1", "Size": 5}))
    assert json.loads(wherry("inspect", "mysql:demo").out) == [{"Id": "sha256:1", "Size": 5}]
    assert wherry("inspect", "-f", "{{.Size}}", "mysql:demo").out == "5\n"
    assert wherry("inspect", "-f", "json", "mysql:demo").out == '[{"Id":"sha256:1","Size":5}]\n'


def test_inspect_of_nothing_prints_an_empty_list_and_fails(engine: FakeEngine, wherry: Wherry) -> None:
    assert wherry("inspect", "x") == Result(1, "[]\n", "Error: No such object: x\n")


def test_inspect_statuses_of_bad_templates(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/x/json", Answer(200, {"Id": "1"}))
    assert wherry("inspect", "-f", "{{", "x").status == 64
    result = wherry("inspect", "-f", "{{.Foo}}", "x")
    assert (result.status, result.out) == (1, "\n")
    assert 'map has no entry for key "Foo"' in result.err


def test_logs_are_split_to_stdout_and_stderr(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/db/json", Answer(200, {"Id": "1", "Config": {"Tty": False}}))
    engine.on(
        "GET",
        "/containers/1/logs",
        Answer(stream=iter([frame(1, b"out\n") + frame(2, b"e")[:5], frame(2, b"e")[5:]])),
    )
    result = wherry("logs", "--tail", "5", "--since", "2013-01-02T13:23:37Z", "db")
    assert result == Result(0, "out\n", "e")
    assert engine.requests[-1].query["since"] == ["1357133017.000000000"]
    assert engine.requests[-1].query["tail"] == ["5"]


def test_import_streams_the_file_and_names_the_image(
    engine: FakeEngine, wherry: Wherry, tmp_path: Path
) -> None:
    tar = tmp_path / "mariadb.tar"
    tar.write_bytes(b"tar" * 50000)
    engine.on("POST", "/images/create", Answer(stream=iter([b'{"status":"sha256:1"}\r\n'])))
    result = wherry("import", "-c", "CMD x", "--change", "ENV A=1", "-m", "why", str(tar), "mysql:demo")
    assert result == Result(0, "sha256:1\n", "")
    request = engine.requests[-1]
    assert request.body == tar.read_bytes()
    assert request.query == {
        "fromSrc": ["-"],
        "repo": ["mysql"],
        "tag": ["demo"],
        "changes": ["CMD x", "ENV A=1"],
        "message": ["why"],
    }


def test_import_reads_standard_input_and_urls(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/create", lambda _: Answer(stream=iter([b'{"status":"ok"}\n'])))
    assert wherry("import", "-", "a", stdin=b"abc").out == "ok\n"
    assert (engine.requests[-1].body, engine.requests[-1].query["tag"]) == (b"abc", ["latest"])
    wherry("import", "https://x/y.tar")
    assert engine.requests[-1].query == {"fromSrc": ["https://x/y.tar"]}


def test_import_of_a_missing_file_says_so(engine: FakeEngine, wherry: Wherry) -> None:
    result = wherry("import", "/nonexistent.tar", "a")
    assert result.status == 1
    assert "open /nonexistent.tar: no such file or directory" in result.err


def test_an_error_in_the_progress_fails(engine: FakeEngine, wherry: Wherry) -> None:
    lines = b'{"status":"a"}\n{"errorDetail":{"message":"bad tar"},"error":"bad tar"}\n'
    engine.on("POST", "/images/load", Answer(stream=iter([lines])))
    assert wherry("load", stdin=b"x") == Result(1, "a\n", "bad tar\n")


def test_save_writes_a_whole_file_or_none(engine: FakeEngine, wherry: Wherry, tmp_path: Path) -> None:
    engine.on("GET", "/images/get", Answer(stream=iter([b"abc", b"def"])))
    assert wherry("save", "-o", str(tmp_path / "x.tar"), "a", "b:1").status == 0
    assert (tmp_path / "x.tar").read_bytes() == b"abcdef"
    assert engine.requests[-1].query["names"] == ["a", "b:1"]
    engine.on("GET", "/images/get", Answer(404, {"message": "No such image: a"}))
    assert wherry("save", "-o", str(tmp_path / "y.tar"), "a").status == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_rmi_prints_what_went(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("DELETE", "/images/a:1", Answer(200, [{"Untagged": "a:1"}, {"Deleted": "sha256:2"}]))
    assert wherry("rmi", "a:1").out == "Untagged: a:1\nDeleted: sha256:2\n"


def test_tag_splits_the_target(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/a/tag", Answer(201))
    assert wherry("tag", "a", "h:5/b:2").status == 0
    assert engine.requests[-1].query == {"repo": ["h:5/b"], "tag": ["2"]}


VERSION = {
    "Platform": {"Name": "Wherry Engine"}, "Version": "0.1.0", "ApiVersion": "1.51",
    "Components": [{"Name": "Engine", "Version": "0.1.0", "Details": {
        "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}}],
}  # fmt: skip


def test_version_shows_both_sides(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/version", Answer(200, VERSION))
    result = wherry("version")
    assert result.out.startswith(
        "Client: Wherry\n Version:           0.1.0\n API version:       1.47 (downgraded from 1.51)\n"
    )
    assert "\nServer: Wherry Engine\n Engine:\n  Version:          0.1.0\n" in result.out
    assert "  API version:      1.51 (minimum version 1.24)\n" in result.out
    assert wherry("version", "-f", "{{.Client.Version}} {{.Server.APIVersion}}").out == "0.1.0 1.51\n"


def test_version_without_an_engine_shows_the_client_and_fails(
    wherry: Wherry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERRY_HOST", "tcp://127.0.0.1:9")
    result = wherry("version")
    assert result.status == 1
    assert " Version:           0.1.0\n" in result.out
    assert "cannot connect to the engine at tcp://127.0.0.1:9" in result.err


def test_info_is_shown_in_dockers_words(engine: FakeEngine, wherry: Wherry) -> None:
    found = {"Containers": 3, "ContainersRunning": 1, "ServerVersion": "0.1.0", "MemTotal": 2 << 30,
             "SecurityOptions": ["name=seccomp,profile=builtin"]}  # fmt: skip
    engine.on("GET", "/info", Answer(200, found))
    text = wherry("info").out
    assert " Containers: 3\n  Running: 1\n" in text
    assert " Security Options:\n  seccomp\n   Profile: builtin\n" in text
    assert " Total Memory: 2GiB\n" in text


# --- run, exec, attach ------------------------------------------------------------------------------


def test_run_detached_prints_the_id(engine: FakeEngine, wherry: Wherry) -> None:
    container = Container(engine, lambda _: 0)
    result = wherry("run", "-d", "--name", "db", "-p", "3306:3306", "mysql:demo", "--x")
    assert result == Result(0, container.identifier + "\n", "")
    assert container.order == ["create", "start"]
    request = engine.asked("POST", "/containers/create")[0]
    assert request.query == {"name": ["db"]}
    assert request.json["Cmd"] == ["--x"]


def test_run_attaches_and_waits_before_it_starts(engine: FakeEngine, wherry: Wherry) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"out") + frame(2, b"err"))
        return 7

    container = Container(engine, program)
    assert wherry("run", "img") == Result(7, "out", "err")
    assert container.order == ["create", "attach", "wait", "start"]
    assert engine.asked("POST", f"/containers/{container.identifier}/wait")[0].query == {
        "condition": ["next-exit"]
    }


def test_run_sends_standard_input_and_its_end(engine: FakeEngine, wherry: Wherry) -> None:
    def cat(connection: socket.socket) -> int:
        connection.sendall(frame(1, read_to_end(connection)))
        return 0

    Container(engine, cat)
    assert wherry("run", "-i", "--rm", "img", "cat", stdin=b"piped").out == "piped"


def test_output_after_the_exit_status_is_not_lost(engine: FakeEngine, wherry: Wherry) -> None:
    def late(connection: socket.socket) -> int:
        container.status = 3
        container.ended.set()  # the wait answers now, the output comes after it
        for _ in range(50):
            connection.sendall(frame(1, b"x" * 1000))
        return 3

    container = Container(engine, late)
    result = wherry("run", "img")
    assert (result.status, len(result.out)) == (3, 50_000)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ('exec: "/tmp": permission denied', 126),
        ("something else", 125),
    ],
)
def test_a_failed_start_has_dockers_status(
    engine: FakeEngine, wherry: Wherry, message: str, status: int
) -> None:
    container = Container(engine, lambda _: 0)
    engine.on("POST", f"/containers/{container.identifier}/start", Answer(400, {"message": message}))
    result = wherry("run", "img")
    assert result.status == status
    assert message in result.err
    container.started.set()  # lets the attach go


def test_a_missing_image_is_pulled(engine: FakeEngine, wherry: Wherry) -> None:
    container = Container(engine, lambda _: 0)
    created = iter(
        [Answer(404, {"message": "No such image: x:1"}), Answer(201, {"Id": container.identifier})]
    )
    engine.on("POST", "/containers/create", lambda _: next(created))
    engine.on("POST", "/images/create", lambda _: Answer(stream=iter([b'{"status":"Pulling","id":"l"}\n'])))
    result = wherry("run", "-d", "h:5/x:1")
    assert result.err == "Unable to find image 'h:5/x:1' locally\nl: Pulling\n"
    assert engine.asked("POST", "/images/create")[0].query == {"fromImage": ["h:5/x"], "tag": ["1"]}


def test_pull_never_does_not_pull(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/containers/create", Answer(404, {"message": "No such image: x:1"}))
    assert wherry("run", "--pull", "never", "x:1").status == 125
    assert not engine.asked("POST", "/images/create")


def test_another_missing_thing_is_not_pulled(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/containers/create", Answer(404, {"message": "network x not found"}))
    assert wherry("run", "img").status == 125
    assert not engine.asked("POST", "/images/create")


def test_a_bad_option_never_reaches_the_engine(engine: FakeEngine, wherry: Wherry) -> None:
    result = wherry("run", "-m", "10x", "img")
    assert result.status == 125
    assert 'invalid argument "10x" for "-m, --memory" flag: invalid size' in result.err
    assert engine.requests == []


def test_a_tty_needs_a_terminal(engine: FakeEngine, wherry: Wherry) -> None:
    result = wherry("run", "-it", "img")
    assert result.status == 1
    assert "the input device is not a TTY" in result.err
    assert engine.requests == []


def test_cidfile_holds_the_id_and_is_never_overwritten(
    engine: FakeEngine, wherry: Wherry, tmp_path: Path
) -> None:
    container = Container(engine, lambda _: 0)
    file = tmp_path / "cid"
    assert wherry("run", "-d", "--cidfile", str(file), "img").status == 0
    assert file.read_text() == container.identifier
    result = wherry("run", "-d", "--cidfile", str(file), "img")
    assert (result.status, len(engine.asked("POST", "/containers/create"))) == (125, 1)
    assert "container ID file found" in result.err


def test_warnings_of_the_engine_are_shown(engine: FakeEngine, wherry: Wherry) -> None:
    container = Container(engine, lambda _: 0)
    engine.on(
        "POST", "/containers/create", Answer(201, {"Id": container.identifier, "Warnings": ["no swap"]})
    )
    assert wherry("run", "-d", "img").err == "WARNING: no swap\n"


def exec_engine(engine: FakeEngine, program: Callable[[socket.socket], Any], status: int) -> None:
    def serve(connection: socket.socket) -> None:
        program(connection)
        connection.shutdown(socket.SHUT_RDWR)

    engine.on("GET", "/containers/db/json", Answer(200, {"Id": "1"}))
    engine.on("POST", "/containers/db/exec", Answer(201, {"Id": "e"}))
    engine.on("POST", "/exec/e/start", lambda _: Answer(hijack=serve))
    engine.on("GET", "/exec/e/json", Answer(200, {"ExitCode": status}))


def test_exec_returns_the_commands_status(engine: FakeEngine, wherry: Wherry) -> None:
    exec_engine(engine, lambda connection: connection.sendall(frame(1, b"hi\n")), 5)
    result = wherry("exec", "-e", "A=1", "-w", "/x", "-u", "5", "db", "sh", "-c", "exit 5")
    assert result == Result(5, "hi\n", "")
    body = engine.asked("POST", "/containers/db/exec")[0].json
    assert body["Cmd"] == ["sh", "-c", "exit 5"]
    assert (body["Env"], body["WorkingDir"], body["User"], body["AttachStdin"]) == (["A=1"], "/x", "5", False)


def test_exec_in_a_missing_container_leaves_no_exec_behind(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/db/json", Answer(404, {"message": "No such container: db"}))
    assert wherry("exec", "db", "ls").status == 1
    assert not engine.asked("POST", "/containers/db/exec")


def test_a_system_error_in_the_stream_is_an_error(engine: FakeEngine, wherry: Wherry) -> None:
    exec_engine(engine, lambda connection: connection.sendall(frame(3, b"lost")), 0)
    result = wherry("exec", "db", "ls")
    assert result.status == 1
    assert "error from daemon in stream: lost" in result.err


def test_attach_returns_the_containers_status(engine: FakeEngine, wherry: Wherry) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"hello"))
        return 4

    container = Container(engine, program)
    container.started.set()
    assert wherry("attach", "--no-stdin", "db") == Result(4, "hello", "")


def test_attach_to_a_stopped_container_says_start(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/containers/db/json", Answer(200, {"Id": "1", "State": {"Running": False}}))
    result = wherry("attach", "db")
    assert result.status == 1
    assert "cannot attach to a stopped container, start it first" in result.err


def test_start_attached_follows_to_the_end(engine: FakeEngine, wherry: Wherry) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"again"))
        return 9

    Container(engine, program)
    assert wherry("start", "-a", "db") == Result(9, "again", "")


def test_option_h_wins_over_the_environment(
    engine: FakeEngine, wherry: Wherry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERRY_HOST", "tcp://127.0.0.1:9")
    engine.on("GET", "/containers/json", Answer(200, []))
    assert wherry("-H", engine.url, "ps", "-q").status == 0


def test_the_machine_that_is_not_there_is_told(
    wherry: Wherry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WHERRY_HOST", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path))
    result = wherry("ps")
    assert result.status == 1
    assert "wherry machine init" in result.err
    assert wherry("run", "img").status == 125


def test_images_of_one_repository(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("GET", "/images/json", Answer(200, []))
    assert wherry("images", "--digests", "mysql").out.split() == [
        *("REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE")
    ]
    request = engine.requests[-1]
    assert request.version == "1.47"
    assert json.loads(request.query["filters"][0]) == {"reference": {"mysql": True}}
