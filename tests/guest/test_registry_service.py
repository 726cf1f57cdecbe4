"""Pull and push by the image service itself: every storage driver, a registry with faults, TLS."""

import asyncio
import gzip
import json
import random
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from images_rig import archive, directory, entry, pieces

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from registry_fake import Cut, FakeRegistry, fake_registry, refuse, sha256

from wherryd.content import digest as digests
from wherryd.errors import EngineError, InvalidParameter, NotFound, Unavailable
from wherryd.images.service import ImageService
from wherryd.metadata.database import Database
from wherryd.registry.hosts import Endpoint, Hosts, RegistryOptions
from wherryd.registry.service import Registry
from wherryd.registry.transport import Retries, Transport

pytestmark = pytest.mark.root

QUICK = Retries(first_seconds=0.001, max_seconds=0.002)


class Engine:
    """An image service with its registries, and what it is built on; for `async with`."""

    def __init__(self, root: Path, driver: str) -> None:
        self.root, self.driver = root, driver
        self.database = Database(root / "db.sqlite")
        self.registry = Registry(retries=QUICK)
        self.events: list[tuple[str, str]] = []
        self.images = self._service()

    def _service(self) -> ImageService:
        return ImageService(
            data_root=self.root,
            database=self.database,
            storage_driver=self.driver,
            publish=self._publish,
            registry=self.registry,
        )

    def _publish(self, _kind: str, action: str, _actor: str, attributes: Mapping[str, str]) -> None:
        self.events.append((action, attributes.get("name", "")))  # of a prune there is none

    async def __aenter__(self) -> Self:
        await self.images.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.images.close()
        await self.registry.close()
        self.database.close()

    async def restart(self) -> None:
        await self.images.close()
        self.images = self._service()
        await self.images.open()

    async def pull(self, name: str, **options: Any) -> list[dict[str, Any]]:
        return [line async for line in self.images.pull(name, **options)]

    async def push(self, name: str) -> list[dict[str, Any]]:
        return [line async for line in self.images.push(name)]

    async def save(self, name: str) -> bytes:
        return b"".join([data async for data in self.images.save([name])])

    def unowned(self) -> list[str]:
        """What is on disk and belongs to no image."""
        rows = {row["recipe"] for row in self.database.query("SELECT recipe FROM layers")}
        images = {row["id"] for row in self.database.query("SELECT id FROM images")}
        blobs = {f"sha256:{path.name}" for path in (self.root / "content/blobs/sha256").iterdir()}
        layers = len(list((self.root / self.driver / "l").iterdir()))
        known = self.database.query("SELECT count(*) AS n FROM layers")[0]["n"]
        extra = [f"{layers - known} layers"] if layers != known else []
        halves = [*(self.root / "content/ingest").iterdir(), *(self.root / "content/partial").iterdir()]
        return [*sorted(blobs - rows - images), *extra, *map(str, halves)]


@pytest.fixture(params=["overlay", "vfs"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path, request.param) as made:
        yield made


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        yield made


def layers(count: int, size: int = 30_000) -> list[bytes]:
    noise = random.Random(count)  # noqa: S311 - no secret
    made = [archive(directory("./", mode=0o711), directory("d"), entry("d/0", b"0"))]
    made += [
        archive(
            entry(f"d/{number}", noise.randbytes(size)),
            entry(f"d/.wh.{number - 1}"),
            entry("last", b"%d" % number),
        )
        for number in range(1, count)
    ]
    return made


def config(made: list[bytes], **fields: Any) -> bytes:
    diff_ids = [sha256(layer) for layer in made]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps({**document, **fields}).encode()


def publish(
    fake: FakeRegistry, name: str, made: list[bytes], compress: Callable[[bytes], bytes] = gzip.compress
) -> str:
    path, _, tag = name.rpartition(":")
    return fake.add_image(path, tag, config(made), [compress(layer) for layer in made])


async def test_pull_gives_the_layers_in_their_order(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(7)
    digest = publish(fake, "a/b:1", made)
    said = await engine.pull(f"{fake.host}/a/b:1")
    assert said[-2:] == [
        {"status": f"Digest: {digest}"},
        {"status": f"Status: Downloaded newer image for {fake.host}/a/b:1"},
    ]
    image = engine.images.resolve(f"{fake.host}/a/b:1")
    assert image.digests == (f"{fake.host}/a/b@{digest}",)
    (mount,) = await engine.images.prepare_rootfs("c" * 64, image)
    if engine.driver == "vfs":
        root = Path(mount.source)
        assert sorted(path.name for path in (root / "d").iterdir()) == ["6"]
        assert (root / "last").read_bytes() == b"6"
        assert root.stat().st_mode & 0o7777 == 0o711
    else:
        assert len(mount.options[0].removeprefix("lowerdir=").split(":")) == 7
        for lower in mount.options[0].removeprefix("lowerdir=").split(":"):
            assert Path(lower).stat().st_mode & 0o7777 == 0o711
    await engine.images.remove_rootfs("c" * 64)
    assert not engine.unowned()


async def test_shared_layers_are_not_fetched_again(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(5)
    publish(fake, "a/b:1", made[:3])
    publish(fake, "a/b:2", made)
    await engine.pull(f"{fake.host}/a/b:1")
    fake.seen.clear()
    said = [line["status"] for line in await engine.pull(f"{fake.host}/a/b:2")]
    assert said.count("Already exists") == 3
    assert len(fake.asked("GET", "/blobs/")) == 3, "two layers and the config"


async def test_three_layers_at_a_time_are_fetched_and_unpacked(engine: Engine, fake: FakeRegistry) -> None:
    """Each answer waits for the other two requests, and so for ever if layers came one after the other."""
    made = layers(6)
    publish(fake, "a/b:1", made)
    blobs = {digest for digest, data in fake.blobs.items() if data[:2] == b"\x1f\x8b"}
    under_way: set[str] = set()
    most = places = 0
    third = asyncio.Event()

    async def together(request: web.Request) -> None:
        nonlocal most, places
        digest = request.path.rpartition("/")[2]
        if digest not in blobs:
            return
        under_way.add(digest)
        most = max(most, len(under_way))
        if len(under_way) == 3:
            await asyncio.sleep(0.3)  # for a fourth, if it were asked for too soon
            places = max(places, len(list((engine.root / engine.driver / "l").iterdir())))
            third.set()
        await asyncio.wait_for(third.wait(), 30)
        under_way.discard(digest)

    fake.hooks.append(together)
    await engine.pull(f"{fake.host}/a/b:1")
    assert most == 3
    if engine.driver == "overlay":
        assert places >= 3, "each has its unpacker before it is there"
    assert len(fake.asked("GET", "/blobs/")) == 7
    assert not engine.unowned()


async def test_pull_with_every_connection_cut_succeeds(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(6, 200_000)
    publish(fake, "a/b:1", made)
    places = random.Random(3)  # noqa: S311 - no secret
    fake.cuts = [Cut(places.randrange(150_000)) for _ in range(12)]
    await engine.pull(f"{fake.host}/a/b:1")
    assert not fake.cuts
    assert not engine.unowned()


async def test_pull_that_fails_leaves_nothing_after_collection_and_the_next_one_succeeds(
    engine: Engine, fake: FakeRegistry
) -> None:
    made = layers(6)
    publish(fake, "a/b:1", made)
    blob = sha256(gzip.compress(made[4], mtime=0))
    blob = next(
        digest
        for digest, data in fake.blobs.items()
        if data[:2] == b"\x1f\x8b" and gzip.decompress(data) == made[4]
    )
    whole = fake.blobs[blob]
    for broken in (
        whole[:-20] + bytes(20),
        whole + b"x",
        whole[: len(whole) // 2] + b"!" * (len(whole) - len(whole) // 2),
    ):
        fake.blobs[blob] = broken
        with pytest.raises(InvalidParameter, match="verification failed for digest " + blob):
            await engine.pull(f"{fake.host}/a/b:1")
    del fake.blobs[blob]
    with pytest.raises(NotFound, match=f"layer {blob}: blob unknown"):
        await engine.pull(f"{fake.host}/a/b:1")
    assert engine.images.count() == 0
    await engine.restart()
    assert not engine.unowned()
    fake.blobs[blob] = whole
    await engine.pull(f"{fake.host}/a/b:1")
    assert not engine.unowned()


async def test_layer_broken_once_is_fetched_once_more(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(2)
    publish(fake, "a/b:1", made)
    blob = next(
        digest
        for digest, data in fake.blobs.items()
        if data[:2] == b"\x1f\x8b" and gzip.decompress(data) == made[1]
    )
    served = 0

    async def hook(request: web.Request) -> web.StreamResponse | None:
        nonlocal served
        if not request.path.endswith(blob):
            return None
        served += 1
        return web.Response(body=fake.blobs[blob][:-1] + b"!") if served == 1 else None

    fake.hooks.append(hook)
    await engine.pull(f"{fake.host}/a/b:1")
    assert served == 2


async def test_layer_with_another_content_than_the_config_says_is_refused(
    engine: Engine, fake: FakeRegistry
) -> None:
    made = layers(2)
    fake.add_image("a/b", "1", config([made[0], made[0]]), [gzip.compress(layer) for layer in made])
    with pytest.raises(InvalidParameter, match="but the image's config says"):
        await engine.pull(f"{fake.host}/a/b:1")
    await engine.restart()
    assert not engine.unowned()


async def test_hostile_layer_is_refused_by_its_entry(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", [archive(entry("../../escape", b"x"))])
    with pytest.raises(InvalidParameter, match="escape"):
        await engine.pull(f"{fake.host}/a/b:1")


@pytest.mark.parametrize("compression", ["none", "zstd", "xz"])
async def test_layers_may_be_compressed_otherwise(
    engine: Engine, fake: FakeRegistry, compression: str
) -> None:
    import lzma

    import zstandard

    compress = {"none": bytes, "zstd": zstandard.compress, "xz": lzma.compress}[compression]
    made = layers(2)
    publish(fake, "a/b:1", made, compress)
    await engine.pull(f"{fake.host}/a/b:1")
    assert engine.images.resolve(f"{fake.host}/a/b:1").size_bytes > 30_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"os": "windows"}, "cannot load windows image"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "layers length mismatch"),
        ({"rootfs": None}, "config is broken"),
    ],
)
async def test_config_that_does_not_fit_is_refused_before_a_layer_is_fetched(
    engine: Engine, fake: FakeRegistry, changes: dict[str, Any], message: str
) -> None:
    made = layers(2)
    fake.add_image("a/b", "1", config(made, **changes), [gzip.compress(layer) for layer in made])
    with pytest.raises(InvalidParameter, match=message):
        await engine.pull(f"{fake.host}/a/b:1")
    assert len(fake.asked("GET", "/blobs/")) == 1


async def test_reader_that_leaves_ends_the_pull(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(6, 500_000))
    lines = engine.images.pull(f"{fake.host}/a/b:1")
    async for line in lines:
        if line["status"] == "Downloading":
            break
    await lines.aclose()  # type: ignore[attr-defined]
    assert engine.images.count() == 0
    await engine.restart()
    assert not engine.unowned()


async def test_pulls_at_the_same_time_fetch_each_layer_once(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(5))
    await asyncio.gather(*(engine.pull(f"{fake.host}/a/b:1") for _ in range(4)))
    asked = [seen.path for seen in fake.asked("GET", "/blobs/")]
    gzipped = [path for path in asked if fake.blobs[path.rpartition("/")[2]][:2] == b"\x1f\x8b"]
    assert len(gzipped) == len(set(gzipped)) == 5
    assert not engine.unowned()


async def test_pushed_layers_are_the_same_bytes_every_time(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(4)
    lines = engine.images.import_tar(pieces(made[0]), reference=f"{fake.host}/x:1")
    async for _ in lines:
        pass
    first = (await engine.push(f"{fake.host}/x:1"))[-1]["aux"]
    engine.database.query("SELECT 1")
    with engine.database.transaction() as cursor:
        cursor.execute("DELETE FROM layer_blobs")
        cursor.execute("DELETE FROM manifests")
    fake.blobs.clear()
    assert (await engine.push(f"{fake.host}/x:1"))[-1]["aux"] == first
    assert ("push", f"{fake.host}/x") in engine.events


async def test_image_goes_on_to_another_registry_whole(engine: Engine, fake: FakeRegistry) -> None:
    made = layers(4)
    publish(fake, "a/b:1", made)
    await engine.pull(f"{fake.host}/a/b:1")
    async with fake_registry() as other:
        engine.images.tag(engine.images.resolve(f"{fake.host}/a/b:1"), f"{other.host}/c:2")
        said = await engine.push(f"{other.host}/c:2")
        assert [line["status"] for line in said if "id" in line].count("Pushed") == 4
        _, manifest = other.manifests["c", "2"]
        pushed = [gzip.decompress(other.blobs[layer["digest"]]) for layer in json.loads(manifest)["layers"]]
        assert pushed == made
        assert digests.of(other.blobs[engine.images.resolve(f"{other.host}/c:2").id]) in other.blobs


async def test_damaged_layer_is_not_pushed(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(2))
    await engine.pull(f"{fake.host}/a/b:1")
    for place in (engine.root / engine.driver / "l").glob("*/last"):
        place.write_bytes(b"?")
    async with fake_registry() as other:
        engine.images.tag(engine.images.resolve(f"{fake.host}/a/b:1"), f"{other.host}/c:2")
        with pytest.raises(EngineError, match="changed on disk"):
            await engine.push(f"{other.host}/c:2")
        assert not other.manifests


async def test_refused_push_says_who_may(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(2))
    await engine.pull(f"{fake.host}/a/b:1")

    async def hook(request: web.Request) -> web.StreamResponse | None:
        denied = request.method == "PUT" and "/manifests/" in request.path
        return refuse(403, "DENIED", "requested access to the resource is denied") if denied else None

    fake.hooks.append(hook)
    with pytest.raises(EngineError, match=r"denied: requested access to the resource is denied: log in to"):
        await engine.push(f"{fake.host}/a/b:1")


async def test_all_hints_go_with_their_image(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(3))
    await engine.pull(f"{fake.host}/a/b:1")
    await engine.images.remove(f"{fake.host}/a/b:1")
    await engine.restart()
    for table in ("manifests", "layer_blobs", "layers", "images", "tags"):
        assert not engine.database.query(f"SELECT * FROM {table}"), table  # noqa: S608


# TLS


async def test_private_ca_is_trusted_for_its_registry_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(folder / "key"), "-out", str(folder / "cert")],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "cert", folder / "key")

    async def hello(_request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/v2/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server)
    await site.start()
    host = f"localhost:{runner.addresses[0][1]}"
    certificates = tmp_path / "certs.d"
    try:
        for trusted in (False, True):
            if trusted:
                (certificates / host).mkdir(parents=True)
                (certificates / host / "ca.crt").write_bytes((folder / "cert").read_bytes())
            transport = Transport(Hosts(RegistryOptions(certificates=(certificates,))), QUICK)
            try:
                # Loopback is not verified by itself; this asks as for a registry elsewhere.
                work = transport.fetch(Endpoint(f"https://{host}"), "GET", f"https://{host}/v2/")
                if trusted:
                    assert (await work).status == 200
                else:
                    with pytest.raises(
                        Unavailable, match=f"failed to verify certificate.*certs.d/{host}/ca.crt"
                    ):
                        await work
                insecure = Endpoint(f"https://{host}", secure=False)
                assert (await transport.fetch(insecure, "GET", f"https://{host}/v2/")).status == 200
            finally:
                await transport.close()
    finally:
        await runner.cleanup()


async def test_plain_http_where_tls_is_wanted_names_the_option(fake: FakeRegistry) -> None:
    transport = Transport(Hosts(RegistryOptions()), QUICK)
    try:
        with pytest.raises(
            Unavailable, match=f"HTTP response to HTTPS client.*--insecure-registry {fake.host}"
        ):
            await transport.fetch(Endpoint(f"https://{fake.host}"), "GET", f"https://{fake.host}/v2/")
    finally:
        await transport.close()
