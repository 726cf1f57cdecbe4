"""The keys that leave a container without ending it. Docker's default is ctrl-p, ctrl-q. Sans-IO."""

from wherry.errors import UsageProblem

DEFAULT = b"\x10\x11"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,b` -> the bytes; "" is the default. Raises UsageProblem."""
    if not text:
        return DEFAULT
    made = bytearray()
    for key in text.split(","):
        if len(key) == 1:
            made += key.encode()
            continue
        letter = key[5:] if key.startswith("ctrl-") else ""
        if len(letter) == 1 and "a" <= letter <= "z":
            made.append(ord(letter) - ord("a") + 1)
        elif letter in _SPECIAL:
            made.append(_SPECIAL[letter])
        else:
            raise UsageProblem(
                f"invalid detach keys ({text}): Unknown character: '{key}'; write ctrl-p,ctrl-q"
            )
    return bytes(made)


class DetachKeys:
    """Finds the sequence in what is typed; holds back a beginning until it is clear what it is."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to send on, and whether the sequence is complete (nothing after it counts)."""
        out = bytearray()
        for byte in data:
            if byte != self._keys[self._matched]:
                out += self._keys[: self._matched]
                self._matched = 0
                if byte != self._keys[0]:
                    out.append(byte)
                    continue
            self._matched += 1
            if self._matched == len(self._keys):
                return bytes(out), True
        return bytes(out), False
