"""The resolver at 127.0.0.11: asked from inside the namespaces of attached containers."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest
from networks_rig import Rig, container_id, in_namespace, path_of, port, publish

from wherryd.errors import EngineError
from wherryd.networks.dns import resolvers
from wherryd.networks.sandbox import EndpointWish, Sandbox
from wherryd.networks.service import NetworkService

pytestmark = pytest.mark.root

A, B, C, D = (container_id(number) for number in (1, 2, 3, 4))
SERVER = "127.0.0.11"
#: Where the tests' own upstream servers listen, on this host.
FIRST, SECOND, NOBODY = "127.0.53.1", "127.0.53.2", "127.0.53.9"


def ask(sandbox: Sandbox, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
    """One question from inside the sandbox, answered within two seconds."""
    return dnslib.DNSRecord.parse(
        exchange(sandbox, bytes(dnslib.DNSRecord.question(name, kind).pack()), tcp=tcp)
    )


def exchange(sandbox: Sandbox, query: bytes, *, tcp: bool = False) -> bytes:
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with in_namespace(path_of(sandbox), lambda: socket.socket(socket.AF_INET, kind)) as client:
        client.settimeout(8.0)
        client.connect((SERVER, 53))
        if not tcp:
            client.send(query)
            return client.recv(65535)
        client.sendall(struct.pack("!H", len(query)) + query)
        with client.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            return stream.read(length)


async def asked(sandbox: Sandbox, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
    return await asyncio.to_thread(ask, sandbox, name, kind, tcp=tcp)


async def addresses(sandbox: Sandbox, name: str, *, tcp: bool = False) -> list[str]:
    answer = await asked(sandbox, name, tcp=tcp)
    assert answer.header.rcode == dnslib.RCODE.NOERROR, answer
    return [str(record.rdata) for record in answer.rr]


class Upstream:
    """A name server of this host's own, at one address, over UDP and TCP. Keeps what it was asked."""

    def __init__(self, address: str, answer: Callable[[dnslib.DNSRecord, bool], bytes | None]) -> None:
        self.questions: list[str] = []
        self._answer = answer
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._udp.bind((address, 53))
        self._tcp.bind((address, 53))
        self._tcp.listen(16)
        self._threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _serve_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(65535)
            if data == b"end":
                return
            answer = self._reply(data, tcp=False)
            if answer is not None:
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection, connection.makefile("rb") as stream:
                head = stream.read(2)
                if len(head) < 2:
                    return
                answer = self._reply(stream.read(struct.unpack("!H", head)[0]), tcp=True)
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _reply(self, data: bytes, *, tcp: bool) -> bytes | None:
        query = dnslib.DNSRecord.parse(data)
        self.questions.append(str(query.q.qname).rstrip("."))
        return self._answer(query, tcp)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", self._udp.getsockname())
        socket.create_connection(self._tcp.getsockname()).close()
        for thread in self._threads:
            thread.join(timeout=5)
        self._udp.close()
        self._tcp.close()


def plain(query: dnslib.DNSRecord, tcp: bool) -> bytes:
    """192.0.2.80 for everything, but what begins with "none" does not exist."""
    reply = query.reply()
    if str(query.q.qname).startswith("none"):
        reply.header.rcode = dnslib.RCODE.NXDOMAIN
        soa = dnslib.SOA("ns.example.", "me.example.", (1, 60, 60, 60, 60))
        reply.add_auth(dnslib.RR("example.", dnslib.QTYPE.SOA, 1, 60, soa))
    else:
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.A, 1, 60, dnslib.A("192.0.2.80")))
    return bytes(reply.pack())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream(FIRST, plain)
    yield made
    made.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, number=3)
    yield made
    await made.remove()


@pytest.fixture
async def service(rig: Rig) -> AsyncIterator[NetworkService]:
    opened = rig.service(dns=(FIRST,))
    await opened.open()
    await opened.create({"Name": "own"})
    yield opened
    await opened.close()


async def attach(
    service: NetworkService, identity: str, *networks: str, aliases: tuple[str, ...] = (), **more: Any
) -> Sandbox:
    wishes = [EndpointWish(network=network, aliases=aliases) for network in networks]
    return await service.attach(
        identity,
        mode=networks[0],
        hostname=f"host-{int(identity, 16)}",
        ports=more.pop("ports", {}),
        endpoints=wishes,
        **more,
    )


# Names of the network


async def test_a_container_is_known_by_name_alias_short_id_and_hostname(service: NetworkService) -> None:
    client = await attach(service, "beef" + A[4:], "own", aliases=("me",))
    server = await attach(service, B, "own", aliases=("db", "MySQL"))
    for name in ("name-2", "db", "mysql", B[:12], "host-2", "name-2.own", "DB.OWN", "name-2."):
        assert await addresses(client, name) == [server.ip], name
        assert await addresses(client, name, tcp=True) == [server.ip], name
    # It knows itself, too.
    assert await addresses(client, "me") == [client.ip]


async def test_a_name_that_dns_cannot_carry_does_no_harm(service: NetworkService) -> None:
    """The container's name is longer than the 63 bytes of a label."""
    client = await attach(service, "f" * 64, "own", aliases=("me",))
    reverse = ".".join(reversed(client.ip.split("."))) + ".in-addr.arpa"
    assert (await asked(client, reverse, "PTR")).header.rcode == dnslib.RCODE.NXDOMAIN
    assert await addresses(client, "me") == [client.ip]


async def test_other_types_of_a_known_name_are_empty_and_not_unknown(service: NetworkService) -> None:
    """NXDOMAIN for AAAA would make clients give up on the name as a whole."""
    client = await attach(service, A, "own")
    for kind in ("AAAA", "MX", "TXT"):
        answer = await asked(client, "name-1", kind)
        assert (answer.header.rcode, answer.rr) == (dnslib.RCODE.NOERROR, []), kind


async def test_names_end_at_the_networks_edge(service: NetworkService, upstream: Upstream) -> None:
    await service.create({"Name": "other"})
    client = await attach(service, A, "own")
    await attach(service, B, "other")
    both = await attach(service, C, "own", "other")
    assert await addresses(client, "name-2") == ["192.0.2.80"]  # what upstream says
    assert await addresses(both, "name-2.other") != ["192.0.2.80"]
    assert upstream.questions == ["name-2"]


async def test_an_address_has_the_containers_name(service: NetworkService, upstream: Upstream) -> None:
    client = await attach(service, A, "own")
    server = await attach(service, B, "own")
    reverse = ".".join(reversed(server.ip.split("."))) + ".in-addr.arpa"
    answer = await asked(client, reverse, "PTR")
    assert [str(record.rdata) for record in answer.rr] == ["name-2.own."]
    nobody = "250." + reverse.partition(".")[2]
    assert (await asked(client, nobody, "PTR")).header.rcode == dnslib.RCODE.NXDOMAIN
    assert upstream.questions == []


async def test_an_alias_of_many_gives_all_addresses_in_changing_order(service: NetworkService) -> None:
    client = await attach(service, A, "own")
    servers = [
        await attach(service, container_id(number), "own", aliases=("web",)) for number in range(10, 16)
    ]
    firsts = set()
    for _ in range(40):
        found = await addresses(client, "web")
        assert sorted(found) == sorted(each.ip for each in servers)
        firsts.add(found[0])
    assert len(firsts) > 1


async def test_a_long_answer_is_cut_off_over_udp_and_whole_over_tcp(service: NetworkService) -> None:
    client = await attach(service, A, "own")
    for number in range(10, 50):
        await attach(service, container_id(number), "own", aliases=("web",))
    short = await asked(client, "web")
    assert (short.header.tc, short.rr) == (1, [])
    assert len(await addresses(client, "web", tcp=True)) == 40


async def test_names_follow_connect_and_disconnect(service: NetworkService, upstream: Upstream) -> None:
    client = await attach(service, A, "own")
    server = await attach(service, B, "bridge")
    assert not server.resolver
    connected = await service.connect(B, EndpointWish(network="own", aliases=("late",)))
    assert connected.resolver
    assert await addresses(client, "late") == [connected.on("own").ip]  # type: ignore[union-attr]
    assert await addresses(connected, "name-1") == [client.ip]
    assert not (await service.disconnect(B, "own")).resolver
    assert await addresses(client, "late") == ["192.0.2.80"]


async def test_an_answer_is_repeated_only_while_it_is_true(service: NetworkService) -> None:
    """Each question twice, since the second is answered from what the first one left."""
    client = await attach(service, A, "own")

    async def twice(name: str) -> list[list[str]]:
        return [sorted(await addresses(client, name)) for _ in range(2)]

    first = await attach(service, B, "own", aliases=("web",))
    assert await twice("web") == [[first.ip]] * 2
    second = await attach(service, C, "own", aliases=("web",))
    assert await twice("web") == [sorted([first.ip, second.ip])] * 2
    await service.detach(B)
    assert await twice("web") == [[second.ip]] * 2
    # The same question over another socket has another id, and a different one its own answer.
    query = dnslib.DNSRecord.question("web")
    for identity, name in ((1, "web"), (2, "WEB"), (3, "web")):
        query.header.id, query.q.qname = identity, name
        read = dnslib.DNSRecord.parse(await asyncio.to_thread(exchange, client, bytes(query.pack())))
        assert (read.header.id, str(read.q.qname)) == (identity, f"{name}.")
        assert [str(record.rdata) for record in read.rr] == [second.ip]
    await service.disconnect(C, "own")
    assert (await asked(client, "web")).header.rcode != dnslib.RCODE.NOERROR


async def test_the_resolver_answers_again_after_a_restart(rig: Rig, service: NetworkService) -> None:
    client = await attach(service, A, "own")
    await service.close()
    again = rig.service()
    await again.open()
    try:
        assert await addresses(client, "name-1") == [client.ip]
        assert await addresses(client, "name-1", tcp=True) == [client.ip]
    finally:
        await again.close()


@pytest.mark.parametrize("said", [True, False])
async def test_a_container_may_serve_port_53_itself(service: NetworkService, said: bool) -> None:
    """Where it says so before, and where it took the port before it was connected."""
    if said:
        sandbox = await attach(service, A, "own", serves_port_53=True)
    else:
        sandbox = await attach(service, A, "bridge")

    def server(kind: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.bind(("0.0.0.0", 53))  # noqa: S104
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made

    made = [
        in_namespace(path_of(sandbox), lambda kind=kind: server(kind))
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    ]
    try:
        if not said:
            sandbox = await service.connect(A, EndpointWish(network="own"))
        own = sandbox.on("own")
        assert own is not None
        assert await addresses(sandbox, "name-1") == [own.ip]
        assert await addresses(sandbox, "name-1", tcp=True) == [own.ip]
    finally:
        for each in made:
            each.close()


async def test_a_container_of_the_default_network_has_no_resolver(service: NetworkService) -> None:
    sandbox = await attach(service, A, "bridge")
    with pytest.raises(OSError, match=r"refused|timed out"):
        await asked(sandbox, "name-1")


# Upstream


async def test_what_the_network_does_not_know_is_asked_upstream_and_kept(
    service: NetworkService, upstream: Upstream
) -> None:
    client = await attach(service, A, "own")
    assert await addresses(client, "www.example") == ["192.0.2.80"]
    again = await asked(client, "WWW.example")
    assert [str(record.rdata) for record in again.rr] == ["192.0.2.80"]
    assert 0 < again.rr[0].ttl <= 60
    assert str(again.q.qname) == "WWW.example."
    assert upstream.questions == ["www.example"]
    missing = await asked(client, "none.example")
    assert (missing.header.rcode, missing.rr) == (dnslib.RCODE.NXDOMAIN, [])
    await asked(client, "none.example")
    assert upstream.questions == ["www.example", "none.example"]


async def test_tcp_is_asked_over_tcp_and_cut_off_answers_are_passed_on(
    rig: Rig, service: NetworkService
) -> None:
    ways = []

    def answer(query: dnslib.DNSRecord, tcp: bool) -> bytes:
        ways.append(tcp)
        reply = query.reply()
        if tcp:
            for number in range(60):
                reply.add_answer(
                    dnslib.RR(query.q.qname, dnslib.QTYPE.A, 1, 60, dnslib.A(f"192.0.2.{number}"))
                )
        else:
            reply.header.tc = 1
        return bytes(reply.pack())

    made = Upstream(FIRST, answer)
    try:
        client = await attach(service, A, "own")
        assert (await asked(client, "many.example")).header.tc == 1
        assert len(await addresses(client, "many.example", tcp=True)) == 60
        assert ways == [False, True]
    finally:
        made.close()


async def test_a_server_that_fails_or_is_silent_gives_way_to_the_next(rig: Rig, upstream: Upstream) -> None:
    def fail(query: dnslib.DNSRecord, tcp: bool) -> bytes | None:
        reply = query.reply()
        reply.header.rcode = dnslib.RCODE.SERVFAIL
        return None if str(query.q.qname).startswith("silent") else bytes(reply.pack())

    failing = Upstream(SECOND, fail)
    service = rig.service(dns=(NOBODY, SECOND, FIRST))
    try:
        await service.open()
        await service.create({"Name": "own"})
        client = await attach(service, A, "own")
        assert await addresses(client, "www.example") == ["192.0.2.80"]
        assert failing.questions == ["www.example"]
        assert await addresses(client, "silent.example") == ["192.0.2.80"]
        # Who was silent is asked last for a while.
        assert await addresses(client, "next.example") == ["192.0.2.80"]
        assert failing.questions == ["www.example", "silent.example"]
    finally:
        await service.close()
        failing.close()


async def test_loopback_servers_of_the_user_are_the_containers_own(
    service: NetworkService, upstream: Upstream
) -> None:
    client = await attach(service, A, "own", dns=(FIRST,))
    assert (await asked(client, "www.example")).header.rcode == dnslib.RCODE.SERVFAIL
    inside = in_namespace(path_of(client), lambda: Upstream(FIRST, plain))
    try:
        assert await addresses(client, "www.example") == ["192.0.2.80"]
        assert (upstream.questions, inside.questions) == ([], ["www.example"])
    finally:
        await asyncio.to_thread(in_namespace, path_of(client), inside.close)


async def test_a_foreign_answer_is_not_taken(service: NetworkService) -> None:
    """Another id, or another question: as somebody would send who does not see what was asked."""

    def wrong(query: dnslib.DNSRecord, tcp: bool) -> bytes:
        reply = query.reply()
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.A, 1, 60, dnslib.A("192.0.2.66")))
        if str(query.q.qname).startswith("id"):
            reply.header.id ^= 1
        else:
            reply.q.qname = dnslib.DNSLabel("other.example")
        return bytes(reply.pack())

    made = Upstream(FIRST, wrong)
    try:
        client = await attach(service, A, "own")
        for name in ("id.example", "question.example"):
            assert (await asked(client, name)).header.rcode == dnslib.RCODE.SERVFAIL
    finally:
        made.close()


async def test_a_container_of_internal_networks_asks_nobody_outside(
    service: NetworkService, upstream: Upstream
) -> None:
    await service.create({"Name": "inner", "Internal": True})
    client = await attach(service, A, "inner")
    server = await attach(service, B, "inner")
    assert await addresses(client, "name-2") == [server.ip]
    assert (await asked(client, "www.example")).header.rcode == dnslib.RCODE.SERVFAIL
    assert upstream.questions == []
    connected = await service.connect(A, EndpointWish(network="own"))
    assert await addresses(connected, "www.example") == ["192.0.2.80"]


async def test_the_users_servers_come_before_the_engines(service: NetworkService, upstream: Upstream) -> None:
    def other(query: dnslib.DNSRecord, tcp: bool) -> bytes:
        reply = query.reply()
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.A, 1, 60, dnslib.A("192.0.2.81")))
        return bytes(reply.pack())

    # A name server on the default network, which the engine reaches and another network does not.
    host = await attach(service, D, "bridge")
    server = in_namespace(path_of(host), lambda: Upstream("0.0.0.0", other))  # noqa: S104
    try:
        client = await attach(service, A, "own", dns=(host.ip,))
        assert await addresses(client, "www.example") == ["192.0.2.81"]
        assert upstream.questions == []
    finally:
        await asyncio.to_thread(in_namespace, path_of(host), server.close)


# Malice


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (b"\0\1\x08\0\0\1\0\0\0\0\0\0\3www\0\0\1\0\1", dnslib.RCODE.NOTIMP),  # opcode 1
        (b"\0\1\1\0\0\2\0\0\0\0\0\0\3www\0\0\1\0\1\3www\0\0\1\0\1", dnslib.RCODE.FORMERR),
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\x3fwww", dnslib.RCODE.FORMERR),
        (b"\0\1\1\0\0\0\0\0\0\0\0\0", dnslib.RCODE.FORMERR),
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", dnslib.RCODE.FORMERR),  # a name that points at itself
    ],
)
async def test_a_malformed_question_gets_an_error_and_the_resolver_lives(
    service: NetworkService, query: bytes, rcode: int
) -> None:
    client = await attach(service, A, "own")
    answer = await asyncio.to_thread(exchange, client, query)
    assert answer[:2] == query[:2]
    assert answer[3] & 0xF == rcode
    assert await addresses(client, "name-1") == [client.ip]


async def test_an_answer_sent_to_the_resolver_is_not_answered(service: NetworkService) -> None:
    """Or two resolvers could be made to talk to each other for ever."""
    client = await attach(service, A, "own")
    with in_namespace(path_of(client), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.settimeout(0.3)
        sender.connect((SERVER, 53))
        sender.send(b"\0\1\x81\x80\0\1\0\0\0\0\0\0\3www\0\0\1\0\1")
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(sender.recv, 512)


async def test_detached_containers_leave_no_socket_behind(rig: Rig, service: NetworkService) -> None:
    await attach(service, B, "own")  # with the first one comes the thread that serves all
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        await attach(service, A, "own", ports=publish(port(80)))
        await service.detach(A)
    await service.settle()
    await asyncio.sleep(0.3)
    # Two namespaces are kept ready, with two descriptors each.
    assert len(os.listdir("/proc/self/fd")) <= before + 4  # noqa: PTH208


async def test_a_failing_resolver_fails_the_attach_and_leaves_nothing(
    service: NetworkService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: bool) -> Any:
        raise OSError(13, "no")

    monkeypatch.setattr(resolvers, "_open_sockets", broken)
    with pytest.raises((OSError, EngineError)):
        await attach(service, A, "own", ports=publish(port(80)))
    assert service.sandbox(A) is None
    assert service.inspect("own")["Containers"] == {}
    monkeypatch.undo()
    assert (await attach(service, A, "own")).ip.endswith(".2")
