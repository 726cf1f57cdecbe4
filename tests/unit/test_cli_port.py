"""`wherry port` and the machine's agent."""

from types import SimpleNamespace

import click
import pytest

from wherry.cli import port as module

_PUBLISHED = {
    "80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "8080"}],
    "53/udp": [{"HostIp": "::", "HostPort": "53"}],
}
_TAKEN = "another program on this host listens on port 8080; stop it, or publish another port"


@pytest.mark.parametrize(
    ("machine", "said"),
    [("default", f"wherry: port 8080 of this host is not forwarded: {_TAKEN}\n"), (None, "")],
)
def test_ports_that_the_agent_could_not_have_are_told_beside_dockers_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], machine: str | None, said: str
) -> None:
    answer = {
        "ports": [
            {"port": 8080, "protocol": "tcp", "state": "failed", "reason": _TAKEN},
            {"port": 53, "protocol": "udp", "state": "open", "addresses": ["127.0.0.1", "::1"]},
            {"port": 53, "protocol": "tcp", "state": "failed", "reason": "of another container"},
        ]
    }
    monkeypatch.setattr("wherry.agent.control.ask", lambda *_: answer)
    endpoint = SimpleNamespace(endpoint=SimpleNamespace(machine=machine))
    monkeypatch.setattr(module, "engine", lambda _: endpoint)
    module._warn_of_failed(click.Context(module.port), _PUBLISHED)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_a_port_that_is_forwarded_on_one_loopback_only_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = {"port": 8080, "protocol": "tcp", "state": "open", "addresses": ["127.0.0.1"], "reason": "why"}
    monkeypatch.setattr("wherry.agent.control.ask", lambda *_: {"ports": [port]})
    endpoint = SimpleNamespace(endpoint=SimpleNamespace(machine="default"))
    monkeypatch.setattr(module, "engine", lambda _: endpoint)
    module._warn_of_failed(click.Context(module.port), _PUBLISHED)
    assert capsys.readouterr().err == "wherry: port 8080 of this host is only forwarded on 127.0.0.1: why\n"
