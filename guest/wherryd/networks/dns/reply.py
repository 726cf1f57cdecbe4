"""What the resolver says to one question."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """message: the whole answer; b"" where none is deserved.

    lasting: it is true for the same question until somebody joins, leaves or is renamed. rotating: bytes of
    each record that may change places with its like, from the offset `fixed` to the end; 0 for none.
    """

    message: bytes
    lasting: bool = False
    fixed: int = 0
    rotating: int = 0
