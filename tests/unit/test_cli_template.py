# ruff: noqa: S104 - addresses of published ports, as engines report them
"""Go templates against what Docker's client prints for the same data (checked with 28.2.2)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.cli.output import units
from wherry.cli.output.template import Template, TemplateError
from wherry.cli.output.values import Row, structs

CONTAINER: dict[str, Any] = {
    "Id": "0123456789abcdef",
    "Name": "/db",
    "State": {"Status": "running", "Running": True, "Pid": 42, "Error": ""},
    "Config": {"Cmd": ["a", "b"], "Env": None, "Labels": {"a.b-c": "v", "z": "<x>"}, "Entrypoint": None},
    "HostConfig": {
        "Binds": None,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
    },
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9/udp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
}


def render(source: str, data: Any = CONTAINER) -> str:
    return Template.parse(source).render(structs(data) if type(data) is dict else data)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("{{.State.Status}}", "running"),
        ("{{ .State.Pid }}", "42"),
        ("{{.State.Running}}", "true"),
        ("{{json .State}}", '{"Status":"running","Running":true,"Pid":42,"Error":""}'),
        ("{{.Config.Cmd}}", "[a b]"),
        ("{{join .Config.Cmd `,`}}", "a,b"),
        ("{{.Config.Env}} {{len .Config.Env}} {{json .Config.Env}}", "[] 0 null"),
        ("{{.State.Health}}", "<nil>"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ('{{index .Config.Labels "a.b-c"}}|{{index .Config.Labels "no"}}', "v|"),
        ("{{.Config.Labels.z}}|{{.Config.Labels.no}}", "<x>|<no value>"),
        ("{{json .Config.Labels.z}}", '"<x>"'),
        ("{{.HostConfig.RestartPolicy}}", "{no 0}"),
        ("{{.HostConfig.LogConfig}}", "{json-file map[]}"),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 9/udp:[]]"),
        ('{{json (index .NetworkSettings.Ports "9/udp")}} {{json .HostConfig.Binds}}', "null null"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}", "bridge=172.17.0.2"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
        ("{{range $i, $c := .Config.Cmd}}{{if $i}}, {{end}}{{$c}}{{end}}", "a, b"),
        ("{{range .Config.Cmd}}{{.}}{{break}}{{end}}", "a"),
        ('{{range .Config.Cmd}}{{if eq . "a"}}{{continue}}{{end}}{{.}}{{end}}', "b"),
        ("{{range .Config.Env}}x{{else}}empty{{end}}", "empty"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Config.Env}}x{{else}}-{{end}}", "42-"),
        ("{{$x := .Name}}{{with .State}}{{$x}}{{$.Id}}{{end}}", "/db0123456789abcdef"),
        ("{{$n := 0}}{{range .Config.Cmd}}{{$n = .}}{{end}}{{$n}}", "b"),
        ("{{.Name | upper | printf `%5s|`}}", "  /DB|"),
        ('{{printf "%-6s|%q|%d|%05d|%.2f|%v|%t|%x" .Name .Name 7 7 1.5 .Config.Cmd true "az"}}',
         '/db   |"/db"|7|00007|1.50|[a b]|true|617a'),
        ('{{printf "%d" "x"}}{{printf "%s"}}', "%!d(string=x)%!s(MISSING)"),
        ("{{title `hello big world`}} {{lower `AbC`}}", "Hello Big World abc"),
        ("{{slice .Id 0 4}} {{slice .Config.Cmd 1}}", "0123 [b]"),
        ('{{split "a,b" ","}}', "[a b]"),
        ("{{pad .Name 1 2}}|{{pad .State.Error 1 2}}|{{truncate .Id 3}}", " /db  ||012"),
        ("{{print .Name 1 2 `x`}}{{println .State.Pid true}}", "/db1 2x42 true\n"),
        ("{{not .State.Running}} {{and .State.Running 1}} {{or .State.Error `d`}}", "false 1 d"),
        ("{{and .State.Error .Nope}}", ""),  # and does not look further than the first false value
        ("{{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}}", "true true true"),
        ("{{le 2 2}} {{gt `b` `a`}} {{ge 1 2}}", "true true false"),
        ("a {{- .State.Pid -}} b", "a42b"),
        ("a{{/* comment */}}b {{- /* trims */ -}} c", "abc"),
        ("{{if .State.Error}}1{{else if .State.Running}}2{{else}}3{{end}}", "2"),
        ("{{true}} {{false}} {{1.5}} {{0x10}} {{'a'}} {{`raw\\n`}}", "true false 1.5 16 97 raw\\n"),
        ("{{html `<a>`}} {{urlquery `a b&c`}}", "&lt;a&gt; a+b%26c"),
        ("{{1e21}} {{1e6}}", "1e+21 1000000"),
    ],
)  # fmt: skip
def test_template_prints_what_go_prints(source: str, expected: str) -> None:
    assert render(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Foo}}", 'template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
        ("x\n {{.Foo}}", 'template: :2:3: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Health.Status}}", "nil pointer evaluating"),
        ("{{.Name.X}}", "can't evaluate field X"),
        ("{{nope}}", 'template: :1: function "nope" not defined'),
        ("{{.State.Pid", "template: :1: unclosed action"),
        ("{{if .Name}}x", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{break}}", "outside {{range}}"),
        ("{{if 1}}{{define `a`}}{{end}}{{end}}", "unexpected {{define}}"),
        ("{{template 5}}", "in template clause"),
        ("{{template `a`}}", 'template "a" not defined'),
        ("{{define `a`}}{{template `a`}}{{end}}{{template `a`}}", "exceeded maximum template depth"),
        ("{{define `a`}}x", "unexpected EOF"),
        ("{{index .Config.Cmd 5}}", "index out of range: 5"),
        ("{{index .Config.Cmd `a`}}", "cannot index slice/array with type string"),
        ("{{len 3}}", "len of type int"),
        ("{{range .Name}}{{end}}", "range can't iterate over /db"),
        ("{{lt 1 `a`}}", "incompatible types for comparison"),
        ("{{.Name 1}}", "Name is not a method but has arguments"),
        ("{{1 | 2}}", "non executable command in pipeline: 2"),
        ("{{lower 1}}", "expected string; got int"),
        ("{{lower}}", "wrong number of args for lower: want 1 got 0"),
        ("{{.Name }", "unexpected '}' in action"),
        ("{{(.Name}}", "unexpected '}}'"),
    ],
)
def test_bad_template_says_where_and_what(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert message in str(caught.value)


def test_rows_have_methods_and_sorted_escaped_json() -> None:
    row = Row({"Names": "<b>", "ID": "1"}, {"Label": {"x": "y"}.get})
    assert render('{{.Label "x"}} {{.Names}}', row) == "y <b>"
    assert render("{{json .}}", row) == '{"ID":"1","Names":"\\u003cb\\u003e"}'
    with pytest.raises(TemplateError, match="can't evaluate field Foo"):
        render("{{.Foo}}", row)


def test_a_network_may_be_called_like_a_field() -> None:
    data = {"NetworkSettings": {"Networks": {"Labels": {"IPAddress": "1.2.3.4", "Aliases": None}}}}
    assert render("{{.NetworkSettings.Networks.Labels}}", data) == "{1.2.3.4 []}"


@settings(deadline=None)
@given(st.text(alphabet="{}.-|()$=:,\"`'\\ \nabifrangeendls019/*", max_size=60))
def test_any_text_prints_or_is_a_template_error(source: str) -> None:
    try:
        printed = Template.parse(source).render({"a": {"b": "x"}})
    except TemplateError:
        printed = None
    assert "{{" in source or printed == source


def test_structs_print_the_fields_that_engines_leave_out() -> None:
    state = {"Status": "running", "Running": True, "Pid": 7, "StartedAt": "2026-01-02T03:04:05Z"}
    health = {"Test": ["CMD", "x"], "Interval": 90 * 10**9}
    held = structs({"State": state, "Config": {"Hostname": "h", "Healthcheck": health}, "Id": "abc"})
    for form, shown in (
        ("{{.State}}", "{running true false false false false 7 0  2026-01-02T03:04:05Z  <nil>}"),
        ("{{.Config.Healthcheck}}", "{[CMD x] 1m30s 0s 0s 0s 0}"),
        ("{{json .Config.Healthcheck}}", '{"Test":["CMD","x"],"Interval":90000000000}'),
        ("{{json .State}}", json.dumps(state, separators=(",", ":"))),
        ("{{.Config.StopTimeout}} {{.Config.Env}} {{.ID}}", "<nil> [] abc"),
    ):
        assert Template.parse(form).render(held) == shown
    created = "2026-01-02T03:04:05Z"
    network = structs({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}, "Created": created})
    form = "{{.Peers}} {{.IPAM.Config}} {{.Created}} {{json .Created}}"
    shown = '[] [{10.0.0.0/24   map[]}] 2026-01-02 03:04:05 +0000 UTC "2026-01-02T03:04:05Z"'
    assert Template.parse(form).render(network) == shown
    volume = structs({"Mountpoint": "/x"})
    assert Template.parse("{{.Status}} {{.ClusterVolume}}").render(volume) == "map[] <nil>"


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (1_500_000, "1.5ms"), (10**9, "1s"), (1_500_000_000, "1.5s"),
        (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (-5 * 10**9, "-5s"), (999_999_999, "999.999999ms"),
    ],
)  # fmt: skip
def test_durations_print_as_go_prints_them(nanoseconds: int, shown: str) -> None:
    assert units.go_duration(nanoseconds) == shown
