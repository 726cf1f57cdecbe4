"""Headers of archives: the short way gives the same bytes as tarfile."""

import tarfile

from hypothesis import given
from hypothesis import strategies as st

from wherryd.images.entries import encoded

_NAMES = st.one_of(
    st.text("abc/.é", min_size=1, max_size=12),
    st.integers(90, 110).map(lambda length: "n" * length),
)
_KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
_IDS = st.one_of(st.integers(0, 70_000), st.integers(8**7 - 2, 8**7 + 1))
_LONG = st.one_of(st.integers(0, 10_000), st.integers(8**11 - 2, 8**11 + 1))


@given(
    name=_NAMES, kind=_KINDS, link=st.one_of(st.just(""), _NAMES), uid=_IDS, gid=_IDS, size=_LONG,
    mtime=_LONG, mode=st.integers(0, 0o177777),
    attributes=st.sampled_from([{}, {"SCHILY.xattr.user.a": "b"}]),
)  # fmt: skip
def test_header_is_the_same_as_tarfiles(
    name: str,
    kind: bytes,
    link: str,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    mode: int,
    attributes: dict[str, str],
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
    info.uid, info.gid, info.size, info.pax_headers = uid, gid, size, attributes
    assert encoded(info) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
