"""Go templates: every function and action that docker's client knows, run by it and by ours on one container.

Both must print the same, or both refuse with the same status and in Go's words, but for the names of Go's
types and for where an argument of the wrong type stands, which docker tells by its own structs.
"""

import re
import shlex
from collections.abc import Iterator

import pytest
from cli_rig import Clients
from native_engine import IMAGE, NativeEngine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

#: Templates over a container, one a line.
INSPECT = r"""
{{json .Config.Labels}}
{{json .Config.Env}} {{json .State.Running}} {{json .State.ExitCode}} {{json .Name}}
{{json .HostConfig.RestartPolicy}}
{{json .NetworkSettings.Networks.nope}}
{{.Config.Labels | json}}
{{json}}
{{json .Name .Name}}
{{json "<a&b>"}} {{json 1.5}} {{json true}} {{json nil}}
{{join .Config.Cmd ","}}
{{join .Config.Entrypoint ","}}
{{join .Config.Labels ","}}
{{join .Name ","}}
{{join .Config.Cmd 1}}
{{.Config.Env | len}}
{{split .Config.Image ":"}}
{{index (split .Config.Image ":") 1}}
{{split "abc" ""}}
{{split "a,b" "-"}}
{{split 5 ","}}
{{lower "ÄbC"}} {{upper "äbß"}} {{title "ab cd-ef gh'i"}}
{{lower .State.ExitCode}}
{{upper}}
{{title .State.Status}}
{{pad "x" 2 3}}|{{pad "" 2 3}}|{{pad .State.Status 0 1}}|
{{pad "x"}}
{{truncate "abcdef" 3}} {{truncate "ab" 3}} {{truncate "äöü" 2}}
{{truncate 5 3}}
{{len .Name}} {{len .Config.Env}} {{len .Config.Labels}} {{len "ä"}}
{{len 5}}
{{len .State}}
{{len nil}}
{{index .Config.Labels "a.b"}} {{index .Config.Env 0}} {{index "abc" 1}}
{{index .Config.Env 99}}
{{index .Config.Env "x"}}
{{index .Config.Labels 1}}
{{index .Config.Labels "nope"}}|
{{index .NetworkSettings.Networks "bridge" "IPAMConfig"}}
{{index 5 1}}
{{index nil 1}}
{{index .Config.Env -1}}
{{(index .NetworkSettings.Networks "bridge").NetworkID | len}}
{{slice "abcdef" 1}} {{slice "abcdef" 1 3}} {{slice "abcdef"}} {{slice .Config.Env 0 1}}
{{slice "abc" 5}}
{{slice "abc" 2 1}}
{{slice "abc" 0 1 2}}
{{print 1 2 "a" "b" 3}} {{print "a" 1 true nil}}
{{print}}|{{println}}|{{println 1 "a" .Name}}
{{printf "%s %d %v %q" .Name 5 .Config.Env "a\"b"}}
{{printf "%5s|%-5s|%05d|%+d|% d|%x|%X|%o|%b|%c" "a" "b" 42 42 42 255 255 8 5 65}}
{{printf "%.2f %8.3f %e %g %t %%" 3.14159 2.5 1234.5 0.1 true}}
{{printf "%s" 5}} {{printf "%d" "x"}} {{printf "%t" 1}} {{printf "%z" 1}}
{{printf "%s"}} {{printf "%d %d" 1}} {{printf "x" 1}}
{{printf "%v %v %v" true 1.5 nil}} {{printf "%T %T %T" "a" 1 1.5}}
{{printf "%*d" 5 42}}
{{printf "%[2]s %[1]s" "a" "b"}}
{{printf "%#v" "a"}} {{printf "%#x" 255}} {{printf "%+v" .Config.Labels}}
{{printf "%10.3s|" "abcdef"}} {{printf "%6.2f|" 3.14159}} {{printf "%-8q|" "a"}}
{{printf "%U" 65}} {{printf "%q" 65}} {{printf "% x" "abc"}} {{printf "%x" "abc"}}
{{printf}}
{{printf 5}}
{{html "<a href='x'>&\"</a>"}} {{js "a'b\"<c>&=\n"}} {{urlquery "a b&c=d/ä"}}
{{"<&>" | html}} {{html 1 "<" 2}}
{{not true}} {{not 0}} {{not ""}} {{not .Config.Labels}} {{not nil}}
{{and true 0}} {{and 1 "a"}} {{or 0 ""}} {{or 0 "x" 1}} {{and}}
{{and 0 (index .Config.Env 99)}} {{or 1 (index .Config.Env 99)}}
{{eq 1 1}} {{eq 1 2 3 1}} {{eq "a" "a"}} {{eq true false}} {{ne 1 2}} {{eq 1.5 1.5}}
{{eq 1 "a"}}
{{eq 1 1.0}}
{{eq 1}}
{{eq .Config.Env .Config.Env}}
{{eq .Name "/one"}} {{ne .State.Status "running"}} {{eq .State.ExitCode 0}}
{{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1.5 2.5}}
{{lt 1 "a"}}
{{lt true false}}
{{lt 1}}
{{if .State.Running}}yes{{else}}no{{end}}
{{if and .State.Running (eq .State.ExitCode 0)}}yes{{else if .State.Paused}}p{{else}}no{{end}}
{{if .Config.Labels.nope}}a{{else if eq 1 1}}b{{else}}c{{end}}
{{if not .State.Dead}}alive{{end}}
{{if}}x{{end}}
{{if true}}x
{{else}}x{{end}}
{{range .Config.Env}}<{{.}}>{{end}}
{{range $i, $e := .Config.Cmd}}{{$i}}:{{$e}};{{end}}
{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}
{{range $v := .Config.Cmd}}{{$v}} {{$.Name}};{{end}}
{{range .Config.Volumes}}{{.}}{{else}}none{{end}}
{{range .Config.Cmd}}{{if eq . "300"}}{{break}}{{end}}{{.}}{{end}}
{{range .Config.Cmd}}{{if eq . "sleep"}}{{continue}}{{end}}{{.}}{{end}}
{{range 3}}{{.}}{{end}}
{{range $i := 3}}{{$i}}{{end}}
{{range .Name}}{{.}}{{end}}
{{range nil}}x{{else}}y{{end}}
{{range .State}}x{{end}}
{{break}}
{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}
{{range $p, $c := .NetworkSettings.Ports}}{{$p}}->{{range $c}}{{.HostIp}} {{end}}{{end}}
{{with .Config}}{{.Image}} {{$.Name}}{{end}}
{{with .Config.Labels.nope}}x{{else}}none{{end}}
{{with $x := .Name}}{{$x}}{{.}}{{end}}
{{with 0}}a{{else with 5}}{{.}}{{else}}b{{end}}
{{$x := 5}}{{$x}} {{$x = 6}}{{$x}}
{{$x}}
{{$x := .Config.Env}}{{len $x}} {{index $x 0}}
{{$n := 0}}{{range .Config.Cmd}}{{$n = len .}}{{end}}{{$n}}
{{define "t"}}[{{.}}]{{end}}{{template "t" .Name}}{{template "t" 5}}
{{template "nope"}}
{{block "b" .Name}}<{{.}}>{{end}}
{{/* a comment */}}{{.Name}}
{{- .Name -}} x
a {{- "b" -}} c  {{ "d" }}
{{"quo\"ted"}} {{`raw\n`}} {{'a'}} {{'\n'}}
{{1}} {{-1}} {{1.5}} {{0x1F}} {{0o17}} {{0b11}} {{1_000}} {{1e3}} {{true}}
{{nil}}
{{.Name | printf "%s-%s" "a"}} {{.Name | lower | upper | printf "%q"}}
{{.State.Status | title | pad 1}}
{{(.State).Status}} {{(print "a" "b" | upper)}} {{len (split "a,b,c" ",")}}
{{.Name.Foo}}
{{.nope}}
{{.State.nope}}
{{.State.Status.nope}}
{{.Config.Labels.nope}}|{{.Config.Labels.nope.x}}
{{nope}}
{{.Name | nope}}
{{.Name
{{.Name}}}
{{}}
{{"a}}
{{.Name "x"}}
{{5 .Name}}
{{.Config.Env.x}}
{{.HostConfig.NanoCpus}}
{{.HostConfig.Memory}} {{.HostConfig.PortBindings}} {{.HostConfig.LogConfig}}
{{.HostConfig.RestartPolicy}} {{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{.HostConfig.Privileged}}
{{.Config.ExposedPorts}} {{.Config.Labels}} {{.Config.Env}} {{.Config.Tty}} {{.Config.User}}|
{{.Path}} {{.Args}} {{.RestartCount}} {{.Driver}} {{.Platform}} {{.AppArmorProfile}}|
{{len .Id}} {{slice .Id 0 0}}| {{len .Image}} {{.Created | len}}
{{.SizeRw}}
"""

#: Over rows: ps, images, volume ls, network ls; table forms as well.
ROWS = r"""
ps -a --format "table {{.Names}}\t{{.Image}}"
ps -a --format "table {{.Names | upper}}\t{{.State}}"
ps -a --format "table {{lower .Names}} x {{.Command}}"
ps -a --format "table"
ps -a --format "table {{.Label \"a.b\"}}\t{{.Names}}"
ps -a --format "table {{json .Names}}\t{{title .State}}\t{{len .Names}}"
ps -a --format "table {{printf \"%q\" .Names}}"
ps -a --format "table {{truncate .ID 4}}\t{{pad .Names 1 1}}|"
ps -a --format "table {{join (split .Names \",\") \"/\"}}\t{{index (split .Image \":\") 0}}"
ps -a --format "table {{if .Ports}}{{.Ports}}{{else}}-{{end}}\t{{.Names}}"
ps -a --format "{{.Names}}\t{{.Mounts}}\t{{.Networks}}\t{{.LocalVolumes}}"
ps -a --format "{{.Names}}: {{.Label \"a.b\"}}{{.Label \"nope\"}}"
ps -a --format "{{.Labels}} {{.ID | len}} {{.Command}}"
ps -a --format "{{println .Names .State}}"
ps -a --format "{{upper .Names}} {{title .State}} {{.Names | printf \"%-6s|\"}}"
ps -a --format "{{with .Label \"a.b\"}}{{.}}{{else}}none{{end}}"
ps -a --format "{{$n := .Names}}{{range split .Image \":\"}}{{$n}}={{.}} {{end}}"
ps -a --format "{{eq .State \"running\"}} {{and .Names .Ports}} {{or .Ports \"no\"}} {{not .Ports}}"
ps -a --format "{{html .Command}} {{js .Command}} {{urlquery .Image}}"
ps -a --format "x{{/* c */}}y"
ps -a --format ""
ps -a --format "plain"
ps -a --no-trunc --format "{{.Command}}"
images --format "table {{.Repository}}:{{.Tag}}"
images --format "{{.Repository}}/{{.Tag}} {{.Digest}} {{len .ID}}"
images --format "table {{.Repository | upper}}\t{{.Digest}}"
network ls --format "table {{.Name}}\t{{.Driver}}\t{{.Scope}}\t{{.IPv6}}\t{{.Internal}}"
network ls --format "{{.Name}} {{.Labels}} {{.Label \"n\"}}"
volume ls --format "table {{.Name}}\t{{.Driver}}\t{{.Scope}}"
volume ls --format "{{.Name}} {{.Label \"v\"}} {{.Labels}} {{.Availability}} {{.Group}}"
volume ls --format "{{.Links}} {{.Size}} {{.Status}}"
history --format "table {{.CreatedBy}}\t{{.Size}}" busybox:test
history --format "{{.Comment}} {{.Size}} {{len .ID}}" busybox:test
stats --no-stream --format "{{.Name}} {{.Container}} {{len .ID}}" one
stats --no-stream --format "table {{.Name}}\t{{.Container}}" one
system df --format "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}"
system df --format "{{.Type}}"
version --format "{{.Server.Os}}/{{.Server.Arch}} {{len .Server.Components}} {{.Server.APIVersion}}"
info --format "{{.Driver}} {{.OSType}} {{len .SecurityOptions}} {{.Plugins.Log | len}}"
info --format "{{range .Plugins.Network}}{{.}} {{end}}"
info --format "{{json .Swarm.LocalNodeState}} {{.CgroupDriver | upper}}"
context inspect --format "{{.Name}} {{json .TLSMaterial}}"
network inspect -f "{{.Name}} {{.Driver}} {{json .Options}} {{range .IPAM.Config}}{{len .Subnet}}{{end}}" back
volume inspect -f "{{.Name}} {{.Driver}} {{json .Labels}} {{.Scope}} {{.Options}}" data
image inspect -f "{{.Os}} {{.Architecture}} {{len .RootFS.Layers}} {{.RootFS.Type}}" busybox:test
image inspect -f "{{json .Config.Cmd}}" busybox:test
image inspect -f "{{index .RepoTags 0}} {{.RepoDigests}} {{.Parent}}|{{.Author}}|{{len .Id}}" busybox:test
"""


@pytest.fixture
def clients(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Clients]:
    made = Clients(engine, monkeypatch, capfd)
    made.ok(
        "run", "-d", "--name", "one", "-l", "a.b=c", "-l", "d=<e>", "-p", "127.0.0.1::80", "-v", "kept:/kept",
        "-e", "A=b", IMAGE, "sleep", "300",
    )  # fmt: skip
    made.ok("create", "--name", "two", IMAGE, "sh", "-c", "exit 3")
    made.ok("network", "create", "--label", "n=1", "back")
    made.ok("volume", "create", "--label", "v=1", "data")
    yield made
    engine.docker("rm", "-fv", "one", "two")
    engine.docker("network", "rm", "back")
    engine.docker("volume", "prune", "-af")


#: Of a wrong type: place and name of the argument, and Go's name of its type.
_GO_TYPES = re.compile(
    r':\d+:\d+: executing "\w*" at <[^\n]*>: [^\n]*(expected (\[\])?string|in type )[^\n]*'
)


def _said(text: str) -> str:
    return _GO_TYPES.sub(": wrong type", text.replace("docker", "wherry")).strip()


def different(clients: Clients, commands: list[list[str]]) -> list[str]:
    """What does not show the same, a paragraph each."""
    found = []
    for words in commands:
        theirs, ours = clients.docker(*words), clients.wherry(*words)
        if (theirs.status, theirs.out, _said(theirs.err)) != (ours.status, ours.out, _said(ours.err)):
            found.append(f"{words}\n  docker {theirs}\n  wherry {ours}")
    return found


def test_every_function_and_action_prints_what_go_prints(clients: Clients) -> None:
    lines = [["inspect", "-f", line, "one"] for line in INSPECT.strip().splitlines()]
    assert not (found := different(clients, lines)), "\n".join(found)


def test_rows_and_tables_print_what_go_prints(clients: Clients) -> None:
    lines = [[word.replace("\\t", "\t") for word in shlex.split(line)] for line in ROWS.strip().splitlines()]
    assert not (found := different(clients, lines)), "\n".join(found)
