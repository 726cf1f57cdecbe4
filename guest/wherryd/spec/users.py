"""Who a container's process runs as: `USER` of Docker, looked up by hand in the image's own files.

No NSS and no libc look-up: those would load code from, or ask services named by, the image
(CVE-2019-14271). Numbers are checked as integers, so none wraps around to root (CVE-2024-40635), and a
number is never taken for a name: an image whose passwd has a user "1000" with uid 0 would be root
(CVE-2016-3697).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wherryd.errors import InvalidParameter

MAX_ID = 2**31 - 1

#: Larger files are cut off here when they are read.
MAX_FILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


def is_numeric(spec: str, groups: Sequence[str]) -> bool:
    """Whether passwd and group may still add something but are not needed to find a number."""
    return all(not part or part.isdecimal() for part in (*spec.split(":"), *groups))


def resolve(spec: str, passwd: bytes, group: bytes, extra_groups: Sequence[str] = ()) -> User:
    """`""`, `name`, `uid`, `name:group`, `uid:gid` as a User.

    passwd, group: the files' contents, empty when the image has none. extra_groups: --group-add, names
    or numbers. Raises InvalidParameter with the reference daemon's words.
    """
    user_part, colon, group_part = spec.partition(":")
    name, uid, gid, home = _find_user(user_part or "0", passwd)
    groups = list(_groups(group))
    if colon and group_part:
        gid = _find_group(group_part, groups)
        additional: list[int] = []
    else:
        additional = [number for _, number, members in groups if name and name in members]
    additional += [_find_group(each, groups) for each in extra_groups]
    return User(uid=uid, gid=gid, additional_gids=tuple(dict.fromkeys(additional)), home=home or "/")


def _find_user(part: str, passwd: bytes) -> tuple[str, int, int, str]:
    wanted = _number(part)
    for fields in _lines(passwd, 7):
        if wanted is None and fields[0] != part:
            continue
        uid, gid = (_number if wanted is None else _in_range)(fields[2]), _in_range(fields[3])
        if uid is None or gid is None:
            continue
        if wanted is None or uid == wanted:
            return fields[0], uid, gid, fields[5]
    if wanted is None:
        raise InvalidParameter(f"unable to find user {part}: no matching entries in passwd file")
    return "", wanted, 0, "/"


def _find_group(part: str, groups: Iterable[tuple[str, int, Sequence[str]]]) -> int:
    wanted = _number(part)
    if wanted is not None:
        return wanted
    for name, number, _ in groups:
        if name == part:
            return number
    raise InvalidParameter(f"unable to find group {part}: no matching entries in group file")


def _groups(group: bytes) -> Iterator[tuple[str, int, Sequence[str]]]:
    for fields in _lines(group, 4):
        number = _in_range(fields[2])
        if number is not None:
            yield fields[0], number, fields[3].split(",")


def _lines(content: bytes, columns: int) -> Iterator[list[str]]:
    """Lines as other readers of these files see them. One with a NUL could not become an environment."""
    for line in content.decode(errors="surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= columns and not line.startswith("#") and "\0" not in line:
            yield fields


def _number(text: str) -> int | None:
    """None for a word. Raises InvalidParameter for a number that is no id."""
    if not (text.isascii() and text.isdecimal()):
        return None
    number = _in_range(text)
    if number is None:
        raise InvalidParameter(f"uids and gids must be in range 0-{MAX_ID}")
    return number


def _in_range(text: str) -> int | None:
    """The number; None for anything that is no id: a line of a file that nobody asked for is passed over."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > MAX_ID:
        return None
    return int(text)
