"""The netlink encoder against bytes written down by hand, and the parsers against the encoder."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.errors import KernelFault
from wherryd.networks import links, netlink
from wherryd.networks.netlink import Message, Netlink


def test_an_attribute_is_padded_to_four_bytes_and_its_length_is_not() -> None:
    # struct nlattr: length 9 = 4 + "eth0" + NUL, type 3; three bytes of padding.
    assert netlink.text(3, "eth0") == bytes.fromhex("09 00 03 00 65 74 68 30 00 00 00 00")


def test_a_link_message_is_as_the_kernel_reads_it() -> None:
    # struct ifinfomsg: family, pad, type, index, flags, change.
    body = netlink.link_body(index=7, flags=links.IFF_UP, change=links.IFF_UP)
    assert body == bytes.fromhex("00 00 0000 07000000 01000000 01000000")


def test_nested_attributes_carry_the_flag_and_are_found_again() -> None:
    inner = netlink.text(1, "veth")
    encoded = netlink.nested(18, inner)
    assert encoded[2:4] == bytes.fromhex("12 80")
    assert netlink.parse_attributes(encoded) == {18: inner}


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_they_were(wanted: dict[int, bytes]) -> None:
    encoded = b"".join(netlink.attribute(kind, payload) for kind, payload in wanted.items())
    assert netlink.parse_attributes(encoded) == wanted


@given(st.binary(max_size=60))
def test_garbage_ends_the_walk_and_never_hangs(data: bytes) -> None:
    netlink.parse_attributes(data)


def test_an_address_request_has_local_broadcast_and_prefix() -> None:
    message = links.add_address_message(3, ipaddress.IPv4Interface("192.0.2.9/24"), "eth0")
    index, prefix_length, attributes = netlink.parse_address(message.body)
    assert (index, prefix_length) == (3, 24)
    assert attributes[links.IFA_LOCAL] == bytes([192, 0, 2, 9])
    assert attributes[links.IFA_BROADCAST] == bytes([192, 0, 2, 255])


@pytest.mark.parametrize("wrong", ["", "02:42", "zz:42:ac:11:00:02", "02:42:ac:11:00:02:03"])
def test_a_mac_of_another_shape_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"bytes|hexadecimal"):
        links.pack_mac(wrong)


# Against the kernel; asking needs no rights.


def test_the_kernel_lists_loopback() -> None:
    with Netlink() as nl:
        (loopback,) = [link for link in links.all_links(nl) if link.name == "lo"]
        assert links.find(nl, "lo") == loopback
        assert links.find(nl, "wherry-none") is None
        assert (loopback.index, ipaddress.IPv4Interface("127.0.0.1/8")) in links.all_addresses(nl)


def test_a_refusal_names_the_request_and_its_subject() -> None:
    with Netlink() as nl, pytest.raises(KernelFault, match="RTM_SETLINK wherry-none: No such device"):
        body = netlink.link_body() + netlink.text(links.IFLA_IFNAME, "wherry-none")
        nl.send([Message(netlink.RTM_SETLINK, 0, body, "wherry-none")])


def test_of_several_requests_the_first_refusal_is_told_and_the_socket_stays_usable() -> None:
    with Netlink() as nl:
        bodies = [netlink.link_body() + netlink.text(links.IFLA_IFNAME, name) for name in ("wx1", "wx2")]
        with pytest.raises(KernelFault, match="wx1"):
            nl.send([Message(netlink.RTM_SETLINK, 0, body, f"wx{i}") for i, body in enumerate(bodies, 1)])
        assert links.find(nl, "lo") is not None


def test_the_kernels_own_words_come_along() -> None:
    too_long = "x" * 40
    with Netlink() as nl, pytest.raises(KernelFault) as caught:
        nl.get(Message(netlink.RTM_GETLINK, 0, netlink.link_body() + netlink.text(3, too_long), too_long))
    assert any("the kernel says" in note for note in caught.value.__notes__)
