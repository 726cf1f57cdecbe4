"""The same Dockerfiles built here and by dockerd's classic builder: files, config and history are equal."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from builder_rig import DockerDaemon, built, busybox_file, config, docker_daemon, saved, tree
from native_engine import NativeEngine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[DockerDaemon]:
    if shutil.which("dockerd") is None:
        pytest.skip("needs dockerd (scripts/setup.sh dev)")
    with docker_daemon() as started:
        yield started


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        folder = tarfile.TarInfo("in")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o750
        made.addfile(folder)
        file = tarfile.TarInfo("in/f")
        file.size, file.uid, file.gid, file.mtime = 2, 7, 8, 1_600_000_000
        made.addfile(file, io.BytesIO(b"hi"))
    return buffer.getvalue()


APPLICATION = """FROM busybox:test
MAINTAINER me <me@example.com>
ARG V=1
ENV A=b$V C="d e"
ENV OLD style value
LABEL x=y z="a b"
WORKDIR /srv
WORKDIR app
COPY src .
COPY src/a /top/deep/
COPY src/a src/d/b /multi/
COPY --chown=user:extra src/a renamed
COPY --chown=1000 l /links/
RUN echo hi > /x && mkdir -p /data/sub && rm /etc/group && ln -s /x y && ln /x z && chmod 4755 /x \\
    && chown user /data
RUN rm -rf /data && mkdir /data && touch /data/new
EXPOSE 80 443/tcp 53/udp 8000-8002
USER user
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=2 CMD echo ok
ENTRYPOINT ["/bin/sh","-c"]
CMD echo $A
SHELL ["/bin/sh","-ec"]
RUN echo $V $A > /tmp/t
ONBUILD RUN echo triggered
VOLUME /vol /v2
"""

STAGES = """ARG BASE=busybox:test
FROM $BASE AS one
RUN mkdir /o && echo 1 > /o/1 && chown 5:6 /o/1 && chmod 600 /o/1
FROM scratch
COPY --from=one /o /o
COPY --from=one /o/1 /p/q
COPY --from=0 --chown=9 /o/1 /r/
ADD a.tgz /unpacked/
ADD a.tgz /
ADD plain /unpacked/
COPY a.tgz /kept/
COPY *.txt /glob/
COPY d? /dirs/
CMD ["x"]
"""

OVER = """FROM busybox:test
RUN mkdir -p /real /a/b && ln -s /real /link && echo old > /a/b/f && chmod 700 /a
COPY t /
COPY f /link/
COPY f /link2
RUN rm -r /home /var && mkdir /home && echo > /home/x
"""

SERVICE = """FROM busybox:test
RUN echo 'db:x:70:70:db:/var/lib/db:/bin/sh' >> /etc/passwd && echo 'db:x:70:' >> /etc/group \\
    && mkdir -p /var/lib/db && chown db:db /var/lib/db && chmod 700 /var/lib/db
ENV DATA=/var/lib/db
COPY --chown=db entrypoint /usr/local/bin/
ENTRYPOINT ["entrypoint"]
EXPOSE 5432
STOPSIGNAL SIGINT
USER db
WORKDIR $DATA
CMD ["db"]
"""

STATIC = """FROM busybox:test AS build
WORKDIR /src
COPY main.c go.mod ./
COPY internal ./internal
RUN cat main.c internal/* > /out && chmod 755 /out
FROM scratch
COPY --from=build /out /app
COPY --from=build /etc/passwd /etc/passwd
USER 1000
ENTRYPOINT ["/app"]
"""

EMPTY_BASE = """FROM scratch
ADD busybox /bin/busybox
ENV PATH=/bin
RUN ["/bin/busybox", "mkdir", "-p", "/etc/x"]
RUN ["/bin/busybox", "touch", "/etc/x/y"]
CMD ["first"]
ENTRYPOINT ["busybox"]
"""

CASES: dict[str, dict[str, Any]] = {
    "application": {
        "Dockerfile": APPLICATION, "src/": "", "src/a": (0o640, "1"), "src/d/": (0o700, ""), "src/d/b": "2",
        "src/e/": "", "src/link": "-> a", "l/": "", "l/abs": "-> /nowhere", "l/f": "f",
    },
    "stages": {
        "Dockerfile": STAGES, "a.tgz": archive(), "plain": "p", "1.txt": "1", "2.txt": "2", "d1/": "",
        "d1/f": "", "d2/": "", "d2/g": (0o755, ""),
    },
    "over": {
        "Dockerfile": OVER, "t/": "", "t/a/": "", "t/a/b/": "", "t/a/b/f": "new", "t/a/n": "n", "f": "F",
    },
    "ignore": {
        "Dockerfile": "FROM busybox:test\nCOPY . /all/\n",
        ".dockerignore": "Dockerfile\n.dockerignore\n", "f": "1",
    },
    "service": {"Dockerfile": SERVICE, "entrypoint": (0o755, "#!/bin/sh\nexec \"$@\"\n")},
    "static": {"Dockerfile": STATIC, "main.c": "m", "go.mod": "g", "internal/": "", "internal/i": "i"},
    "empty-base": {"Dockerfile": EMPTY_BASE, "busybox": busybox_file()},
}  # fmt: skip

#: In dockerd's config, and of no meaning: the id of the step before.
_NOT_COMPARED = ("Image",)


def said(document: dict[str, Any]) -> dict[str, Any]:
    """A config without what says nothing."""
    return {key: value for key, value in document.items() if value and key not in _NOT_COMPARED}


def ran(step: dict[str, Any]) -> str:
    """created_by; what names contents by a hash, or prints a structure of Go's, is the builder's own."""
    text = str(step.get("created_by", ""))
    return text if not any(word in text for word in (" COPY ", " ADD ", " HEALTHCHECK ")) else ""


@pytest.mark.parametrize("name", CASES)
def test_a_build_equals_dockerds(engine: NativeEngine, daemon: DockerDaemon, name: str) -> None:
    tag = f"cmp:{name}"
    daemon.build(CASES[name], tag)
    theirs = daemon.saved(tag)
    built(engine, CASES[name], t=tag, networkmode="none")
    ours = saved(engine, tag)
    assert tree(ours) == tree(theirs)
    mine, other = config(ours), config(theirs)
    assert said(mine["config"]) == said(other["config"])
    assert mine.get("author", "") == other.get("author", "")
    assert len(mine["rootfs"]["diff_ids"]) == len(other["rootfs"]["diff_ids"])
    for field in ("empty_layer", "author"):
        assert [step.get(field) for step in mine["history"]] == [step.get(field) for step in other["history"]]
    assert [ran(step) for step in mine["history"]] == [ran(step) for step in other["history"]]
