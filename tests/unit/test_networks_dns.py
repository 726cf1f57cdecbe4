"""The resolver's pure parts: messages as bytes, and the cache of answers."""

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.networks.dns import wire
from wherryd.networks.dns.cache import MAX_NEGATIVE_SECONDS, MAX_SECONDS, AnswerCache, lifetime


def query(name: str = "www.example", identity: int = 7) -> bytes:
    asked = dnslib.DNSRecord.question(name)
    asked.header.id = identity
    return bytes(asked.pack())


def answer(
    *ttls: int, name: str = "www.example", rcode: int = 0, soa: tuple[int, int] | None = None
) -> bytes:
    """One A record per TTL. soa: (its TTL, its minimum) in the authority section."""
    reply = dnslib.DNSRecord.question(name).reply()
    reply.header.rcode = rcode
    for number, ttl in enumerate(ttls):
        reply.add_answer(dnslib.RR(name, dnslib.QTYPE.A, 1, ttl, dnslib.A(f"192.0.2.{number}")))
    if soa is not None:
        data = dnslib.SOA("ns.example.", "me.example.", (1, 2, 3, 4, soa[1]))
        reply.add_auth(dnslib.RR("example.", dnslib.QTYPE.SOA, 1, soa[0], data))
    reply.add_ar(dnslib.EDNS0(udp_len=1232))
    return bytes(reply.pack())


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (answer(300, 60), 60),
        (answer(10**6), MAX_SECONDS),
        (answer(0), 0),
        (answer(rcode=3, soa=(300, 20)), 20),
        (answer(rcode=3, soa=(15, 3600)), 15),
        (answer(soa=(9999, 9999)), MAX_NEGATIVE_SECONDS),
        (answer(rcode=3), 0),
        (answer(60, rcode=2), 0),
        (wire.truncated(answer(60)), 0),
    ],
)
def test_an_answer_is_kept_as_long_as_it_says(message: bytes, seconds: int) -> None:
    assert lifetime(message) == seconds


def test_a_kept_answer_has_the_askers_id_and_spelling_and_what_is_left_of_its_time() -> None:
    cache = AnswerCache()
    cache.put("key", answer(60, 90), now=1000.0)
    found = cache.get("key", query("WWW.Example", identity=99), now=1010.5)
    assert found is not None
    read = dnslib.DNSRecord.parse(found)
    assert (read.header.id, str(read.q.qname)) == (99, "WWW.Example.")
    assert [record.ttl for record in read.rr] == [50, 80]
    # The EDNS record has no TTL: its field says something else.
    assert dnslib.DNSRecord.parse(answer(60, 90)).ar[0].ttl == read.ar[0].ttl
    assert cache.get("key", query(), now=1060.0) is None
    assert len(cache) == 0


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for() -> None:
    cache = AnswerCache(max_entries=2)
    for key in ("a", "b"):
        cache.put(key, answer(60), now=0.0)
    cache.get("a", query(), now=1.0)
    cache.put("c", answer(60), now=2.0)
    assert [cache.get(key, query(), now=3.0) is not None for key in "abc"] == [True, False, True]


def test_an_error_carries_id_and_question_back() -> None:
    read = dnslib.DNSRecord.parse(wire.error(query(identity=41), wire.SERVFAIL))
    assert (read.header.id, read.header.qr, read.header.ra, read.header.rcode) == (41, 1, 1, 2)
    assert str(read.q.qname) == "www.example."


@pytest.mark.parametrize("name", ["web", "a.b.own", "x" * 63 + ".own"])
def test_a_question_is_read_and_answered_as_dnslib_does(name: str) -> None:
    asked = dnslib.DNSRecord.question(name, "AAAA")
    asked.add_ar(dnslib.EDNS0(udp_len=1232, flags="do"))
    read = wire.ask(bytes(asked.pack()))
    assert (read.name, read.kind, read.space) == (name, 28, 1)
    assert (read.udp_bytes, read.wants_signatures) == (1232, True)
    answered = dnslib.DNSRecord.parse(wire.answer(bytes(asked.pack()), 28, 10, [b"\xfd" + bytes(15)]))
    assert [(str(each.rname), str(each.rdata), each.ttl) for each in answered.rr] == [
        (f"{name}.", "fd00::", 10)
    ]
    assert (answered.header.ra, answered.header.aa, answered.header.rd) == (1, 0, 1)


def test_a_dot_within_a_label_is_none_between_labels() -> None:
    assert wire.question_name(bytes(12) + b"\3a.b\1c\0" + bytes(4)) == "a\\.b.c"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_a_name_that_dns_cannot_carry_is_malformed(name: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.packed_name(name)


@given(st.binary(max_size=80))
def test_garbage_is_malformed_or_read_and_never_more(data: bytes) -> None:
    for function in (wire.header, wire.question, wire.records, wire.ask, lifetime):
        try:
            function(data)
        except wire.Malformed:
            continue


@given(st.binary(max_size=60))
def test_garbage_behind_a_header_never_hangs(data: bytes) -> None:
    message = b"\0\1\x81\x80\0\1\xff\xff\xff\xff\xff\xff" + data
    with pytest.raises(wire.Malformed):
        wire.records(message)
