"""Capabilities that were given inside a user namespace, as an image has them."""

import struct

from wherryd.images.idshift import without_root


def test_the_root_of_a_capability_is_taken_out() -> None:
    inside = struct.pack("<IIIIII", 0x03000001, 1 << 10, 0, 0, 0, 268435456)
    assert without_root(inside) == struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def test_what_names_no_root_stays() -> None:
    plain = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    assert without_root(plain) == plain
