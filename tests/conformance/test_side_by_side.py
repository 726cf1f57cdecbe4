"""`alias docker=wherry`: wrong command lines, and templates over whole objects, as docker's client has them.

Other commands: tests/guest/test_cli_engine_docker.py. What may differ is named in `_comparable`.
"""

import re
import shlex
from collections.abc import Iterator

import pytest
from cli_rig import Clients, Shown
from native_engine import IMAGE, NativeEngine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

#: Wherry's own addition to a message: the next step, after docker's words.
_NEXT_STEP = re.compile(r"; [^\n]*$", re.MULTILINE)
_GUESS = re.compile(r" \(did you mean [^)]*\)")
_AGES = re.compile(r"Less than a second|About a minute|\d+ (seconds?|minutes?)")
#: docker 28.2 has its footers in three spellings, one of them with a slip.
_FOOTER = re.compile(r"^(See|S?Run) '", re.MULTILINE)
_TYPE = re.compile(r" in type \S+")

#: What docker 28.2 says last after network rm, by a slip.
_STATUS = re.compile(r"^exit status 1\n", re.MULTILINE)


def _comparable(shown: Shown) -> Shown:
    out = re.sub(r" {2,}", "  ", _AGES.sub("N", shown.out.replace("docker", "wherry")))
    err = shown.err.replace("docker", "wherry")
    for pattern, instead in ((_GUESS, ""), (_NEXT_STEP, ""), (_FOOTER, "Run '"), (_TYPE, ""), (_STATUS, "")):
        err = pattern.sub(instead, err)
    return Shown(shown.status, out, err.strip())


@pytest.fixture
def clients(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Clients]:
    made = Clients(engine, monkeypatch, capfd)
    made.ok(
        "run", "-d", "--name", "one", "-l", "a.b=c", "-p", "127.0.0.1::80", "-v", "kept:/kept", IMAGE,
        "sleep", "300",
    )  # fmt: skip
    made.wherry("run", "--name", "two", IMAGE, "sh", "-c", "exit 3")
    made.ok("create", "--name", "three", "--health-cmd", "true", "-e", "A=b", IMAGE, "sleep", "1")
    made.ok("network", "create", "--label", "n=1", "back")
    made.ok("volume", "create", "--label", "v=1", "data")
    yield made
    engine.docker("rm", "-fv", "one", "two", "three")
    engine.docker("volume", "prune", "-af")


#: Words after the command, one command a line; read as a shell reads them.
COMMANDS = r"""
foo
-z
--foo
container foo
container --foo
help foo
image -z
attach one two
attach -x one
attach two
commit a b c
container top
create
diff
events --filter foo
events --since foo
events --since 1h --until 0s --format "{{"
exec one
exec nope true
exec two true
images x y
images --filter bad
images --format raw -q
images --format "table {{.ID}}" -q
images --format "{{.ID | upper | printf \"%s!\"}}"
info --format "{{.Plugins}} {{.Warnings}} {{.Swarm}} {{.DefaultAddressPools}}"
inspect
inspect nope nada one -f "{{.Name}}"
inspect -f "{{.Nope}}" one
inspect -f "{{.State.Nope}}" one
inspect -f "{{" one
inspect -f "{{.State}}" one two three
inspect -f "{{.Config}}" one
inspect -f "{{.Config.Healthcheck}} {{.State.Health}}" three
inspect -f "{{.NetworkSettings.Ports}} {{.Mounts}} {{.GraphDriver}}" one
inspect -f "{{.}}" back
inspect -f "{{.}}" bridge
inspect -f "{{.}}" data
inspect -f "{{.ID}}" one
inspect -f "{{index .Config.Labels \"a.b\"}}{{index .Config.Labels \"nope\"}}{{.Config.Labels.nope}}" one
inspect -f "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}" one
inspect -f "{{range .Config.Env}}{{println .}}{{end}}" three
inspect -f "{{join .Config.Cmd \",\"}} {{split .Name \"/\"}} {{lower .Name | upper | title}}" one
inspect -f "{{pad .Name 2 3}}|{{truncate .Id 5}} {{slice .Id 2 5}} {{len .Config.Env}} {{len .Name}}" one
inspect -f "{{if eq .State.ExitCode 3}}three{{else if eq .State.ExitCode 0}}zero{{else}}other{{end}}" two
inspect -f "{{if and .State.Running (ne .Name \"x\")}}y{{else}}n{{end}}" one
inspect -f "{{lt 1 2}} {{gt 2 1}} {{le 1 1}} {{ge 0 1}} {{eq 1 2 1}} {{not .State.Running}}" one
inspect -f "{{with .State.Health}}{{.Status}}{{else}}none{{end}}" one
inspect -f "{{printf \"%q %t %5.2f %x\" .Name true 1.5 255}}" two
inspect -f "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostIp}}" one
inspect -f "{{html .Name}} {{js .Name}} {{urlquery .Name}}" one
inspect -f "{{nope .Name}}" one
inspect -f "{{end}}" one
inspect -f "{{json .State}} {{json .Config.Entrypoint}} {{json .Config.OnBuild}}" three
inspect -f "{{.IPAM.Config}} {{.ConfigFrom}} {{.Peers}} {{.Created}}" back
inspect -f "{{.Status}} {{.UsageData}} {{.ClusterVolume}}" data
kill
kill two
login a b
logout a b
logs a b
logs --since foo one
logs --tail 1 nope
network create a b
network create bridge
network create back
network connect a
network inspect
network rm -f nope
network ls -q --format "{{.Name}}"
network ls --format raw -q
port
ps x
ps -n foo
ps -z
ps --nope
ps --all=foo
ps -a --filter foo
ps -a --filter foo=bar
ps -a --filter status=foo
ps -a --filter before=nope
ps -a --format raw -q
ps -a --format "{{.Names}} {{.Platform}}"
ps -a --format "{{range split .Names \",\"}}[{{.}}]{{end}}"
ps -a --format "{{if eq .State \"running\"}}R{{else}}-{{end}}{{.Names}}"
ps -a --format "{{.Nope}}"
pull
push
rename one
rename one two
restart -t foo one
rm
rm one
rmi
run
run --nope x
run --name two busybox:test true
run --rm --restart always busybox:test true
run --rm --network nope busybox:test true
run --rm --memory foo busybox:test true
run --rm --cpus foo busybox:test true
run --rm --shm-size foo busybox:test true
run --rm --health-interval foo busybox:test true
run --rm --ulimit foo busybox:test true
run --rm --add-host foo busybox:test true
run --rm --mount foo busybox:test true
run --rm --cidfile /etc/passwd busybox:test true
run --rm --entrypoint "" busybox:test
run --rm -u nouser busybox:test true
run --rm busybox:test nosuch
run --rm busybox:test /etc
run --rm -it busybox:test true
run --rm -p foo busybox:test true
run --rm --pull never nope:1 true
run --rm --hostname "bad host" busybox:test true
save
start
start -a one two
stop -t foo two
stop nope nada
system df --format raw
tag
tag nope x
top
top two
update one
update --memory foo one
update nope --memory 1g
volume create a b
volume inspect
volume ls -q --format "{{.Driver}}"
volume ls --format raw -q
volume rm
wait
commit nope
commit --change foo one
container inspect -s -f "{{.SizeRootFs}}" three
context create default
context inspect
context rm default
context rm nope
cp
cp nope:/x /nope
cp one:/nope /nope
cp - -
create --dns foo busybox:test
create -d busybox:test
events --since 0s --until 0s --format json
exec -it one true
exec -u nope one true
exec -w /nope one true
exec one /etc
exec one nope
export nope
history busybox:test
history --no-trunc --format json busybox:test
image inspect nope
images --digests
images --no-trunc -q
images -a --filter reference=busy*
import /nope
inspect --type foo one
inspect --type= one
inspect --type node one
inspect --type image one
kill -s foo one
load -i /nope
logout nope
logs two
network rm nope
port nope
port one 81
ps -a --format json --filter name=one
ps -a --format "{{json .}}" --filter name=one
ps -a --format "table {{.Names}}\t{{.Platform}}"
ps -aq --no-trunc
ps -l
pull NOPE
pull a:b:c
push NOPE
restart nope
rm -f nope
rmi -f nope
rmi nope
run -d -a stdout busybox:test
run B
run a:b:c
run --rm --cap-add foo busybox:test true
run --rm --cgroupns foo busybox:test true
run --rm --device foo busybox:test true
run --rm --device-read-bps foo busybox:test true
run --rm --device-read-bps /dev/sda:x busybox:test true
run --rm --device-read-iops /dev/sda:x busybox:test true
run --rm --dns foo busybox:test true
run --rm --dns-search "a b" busybox:test true
run --rm -e = busybox:test true
run --rm --env-file /nope busybox:test true
run --rm --expose foo busybox:test true
run --rm --gpus foo busybox:test true
run --rm --label-file /nope busybox:test true
run --rm --link foo busybox:test true
run --rm --mac-address foo busybox:test true
run --rm --pid foo busybox:test true
run --rm --restart foo busybox:test true
run --rm --runtime nope busybox:test true
run --rm --security-opt foo busybox:test true
run --rm --stop-timeout foo busybox:test true
run --rm --storage-opt foo busybox:test true
run --rm --sysctl foo busybox:test true
run --rm --userns foo busybox:test true
run --rm --uts foo busybox:test true
run --rm -w foo busybox:test true
search --limit 500 x
stats --no-stream nope
system info --format "{{.Driver}}"
system prune --filter foo -f
tag busybox:test A
tag busybox:test
top one -o pid
update --restart foo one
update --cpus 1 nope
version --format "{{.Server.APIVersion}}"
volume create -o foo
volume inspect nope
volume rm nope
--context nope --host unix:///x ps
"""


def test_wrong_lines_and_templates_show_the_same(clients: Clients) -> None:
    different = []
    for line in COMMANDS.strip().splitlines():
        words = shlex.split(line)
        theirs, ours = clients.docker(*words), clients.wherry(*words)
        if _comparable(theirs) != _comparable(ours):
            different.append((line, _comparable(theirs), _comparable(ours)))
    assert not different, "\n".join(map(str, different))


GROUPS = ("", "container", "context", "image", "network", "system", "volume")


def test_groups_tell_of_themselves_as_docker_does(clients: Clients) -> None:
    """Unasked for: on stderr, and no failure."""
    for group in GROUPS:
        for asked in ([], ["--help"]):
            words = [*group.split(), *asked]
            theirs, ours = clients.docker(*words), clients.wherry(*words)
            assert ours.status == theirs.status == 0, words
            assert (bool(ours.out), bool(ours.err)) == (bool(theirs.out), bool(theirs.err)), words
            head, last = _ends(theirs.out or theirs.err)
            assert _ends(ours.out or ours.err) == (head, last), words


def _ends(text: str) -> tuple[str, str]:
    """The first line, and the last that says anything."""
    lines = [line for line in text.replace("docker", "wherry").splitlines() if "https://" not in line]
    return lines[0], next(line for line in reversed(lines) if line)
