"""Eighteen Dockerfiles after the structure of popular images: files and config are what other builders make.

A few are part of `make test`; WHERRY_BUILD_SHAPES=all takes all of them, which is minutes of installing
packages three times over.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builder_rig import Tree, docker_daemon, tree
from native_engine import NativeEngine
from shapes_rig import BASE, Client, base_context, buildah, dockerd, mirror, settings, shape, wherry

pytestmark = pytest.mark.root

#: Shape -> what its container prints ("" where it would serve).
ALWAYS = {"base": "", "static": "dev\n", "rails": "server\n", "onbuild": "default\n", "heredoc": ""}
LONG = {
    "blog": "<?php $table_prefix = 'blog_';\n# BEGIN\nRewriteEngine On\n# END\n",
    "java": "class Main {}\n",
    "memcached": "",
    "rust": "b\nfeatures:\n",
    "postgres": "",
    "copies": "",
    "python-cache": "8\n",
    "python-venv": "/opt/venv ['--help']\n",
    "node": "production left\n",
    "nginx": "",
    "redis": "",
    "php_box": "",
    "myapp": "",
}
CHOSEN = {**ALWAYS, **(LONG if os.environ.get("WHERRY_BUILD_SHAPES") == "all" else {})}


@dataclass(frozen=True, slots=True)
class Workshop:
    ours: Client
    rivals: tuple[Client, ...]
    folder: Path


@pytest.fixture(scope="module")
def workshop(module_engine: NativeEngine) -> Iterator[Workshop]:
    for program in ("dockerd", "buildah"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (scripts/setup.sh dev)")
    # Short: a unix socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="wherry-shapes-") as name:
        folder = Path(name)
        with docker_daemon() as daemon, buildah(folder) as other, mirror() as sources:
            made = Workshop(wherry(module_engine.socket), (dockerd(daemon), other), folder)
            context = base_context(folder / "base-image", sources)
            for client in (made.ours, *made.rivals):
                client.build(context, BASE)
            yield made


def files(archive: bytes) -> Tree:
    """Without what a builder leaves for its own use."""
    return {
        path: row
        for path, row in tree(archive).items()
        if path not in ("etc/resolv.conf", "etc/hosts", "etc/hostname", "run/.containerenv", "run/secrets")
    }


@pytest.mark.parametrize("name", CHOSEN)
def test_a_shape_is_what_other_builders_make_of_it(workshop: Workshop, name: str) -> None:
    context = shape(name, workshop.folder)
    tag = f"{name}:latest"
    ours = workshop.ours
    ours.build(context, tag)
    saved = ours.archive(tag, workshop.folder / "saved.tar")
    for rival in workshop.rivals:
        rival.build(context, tag)
        theirs = rival.archive(tag, workshop.folder / "saved.tar")
        assert settings(saved, rival.name) == settings(theirs, rival.name), rival.name
        mine, other = files(saved), files(theirs)
        assert {path: row for path, row in mine.items() if other.get(path) != row} == {}, rival.name
        assert sorted(other.keys() - mine.keys()) == [], rival.name
    if CHOSEN[name]:
        assert ours.run("run", "--rm", "--network=none", tag).stdout == CHOSEN[name]
