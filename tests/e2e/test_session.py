"""The main job, as a user does it: a VM through Vagrant, a real MariaDB in a container inside it.

One machine for the whole module, since a boot under emulation takes its time; the tests run in order, each
leaves what the next one needs.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import ROOT, package_mirror
from session_rig import (
    BINARIES,
    DATABASE_PORT,
    Session,
    Terminal,
    debian_image,
    mariadb_image,
    name_server,
    session,
)

from wherrywire import __version__

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="builds its image as root"),
    pytest.mark.skipif(shutil.which("vagrant") is None, reason="Vagrant is not installed"),
]

WEB_PORT, TAKEN_PORT, SITE_PORT = 28080, 28081, 28082


@pytest.fixture(scope="module")
def user() -> Iterator[Session]:
    with session() as made:
        yield made


def test_there_is_no_machine_before_init(user: Session) -> None:
    assert "wherry machine init" in user.refused("ps")


def test_init_and_start_end_with_an_engine_that_answers(user: Session) -> None:
    user.wherry("machine", "init")
    started = json.loads(user.wherry("machine", "start", "--json"))
    assert list(started["seconds"]) == ["hypervisor", "kernel", "ready", "tunnel", "api"]
    assert user.socket.exists()


def test_start_of_a_running_machine_is_a_success(user: Session) -> None:
    assert "already running" in user.wherry("machine", "start")


def test_a_second_agent_never_runs(user: Session) -> None:
    before = json.loads(user.wherry("machine", "inspect"))["agent"]["pid"]
    assert "already" in user.refused("agent")
    assert json.loads(user.wherry("machine", "inspect"))["agent"]["pid"] == before


def test_client_and_server_are_of_one_version(user: Session) -> None:
    versions = json.loads(user.wherry("version", "--format", "{{json .}}"))
    assert versions["Client"]["Version"] == versions["Server"]["Version"] == __version__


def test_a_root_file_system_becomes_an_image(user: Session) -> None:
    user.wherry("import", str(mariadb_image()), "mysql:demo")
    listed = user.wherry("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert listed == ["mysql:demo"]


def test_a_database_runs_and_its_port_is_the_host_s(user: Session) -> None:
    user.wherry(
        "run", "-d", "--name", "db", "-p", f"{DATABASE_PORT}:3306", "-m", "512m", "--pids-limit", "200",
        "-v", "boats:/var/lib/mysql",
        "-e", "MARIADB_DATABASE=demo", "-e", "MARIADB_USER=demo", "-e", "MARIADB_PASSWORD=demo",
        "mysql:demo", "mariadb-entrypoint",
    )  # fmt: skip
    assert f"{DATABASE_PORT}->3306/tcp" in user.wherry("ps", "--format", "{{.Ports}}")
    user.wait_for_sql()
    user.sql("CREATE TABLE boats (name VARCHAR(40), oars INT)")
    user.sql("INSERT INTO boats VALUES ('wherry', 2), ('eight', 8)")
    assert user.sql("SELECT name FROM boats WHERE oars = 2") == "wherry"


def test_inspect_gives_the_address(user: Session) -> None:
    assert user.wherry("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").startswith("172.")


def test_logs_and_exec_reach_the_database(user: Session) -> None:
    done = user.run(str(BINARIES / "wherry"), "logs", "db")
    assert b"ready for connections" in done.stdout + done.stderr
    assert user.wherry("exec", "db", "mariadb", "-N", "-e", "SELECT 6 * 7") == "42"


def test_limits_are_in_the_guest_s_cgroup(user: Session) -> None:
    container = user.wherry("inspect", "-f", "{{.Id}}", "db")
    found = user.wherry("machine", "ssh", "--", f"sudo cat /sys/fs/cgroup/wherry/{container}/memory.max")
    assert found == str(512 * 1024 * 1024)
    assert user.wherry("machine", "ssh", "--", f"cat /sys/fs/cgroup/wherry/{container}/pids.max") == "200"


@pytest.fixture(scope="module")
def limits(user: Session) -> dict[str, Any]:
    """What the kernel says of a container with each limit of cgroup v2; see guest_limits.py."""
    program = (Path(__file__).parent / "guest_limits.py").read_bytes()
    return dict(json.loads(user.wherry("machine", "ssh", "--", "sudo python3 -", stdin=program)))


def test_each_limit_of_cgroup_v2_arrives_in_its_file(limits: dict[str, Any]) -> None:
    files = dict(limits["files"])
    device, *rates = files.pop("io.max").split()
    assert device.partition(":")[0].isdigit()
    assert sorted(rates) == ["rbps=67108864", "riops=5000", "wbps=67108864", "wiops=6000"]
    assert files == {
        "cpu.weight": "20",
        "cpu.max": "50000 100000",
        "cpu.max.burst": "10000",
        "cpuset.cpus": "1",
        "cpuset.cpus.effective": "1",
        "cpuset.mems": "0",
        "memory.max": str(64 << 20),
        "memory.low": str(32 << 20),
        "memory.swap.max": str(32 << 20),
        "memory.min": str(1 << 20),
        "io.weight": "default 4950",
        "pids.max": "12",
        "hugetlb.2MB.max": str(4 << 20),
        "hugetlb.2MB.rsvd.max": str(4 << 20),
        "cgroup.max.depth": "3",
    }
    assert "cgroup v2 has no net_cls" in limits["network"]


def test_the_limits_of_cgroup_v2_hold(limits: dict[str, Any]) -> None:
    assert limits["namespace"] == [0, "0::/\n"]
    assert limits["processors"] == [0, "Cpus_allowed_list:\t1\n"]
    assert limits["too_much_memory"][0] == 128 + signal.SIGKILL
    assert limits["oom_kills"] == 1
    assert limits["huge_within"] == 0
    assert limits["huge_beyond"]
    assert "can't fork" in limits["forks"][1]
    assert "all" not in limits["forks"][1].split()


def test_devices_are_denied_by_our_own_program_and_allowed_by_an_update(limits: dict[str, Any]) -> None:
    assert "Operation not permitted" in limits["device_denied"][1]
    assert limits["device_denied"][0] != 0
    assert limits["device_allowed"][0] == 0


def test_statistics_of_cgroup_v2_have_the_common_shape(limits: dict[str, Any]) -> None:
    stats = limits["stats"]
    assert (stats["version"], stats["limit"], stats["swap_limit"]) == (2, 64 << 20, 32 << 20)
    assert stats["pids"] == [1, 12]
    assert stats["throttled"] > 0
    assert stats["cpu_ns"] > 0
    assert stats["written"] >= 16 * 65536
    assert stats["peak"] > 32 << 20
    assert (stats["huge_limit"], stats["huge_failures"]) == (4 << 20, 1)


def test_pause_update_and_kill_of_cgroup_v2(limits: dict[str, Any]) -> None:
    assert limits["paused"] == ["paused", "1\n"]
    assert limits["resumed"] == "running"
    changed = {name: text for name, text in limits["updated"].items() if text != limits["files"].get(name)}
    assert changed == {
        "cpu.weight": "79",
        "cpu.max": "20000 100000",
        "cpuset.cpus": "0-1",
        "cpuset.cpus.effective": "0-1",
        "memory.max": str(48 << 20),
        "memory.swap.max": "0",
        "pids.max": "9",
    }
    assert limits["before_kill"] > 1
    assert limits["after_kill"] == []
    assert not limits["left"]


def test_an_apparmor_profile_confines_a_container_and_what_enters_it(user: Session) -> None:
    program = (Path(__file__).parent / "guest_apparmor.py").read_bytes()
    user.wherry("machine", "ssh", "--", "sudo python3 -", stdin=program)
    assert "name=apparmor" in user.docker("info", "-f", "{{.SecurityOptions}}")
    script = "cat /proc/self/attr/current; touch /allowed && echo yes; touch /forbidden || echo no"
    confined = ["wherry-test (enforce)", "yes", "no"]
    option = ("--security-opt", "apparmor=wherry-test")
    for ids in ((), ("--userns", "host")):
        assert (
            user.docker("run", "--rm", *option, *ids, "mysql:demo", "sh", "-c", script).split("\n")
            == confined
        )
    user.docker("run", "-d", "--name", "confined", *option, "mysql:demo", "sleep", "1000")
    assert user.docker("exec", "confined", "sh", "-c", script).split("\n") == confined
    assert user.docker("inspect", "-f", "{{.AppArmorProfile}}", "confined") == "wherry-test"
    user.docker("rm", "-f", "confined")
    # Without the profile the same file can be made.
    assert "no" not in user.docker("run", "--rm", "mysql:demo", "sh", "-c", script).split("\n")
    refused = user.refused("run", "--rm", "--security-opt", "apparmor=nosuch", "mysql:demo", "id")
    assert "cannot enter AppArmor profile nosuch" in refused


def test_docker_s_own_command_works_on_the_socket(user: Session) -> None:
    assert __version__ in user.docker("version", "--format", "{{.Server.Version}}")
    user.docker("run", "--rm", "mysql:demo", "true")
    assert user.docker("run", "--rm", "mysql:demo", "echo", "hello") == "hello"
    assert user.docker("ps", "--format", "{{.Names}}") == "db"


def test_docker_logs_follow_until_the_container_ends(user: Session) -> None:
    user.docker("run", "-d", "--name", "talker", "mysql:demo", "sh", "-c", "echo one; sleep 2; echo two")
    assert user.docker("logs", "-f", "talker") == "one\ntwo"
    user.docker("rm", "talker")


def test_an_interactive_shell_has_the_terminal_s_size(user: Session) -> None:
    shell = Terminal(user, "run", "-it", "--rm", "mysql:demo", "sh", size=(33, 99))
    shell.expect(b"# ")
    shell.type(b"stty size\n")
    shell.expect(b"33 99")
    shell.type(b"sleep 100\n")
    shell.expect(b"sleep 100")
    time.sleep(1)
    shell.type(b"\x03")
    shell.expect(b"# ")
    shell.type(b"exit 7\n")
    assert shell.end() == 7


def test_detach_keys_leave_the_container_running(user: Session) -> None:
    shell = Terminal(user, "run", "-it", "--name", "left", "mysql:demo", "sh")
    shell.expect(b"# ")
    shell.type(b"\x10\x11")
    assert shell.end() == 0
    assert user.wherry("inspect", "-f", "{{.State.Running}}", "left") == "true"
    user.wherry("rm", "-f", "left")


def test_a_killed_engine_harms_no_container(user: Session) -> None:
    started = user.wherry("inspect", "-f", "{{.State.StartedAt}}", "db")
    user.wherry("machine", "ssh", "--", "sudo systemctl kill --signal=KILL --kill-whom=main wherryd")
    deadline = time.monotonic() + 90
    while user.run("docker", "-H", f"unix://{user.socket}", "version", check=False).returncode:
        assert time.monotonic() < deadline, "the engine did not come back"
        time.sleep(1)
    assert user.wherry("inspect", "-f", "{{.State.StartedAt}}", "db") == started
    assert user.sql("SELECT COUNT(*) FROM boats") == "2"


#: A web server and a UDP echo, in the Perl that every Debian has.
SERVER = """
use IO::Socket::INET;
$SIG{TERM} = sub { exit };
if (fork) {
    my $web = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1);
    while (my $client = $web->accept) {
        <$client>;
        print $client "HTTP/1.0 200 OK\\r\\n\\r\\nahoy";
        close $client;
    }
}
my $echo = IO::Socket::INET->new(LocalPort => 53, Proto => "udp");
while ($echo->recv(my $said, 9000)) { $echo->send("heard $said") }
"""


def web_answers(host: str = "localhost") -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://{host}:{WEB_PORT}", timeout=5).read() == b"ahoy")
    return False


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def test_a_web_server_and_a_udp_port_of_a_container_are_opened_by_localhost(user: Session) -> None:
    user.wherry("network", "create", "--label", "kept=yes", "fleet")
    user.wherry(
        "run", "-d", "--name", "web", "--network", "fleet", "--restart", "always",
        "-p", f"{WEB_PORT}:80", "-p", f"{WEB_PORT}:53/udp", "mysql:demo", "perl", "-e", SERVER,
    )  # fmt: skip
    wait_until(web_answers)
    assert web_answers("127.0.0.1")
    assert web_answers("[::1]")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"me", ("127.0.0.1", WEB_PORT))
        assert client.recv(100) == b"heard me"
    ports = json.loads(user.wherry("machine", "inspect"))["agent"]["ports"]
    shown = {(each["port"], each["protocol"]): (each["addresses"], each["state"]) for each in ports}
    assert shown[WEB_PORT, "tcp"] == shown[WEB_PORT, "udp"] == (["127.0.0.1", "::1"], "open")


def test_a_port_that_another_program_has_is_told_by_port(user: Session) -> None:
    with socket.create_server(("127.0.0.1", TAKEN_PORT)):
        user.wherry("run", "-d", "--name", "late", "-p", f"{TAKEN_PORT}:80", "mysql:demo", "sleep", "600")

        def told() -> bool:
            said = user.run(str(BINARIES / "wherry"), "port", "late").stderr.decode()
            return f"port {TAKEN_PORT} of this host is not forwarded: another program" in said

        wait_until(told)
    user.wherry("rm", "-f", "late")


@pytest.mark.parametrize("parent", [(), ("-o", "parent=eth0.77")])
def test_ipvlan_and_the_parents_that_the_engine_makes(user: Session, parent: tuple[str, ...]) -> None:
    """The box's kernel has what the build machines' has not: ipvlan, dummy and VLAN devices."""
    if parent:
        found = user.wherry("machine", "ssh", "--", "ip -o -4 route show default")
        parent = ("-o", f"parent={found.split()[4]}.77")
    user.wherry("network", "create", "-d", "ipvlan", "--subnet", "10.77.0.0/24", *parent, "lone")
    user.wherry("run", "-d", "--name", "one", "--network", "lone", "mysql:demo", "perl", "-e", SERVER)
    # The server may need a moment.
    fetch = "until exec 3<>/dev/tcp/one/80; do sleep 0.2; done 2>/dev/null; echo GET / >&3 && cat <&3"
    client = ("timeout", "60", "bash", "-c", fetch)
    assert user.wherry("run", "--rm", "--network", "lone", "mysql:demo", *client).endswith("ahoy")
    user.wherry("rm", "-f", "one")
    user.wherry("network", "rm", "lone")
    links = user.wherry("machine", "ssh", "--", "ip -o link")
    assert ".77" not in links
    assert "dm-" not in links


@pytest.mark.skipif(
    "WHERRY_LISTINGS" not in os.environ,
    reason="installs packages on an emulated CPU: minutes (WHERRY_LISTINGS=1); natively it is test_examples",
)
def test_the_article_s_listings_are_built_in_the_machine_and_served_to_the_host(
    user: Session, tmp_path: Path
) -> None:
    """examples/php_box and examples/myapp, with Debian's packages from a mirror on the user's own machine."""
    user.wherry("import", str(debian_image()), "debian:plain")
    with package_mirror("apache2", "libapache2-mod-php", "php-mysql") as sources:
        (tmp_path / "sources.list").write_text(sources.replace("127.0.0.1", "host.docker.internal"))
        (tmp_path / "Dockerfile").write_text(
            "FROM debian:plain\nRUN rm -r /etc/apt/sources.list.d/* /var/lib/apt/lists/*\n"
            "COPY sources.list /etc/apt/\n"
        )
        user.wherry("build", "-t", "debian:13", str(tmp_path))
        host = ("--add-host", "host.docker.internal:host-gateway")
        user.wherry("build", *host, "-t", "php_box", str(ROOT / "examples/php_box"), seconds=1800)
        user.wherry("build", "-t", "myapp", str(ROOT / "examples/myapp"))
    user.wherry("run", "-d", "--name", "site", "-p", f"{SITE_PORT}:80", "myapp")

    def page() -> str:
        with contextlib.suppress(OSError):
            return str(urllib.request.urlopen(f"http://localhost:{SITE_PORT}/", timeout=5).read(), "utf-8")
        return ""

    wait_until(lambda: "<h1>MyApp</h1>" in page() and "MySQL: ready" in page())
    assert '"GET / HTTP/1.1" 200' in user.wherry("logs", "site")
    user.wherry("rm", "-f", "site")
    user.wherry("rmi", "myapp", "php_box", "debian:13", "debian:plain")


def test_an_image_survives_save_and_load(user: Session, tmp_path: Path) -> None:
    user.wherry("save", "-o", str(tmp_path / "saved.tar"), "mysql:demo")
    before = user.wherry("images", "-q", "--no-trunc")
    user.wherry("tag", "mysql:demo", "other:name")
    user.wherry("rmi", "other:name")
    user.wherry("load", "-i", str(tmp_path / "saved.tar"))
    assert user.wherry("images", "-q", "--no-trunc") == before


def test_a_saved_machine_resumes_with_its_containers(user: Session) -> None:
    user.wherry("machine", "stop", "--save")
    resumed = json.loads(user.wherry("machine", "start", "--json"))
    assert resumed["resumed"]
    user.wait_for_sql(30)
    assert user.sql("SELECT COUNT(*) FROM boats") == "2"


def test_stop_ends_the_database_cleanly_and_closes_its_port(user: Session) -> None:
    user.wherry("stop", "-t", "60", "db")
    assert user.wherry("wait", "db") == "0"
    user.wherry("rm", "db")
    assert user.wherry("ps", "-a", "--format", "{{.Names}}") == "web"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", DATABASE_PORT), timeout=5).close()
    events = (user.home / "machines" / "default" / "events.jsonl").read_text().splitlines()
    assert "port-closed" in [json.loads(line)["event"] for line in events]


#: What the user's machine is told of names: by a VPN, for example.
NAME_SERVER, HOST_NAMES = "127.0.0.77", "intranet.corp.example. 60 A 192.0.2.77\n"


def test_start_works_after_the_hypervisor_was_killed(user: Session, tmp_path: Path) -> None:
    machine = json.loads(user.wherry("machine", "inspect"))
    # The last seconds before such an end may be lost, as in a power cut; they are not what this is about.
    user.wherry("machine", "ssh", "--", "sync")
    pid = int(
        user.run("pgrep", "-f", rf"^\S*qemu-system\S* .*{user.home}/").stdout.split()[
            0
        ]  # our own VM: by its folder
    )
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while json.loads(user.wherry("machine", "status", "--json", check=False))["state"] != "aborted":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert machine["state"] == "running"
    (tmp_path / "resolv.conf").write_text(f"search corp.example\nnameserver {NAME_SERVER}\n")
    user.start_with_names_of(tmp_path / "resolv.conf")
    assert user.wherry("images", "--format", "{{.Repository}}") == "mysql"
    # What was made before is there again, and what always runs does so, with its ports.
    assert user.wherry("network", "inspect", "-f", "{{.Labels.kept}}", "fleet") == "yes"
    assert user.wherry("volume", "ls", "-q").splitlines() == ["boats"]
    assert user.wherry("ps", "--format", "{{.Names}} {{.Networks}}") == "web fleet"
    wait_until(web_answers)


@pytest.mark.parametrize("network", ["bridge", "fleet", "host"])
def test_names_of_the_host_and_the_host_itself_are_reached_from_any_container(
    user: Session, network: str
) -> None:
    within = ("run", "--rm", "--network", network, "mysql:demo")
    with name_server(NAME_SERVER, HOST_NAMES):
        # Found by the host's search domain only.
        assert user.wherry(*within, "getent", "hosts", "intranet").split()[0] == "192.0.2.77"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ask = f"exec 3<>/dev/tcp/host.docker.internal/{port} && echo hello >&3 && cat <&3"
        thread = threading.Thread(target=_echo_once, args=(server,))
        thread.start()
        assert user.wherry(*within, "bash", "-c", ask) == "hello"
        thread.join(10)


def _echo_once(server: socket.socket) -> None:
    server.settimeout(60)
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100))


def test_a_stopped_machine_says_how_to_start_it(user: Session) -> None:
    user.wherry("machine", "stop")
    assert "wherry machine start" in user.refused("run", "--rm", "mysql:demo", "true")


def test_a_database_survives_a_machine_that_is_made_anew(user: Session) -> None:
    user.wherry("machine", "rm", "--keep-data")
    user.wherry("machine", "init")
    user.wherry("machine", "start")
    user.wherry(
        "run", "-d", "--name", "db", "-p", f"{DATABASE_PORT}:3306", "-v", "boats:/var/lib/mysql",
        "-e", "MARIADB_DATABASE=demo", "-e", "MARIADB_USER=demo", "-e", "MARIADB_PASSWORD=demo",
        "mysql:demo", "mariadb-entrypoint",
    )  # fmt: skip
    user.wait_for_sql()
    assert user.sql("SELECT name FROM boats WHERE oars = 8") == "eight"
    wait_until(web_answers)
    user.wherry("machine", "stop")


def test_rm_leaves_nothing(user: Session) -> None:
    user.wherry("machine", "rm")
    # The lock stays, hidden: removing it would let two commands hold two locks of one name.
    assert [path.name for path in (user.home / "machines").iterdir()] == [".default.lock"]
    assert "wherry machine init" in user.refused("machine", "start")
