"""The init of `--init`: a program of 600 bytes that is mounted at /sbin/docker-init and starts the command.

It reaps orphans, forwards signals and ends with the command's status; one page of memory, no Python, nothing
of the host's. The two programs are made from the .S files beside; a test assembles them again and compares.
Each container gets a copy that ends in its command's candidates along PATH, so nothing is searched inside.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from wherryd.spec.defaults import PATH

#: Where the program is seen, and the first words of the first process: as with Docker.
TARGET: Final = "/sbin/docker-init"
PREFIX: Final = (TARGET, "--")

#: p_filesz and p_memsz of the one program header, behind the ELF header. Source: elf(5), Elf64_Phdr.
_SIZES_AT: Final = 64 + 32

_PROGRAMS: Final[Mapping[str, str]] = {
    "x86_64": ""
    "f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAA"
    "AAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAVwIAAAAAAABXAgAAAAAAAAAQAAAAAAAASIsEJEyNZCQYTI1sxBC4nQAAAL8kAAAA"
    "vgEAAAAPBWr/6DUBAABBv34AAAC4OAAAAL8RAAAAMfYx0kUx0kUxwA8FSIXAdHkPiNwAAABJicZIiecx9jHSQboIAAAAuIAA"
    "AAAPBYP4EXQShcB444nGTIn3uD4AAAAPBevVagBIx8f/////SInmugEAAABFMdK4PQAAAA8FX0iFwH60TDnwddqJ+IPgf3QI"
    "jbiAAAAA6wnB7wiB5/8AAAC45wAAAA8FMf8x9rhtAAAADwW4JwAAAA8FUDH/vhBUAABIieK4EAAAAA8FWGoA6G8AAABBv38A"
    "AABIjR3mAAAAgDsAdCtIid9MieZMieq4OwAAAA8Fg/j+dAuD+Ox0BkG/fgAAAIA7AEiNWwF19+vQvwIAAABIjTVAAAAAujQA"
    "AABBg/9/dAxIjTViAAAAujYAAAC4AQAAAA8FRIn/6V7///+/AgAAAEiNdCQIMdJBuggAAAC4DgAAAA8Fw2RvY2tlci1pbml0"
    "OiBleGVjIGZhaWxlZDogZXhlY3V0YWJsZSBmaWxlIG5vdCBmb3VuZApkb2NrZXItaW5pdDogZXhlYyBmYWlsZWQ6IHRoZSBm"
    "aWxlIGNhbm5vdCBiZSBleGVjdXRlZAo=",
    "aarch64": ""
    "f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAA"
    "AAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAggIAAAAAAACCAgAAAAAAAAAAAQAAAAAA4ANA+fNjAJH0QwCRlA4Ai+gUgNKABIDS"
    "IQCA0gEAANT/QwDRCQCAklYAAJTWD4DSiBuA0iACgNIBAIDSAgCA0gMAgNIEAIDSAQAA1GAEALQgCPi39QMAquADAJEBAIDS"
    "AgCA0gMBgNIoEYDSAQAA1B9EAPHgAABUAP//t+EDAKrgAxWqKBCA0gEAANTz//8XAACAkuEjAJEiAIDSAwCA0ogggNIBAADU"
    "HwAA8W39/1QfABXr4f7/VOELQLkgGAByYAAAVAAAAhECAAAUIDwIU8gLgNIBAADUAACA0gEAgNJIE4DSAQAA1IgVgNIBAADU"
    "4AcA+QAAgNIBgorS4iMAkagDgNIBAADUCQCA0h0AAJT2D4DStwcAUOkCQDnJAQA04AMXquEDE6riAxSqqBuA0gEAANQfCACx"
    "gAAAVB9QALFAAABU1g+A0ukWQDjp//818v//F0AAgNJBAgAQggaA0t/+AfFgAABUYQMAEMIGgNIICIDSAQAA1OADFqrV//8X"
    "6QMA+UAAgNLhAwCRAgCA0gMBgNLoEIDSAQAA1MADX9Zkb2NrZXItaW5pdDogZXhlYyBmYWlsZWQ6IGV4ZWN1dGFibGUgZmls"
    "ZSBub3QgZm91bmQKZG9ja2VyLWluaXQ6IGV4ZWMgZmFpbGVkOiB0aGUgZmlsZSBjYW5ub3QgYmUgZXhlY3V0ZWQK",
}


def available(machine: str) -> bool:
    """machine: as uname(2) has it."""
    return machine in _PROGRAMS


def template(machine: str) -> bytes:
    """The program without its candidates. Raises KeyError where there is none."""
    return base64.b64decode(_PROGRAMS[machine])


def program(machine: str, command: str, environment: Sequence[str]) -> bytes:
    """The program that starts `command`, looked up as execvp(3) does. Raises KeyError."""
    code = template(machine)
    listed = b"".join(each.encode() + b"\0" for each in candidates(command, environment)) + b"\0"
    made = bytearray(code + listed)
    struct.pack_into("<QQ", made, _SIZES_AT, len(made), len(made))
    return bytes(made)


def candidates(command: str, environment: Sequence[str]) -> list[str]:
    """Paths to try, in order. The last PATH wins, as exec's environment has it."""
    if "/" in command:
        return [command]
    path = next((entry[5:] for entry in reversed(environment) if entry.startswith("PATH=")), PATH)
    return [f"{folder or '.'}/{command}" for folder in path.split(":")]
