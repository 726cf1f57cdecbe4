"""`alias docker=wherry`: verb by verb, both clients on one engine print and return the same."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_rig import Clients, without_measurements
from native_engine import IMAGE, NativeEngine
from serving import served_folder

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


@pytest.fixture
def clients(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Clients]:
    yield Clients(engine, monkeypatch, capfd)
    engine.docker("volume", "prune", "-af")


@pytest.fixture
def furnished(clients: Clients, tmp_path: Path) -> Clients:
    """Containers `one` (running, with changes and a volume) and `two` (ended), image `built`."""
    clients.ok(
        "run", "-d", "--name", "one", "-l", "a.b=c", "-p", "127.0.0.1::80", "-v", "kept:/kept", IMAGE,
        "sh", "-c", "echo x > /tmp/new; rm /bin/false; echo up; echo oops >&2; sleep 300",
    )  # fmt: skip
    clients.wherry("run", "--name", "two", IMAGE, "sh", "-c", "exit 3")
    clients.ok("commit", "-m", "why", "-a", "me", "-c", "LABEL x=<y>", "two", "built:1")
    return clients


SAME: tuple[tuple[str, ...], ...] = (
    ("diff", "one"),
    ("history", IMAGE),
    ("history", "--no-trunc", "-H=false", "built:1"),
    ("history", "--format", "json", "built:1"),
    ("history", "--format", "table {{.ID}}\t{{.Comment}}", "built:1"),
    ("history", "-q", "built:1"),
    ("image", "history", "built:1"),
    ("image", "ls", "--no-trunc"),
    ("image", "list", "-q"),
    ("image", "inspect", "built:1"),
    ("image", "inspect", "one"),
    ("container", "ls", "-a"),
    ("container", "list", "-aq"),
    ("container", "ps", "--format", "{{.Names}} {{.Label \"a.b\"}} {{.State}}"),
    ("container", "inspect", "one"),
    ("container", "inspect", "-s", "-f", "{{.SizeRootFs}}", "two"),
    ("container", "inspect", "built:1"),
    ("container", "logs", "one"),
    ("container", "port", "one"),
    ("container", "top", "one", "-o", "pid,args"),
    ("container", "wait", "two"),
    ("system", "df"),
    ("system", "df", "-v"),
    ("system", "df", "--format", "json"),
    ("system", "df", "--format", "table {{.Type}}\t{{.TotalCount}}\t{{.Reclaimable}}"),
    ("system", "df", "-v", "--format", "{{range .Images}}{{.Repository}} {{.SharedSize}};{{end}}"),
    ("system", "df", "-v", "--format", "json"),
    ("system", "info", "-f", "{{.Driver}} {{.NCPU}} {{json .Plugins.Volume}}"),
    ("update", "--memory", "100m", "--memory-swap", "200m", "--cpus", "0.5", "--pids-limit", "50", "one"),
    ("update", "--restart", "on-failure:3", "one", "nope"),
    ("stats", "--no-stream", "nope"),
    ("network", "list"),
    ("volume", "list"),
    ("volume", "ls", "-q"),
)  # fmt: skip

#: "Now" is a whole second to docker: what happened in it is not shown yet.
EVENTS: tuple[tuple[str, ...], ...] = (
    ("events", "--since", "10m", "--until", "0s"),
    ("events", "--since", "10m", "--until", "0s", "--format", "json"),
    ("events", "--since", "10m", "--until", "0s", "-f", "type=container", "-f", "event=die", "--format",
     "{{.Status}} {{.Actor.Attributes.exitCode}} {{.From}} {{.Scope}} {{.TimeNano}} {{.Actor.Attributes}}"),
    ("system", "events", "--since", "10m", "--until", "0s", "-f", "container=two"),
)  # fmt: skip

#: What goes wrong, too: the message and the status.
ALSO_SAME: tuple[tuple[str, ...], ...] = (
    ("diff", "nope"),
    ("history", "nope"),
    ("export", "nope"),
    ("commit", "nope", "x"),
    ("update", "--memory", "1g", "nope"),
    ("image", "rm", "nope"),
    ("container", "rm", "one"),
    ("stop", "nope", "nada"),
    ("kill", "-s", "NOSUCH", "one"),
    ("pause", "two"),
    ("unpause", "one"),
    ("rename", "one", "two"),
    ("start", "nope"),
    ("logs", "nope"),
    ("port", "one", "99"),
    ("top", "two"),
    ("wait", "nope"),
    ("tag", "nope", "x"),
    ("network", "inspect", "nope"),
    ("volume", "rm", "kept", "nope"),
    ("volume", "inspect", "nope"),
)


def test_prints_what_docker_prints(furnished: Clients) -> None:
    assert furnished.differences(*SAME) == []


def test_shows_the_events_that_docker_shows(furnished: Clients) -> None:
    time.sleep(1 - time.time() % 1)
    assert furnished.differences(*EVENTS) == []
    assert "die" in furnished.ok(*EVENTS[0])


def test_fails_as_docker_fails(furnished: Clients) -> None:
    assert furnished.differences(*ALSO_SAME) == []


def test_stats_has_dockers_columns(furnished: Clients) -> None:
    for command in (
        ("stats", "--no-stream", "-a"),
        ("stats", "--no-stream", "--no-trunc", "--format", "table {{.Container}}\t{{.ID}}\t{{.PIDs}}", "one"),
        ("stats", "--no-stream", "--format", "json", "two"),
    ):
        theirs, ours = furnished.docker(*command), furnished.wherry(*command)
        assert without_measurements(theirs) == without_measurements(ours)


PLACES: tuple[tuple[str, str], ...] = (
    ("one:/a", "dir"), ("one:/a", "new"), ("one:/a/.", "new2"), ("one:/a/.", "dir"), ("one:/a/f", "."),
    ("one:/a/f", "file"), ("one:/a/f", "newfile"), ("one:/a/f", "newdir/"), ("one:/a", "file"),
    ("one:/a/l", "dir"), ("one:/la", "dir"), ("one:/la/", "nla"), ("one:/a/f", "ldir"),
    ("one:/a/f", "dangling"), ("one:/a/f", "no/such"), ("one:/nope", "."), ("nope:/a", "."),
    ("a", "b"), ("one:/a", "one:/b"), ("one:a/f", "rel"), ("one:/a/f/", "x"), ("one:/a/f", "/dev/null"),
    ("src", "one:/e"), ("src", "one:/new"), ("src/.", "one:/e"), ("src", "one:/a/f"), ("file", "one:/newf"),
    ("file", "one:/nf2/"), ("file", "one:/no/such"), ("lsrc", "one:/e"), ("lsrc/", "one:/e"),
    ("nope", "one:/"), ("file/", "one:/"), ("file", "one:/la"), ("file", "one:/dev/null"), ("file", "one:e"),
    ("./a:b", "one:/e/z"), ("file", "one:/kept/in-volume"), ("one:/kept", "volume"),
)  # fmt: skip


def copies(clients: Clients, copy: object, folder: Path, name: str) -> tuple[list[int], str, str]:
    """Every copy of PLACES by one client: the statuses, and both trees afterwards."""
    script = (
        "mkdir -p /a/b /e; echo 1 > /a/f; echo 2 > /a/b/g; ln -s f /a/l; ln -s /a /la; ln /a/f /a/h;"
        " chmod 750 /a/b; chown 1000:1000 /a/f; sleep 300"
    )
    clients.ok("run", "-d", "--name", "one", "-v", f"{name}:/kept", IMAGE, "sh", "-c", script)
    clients.ok("exec", "one", "sh", "-c", "until [ -e /a/h ]; do sleep 0.05; done; echo v > /kept/v")
    root = folder / name
    for path in ("dir", "src/s1"):
        (root / path).mkdir(parents=True)
    for path, text in (("file", "old"), ("src/s", "s"), ("src/s1/t", "t"), ("a:b", "colon")):
        (root / path).write_text(text)
    for path, to in (("src/sl", "s"), ("lsrc", "src"), ("ldir", "dir"), ("dangling", "nowhere")):
        (root / path).symlink_to(to)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        statuses = [copy("cp", *pair).status for pair in PLACES]  # type: ignore[operator]
    listed = clients.ok("exec", "one", "sh", "-c", "find /a /e /new /newf /kept | sort | xargs ls -ldn")
    inside = "\n".join(" ".join([*line.split()[:5], line.split()[-1]]) for line in listed.splitlines())
    outside = "\n".join(
        f"{path.relative_to(root)} {path.lstat().st_mode:o} {path.lstat().st_uid} "
        + (str(path.readlink()) if path.is_symlink() else "" if path.is_dir() else path.read_text())
        for path in sorted(root.rglob("*"))
    )
    clients.ok("rm", "-fv", "one")
    return statuses, inside, outside


def test_copies_what_docker_copies_to_where_it_does(clients: Clients, tmp_path: Path) -> None:
    theirs = copies(clients, clients.docker, tmp_path, "docker")
    ours = copies(clients, clients.wherry, tmp_path, "wherry")
    assert ours == theirs
    assert 0 < theirs[0].count(0) < len(PLACES)


def test_cp_passes_tar_streams_on(clients: Clients, tmp_path: Path) -> None:
    import io
    import tarfile

    clients.ok("run", "-d", "--name", "one", IMAGE, "sleep", "300")
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as file:
        entry = tarfile.TarInfo("sub/data")
        entry.size, entry.uid = 3, 1234
        file.addfile(entry, io.BytesIO(b"abc"))
    sent = clients.wherry("cp", "-a", "-", "one:/tmp", stdin=archive)
    assert sent.status == 0, sent
    assert clients.ok("exec", "one", "stat", "-c", "%u %s", "/tmp/sub/data") == "1234 3"
    assert clients.wherry("cp", "-", "one:/tmp/sub/data", stdin=archive).status == 1
    assert clients.wherry("cp", "one:/tmp/sub", "-").out == clients.docker("cp", "one:/tmp/sub", "-").out
    kept = clients.wherry("cp", "-a", "one:/tmp/sub/data", str(tmp_path / "own"))
    assert (kept.status, (tmp_path / "own").stat().st_uid) == (0, 1234)


def test_export_and_commit_keep_changes(furnished: Clients, tmp_path: Path) -> None:
    import tarfile

    furnished.ok("export", "-o", str(tmp_path / "x.tar"), "one")
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = archive.getnames()
    assert "tmp/new" in names
    assert "bin/false" not in names
    identifier = furnished.ok("commit", "-p=false", "one", "kept:2")
    assert json.loads(furnished.ok("image", "inspect", "kept:2"))[0]["Id"] == identifier
    assert furnished.ok("run", "--rm", "kept:2", "cat", "/tmp/new") == "x"
    furnished.ok("rmi", "kept:2")


def test_prunes_remove_what_they_say(furnished: Clients, tmp_path: Path) -> None:
    asked = tmp_path / "no"
    asked.write_text("n\n")
    for group in ("container", "image", "network", "volume", "system", "builder"):
        theirs = furnished.docker(group, "prune", stdin=b"n\n")
        ours = furnished.wherry(group, "prune", stdin=asked)
        assert (ours.status, ours.out) == (theirs.status, theirs.out), group
    agreed = tmp_path / "yes"
    agreed.write_text("y\n")
    ended = furnished.ok("inspect", "-f", "{{.Id}}", "two")
    removed = furnished.wherry("container", "prune", stdin=agreed)
    assert f"Deleted Containers:\n{ended}\n\nTotal reclaimed space: " in removed.out
    assert furnished.wherry("container", "prune", "-f", "--filter", "label=x").out.startswith("Total")
    furnished.ok("network", "create", "lonely")
    furnished.ok("volume", "create", "idle")
    everything = furnished.ok("system", "prune", "-af")
    assert "Deleted Networks:\nlonely\n" in everything
    assert "untagged: built:1\n" in everything
    assert "idle" in furnished.ok("volume", "ls", "-q")
    assert "Deleted Volumes:\nidle\n" in furnished.ok("volume", "prune", "-af")
    assert furnished.ok("images", "-q") == furnished.ok("images", "-q", IMAGE)


def test_update_changes_the_running_container(furnished: Clients) -> None:
    furnished.ok("update", "-m", "64m", "--memory-swap", "-1", "--restart", "on-failure:3", "one")
    host = json.loads(furnished.ok("inspect", "-f", "{{json .HostConfig}}", "one"))
    assert (host["Memory"], host["MemorySwap"]) == (64 * 1024 * 1024, -1)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_insert_adds_a_file_from_the_web(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("from the web\n")
    with served_folder(tmp_path) as url:
        shown = clients.ok("insert", IMAGE, f"{url}/a.conf", "/etc/a.conf")
        missing = clients.wherry("insert", IMAGE, f"{url}/nope", "/etc/nope")
    identifier = shown.split()[-1]
    assert clients.ok("run", "--rm", identifier, "cat", "/etc/a.conf") == "from the web"
    assert missing.status == 1
    assert "404" in missing.err
    clients.ok("rmi", "-f", identifier)
