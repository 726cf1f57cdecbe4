"""Reading from and writing to a registry that misbehaves."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from registry_fake import Cut, FakeRegistry, Hook, fake_registry, refuse, sha256

from wherryd.errors import InvalidParameter, NotSupported, Unauthorized, Unavailable
from wherryd.registry import upload
from wherryd.registry.credentials import ANONYMOUS, Credentials
from wherryd.registry.hosts import Endpoint, Hosts, RegistryOptions
from wherryd.registry.manifests import DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.remote import Damaged, Remote
from wherryd.registry.service import Registry
from wherryd.registry.transport import Retries, Transport
from wherryd.registry.upload import BytesSource, Uploader

QUICK = Retries(first_seconds=0.001, max_seconds=0.002)
DATA = random.Random(1).randbytes(300_000)  # noqa: S311 - no secret
BLOB = Descriptor(DOCKER_LAYER, sha256(DATA), len(DATA))
TOKEN = "t0ken"
ME = Credentials(username="me", password="pass word:ü")


class Client:
    """Remotes on one transport."""

    def __init__(self, options: RegistryOptions | None = None) -> None:
        self.hosts = Hosts(options or RegistryOptions())
        self.transport = Transport(self.hosts, QUICK)

    def remote(
        self, host: str, path: str = "a/b", user: Credentials = ANONYMOUS, *, push: bool = False
    ) -> Remote:
        return Remote(self.transport, self.hosts, host, path, user, push=push)

    def uploader(self, host: str, user: Credentials = ANONYMOUS) -> Uploader:
        return Uploader(self.remote(host, user=user, push=True))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.transport.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        yield made


async def read(remote: Remote, blob: Descriptor = BLOB) -> bytes:
    return b"".join([data async for data in remote.blob(blob)])


def once(answer: Callable[[], web.Response], pattern: str, times: int = 1) -> Hook:
    left = times

    async def hook(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if pattern in request.path and left:
            left -= 1
            return answer()
        return None

    return hook


def basic(user: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{user.username}:{user.password}".encode()).decode()


def wants_basic(user: Credentials) -> Hook:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") == basic(user):
            return None
        return refuse(
            401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": 'Basic realm="r"'}
        )

    return hook


def wants_token(realm: FakeRegistry, *, token: str = TOKEN, scope: str = "repository:a/b:pull") -> Hook:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") == f"Bearer {token}":
            return None
        header = f'Bearer realm="http://{realm.host}/token",service="my, \\"reg\\"",scope="{scope}"'
        return refuse(401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": header})

    return hook


def gives_token(**document: object) -> Hook:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        return web.json_response(document) if request.path == "/token" else None

    return hook


# resuming


async def test_blob_cut_at_fifty_random_places_arrives_whole(client: Client, fake: FakeRegistry) -> None:
    fake.add_blob(DATA)
    places = random.Random(2)  # noqa: S311 - no secret
    for _ in range(50):
        fake.cuts = [Cut(places.randrange(len(DATA))) for _ in range(places.randrange(1, 4))]
        remote = client.remote(fake.host)
        assert await read(remote) == DATA
    assert any("range" in seen.headers for seen in fake.seen)


async def test_resumed_download_asks_for_the_rest_only(client: Client, fake: FakeRegistry) -> None:
    fake.add_blob(DATA)
    fake.cuts = [Cut(100_000)]
    assert await read(client.remote(fake.host)) == DATA
    first, second = fake.asked("GET", "/blobs/")
    assert "range" not in first.headers
    assert second.headers["range"].removeprefix("bytes=").removesuffix("-").isdecimal()


async def test_server_without_ranges_is_read_again_from_the_start(client: Client, fake: FakeRegistry) -> None:
    fake.add_blob(DATA)
    fake.ranges = False
    fake.cuts = [Cut(100_000), Cut(200_000)]
    assert await read(client.remote(fake.host)) == DATA


async def test_download_that_never_gets_on_ends(client: Client, fake: FakeRegistry) -> None:
    fake.add_blob(DATA)
    fake.cuts = [Cut(0) for _ in range(50)]
    with pytest.raises(Unavailable):
        await read(client.remote(fake.host))
    assert len(fake.asked("GET", "/blobs/")) == QUICK.attempts


async def test_wrong_bytes_are_told_at_their_end(client: Client, fake: FakeRegistry) -> None:
    fake.blobs[BLOB.digest] = DATA[:-1] + b"!"
    with pytest.raises(Damaged, match="verification failed"):
        await read(client.remote(fake.host))
    fake.blobs[BLOB.digest] = DATA + b"!"
    with pytest.raises(Damaged, match="more than 300000 bytes"):
        await read(client.remote(fake.host))


async def test_empty_blob_is_read(client: Client, fake: FakeRegistry) -> None:
    empty = Descriptor(DOCKER_LAYER, fake.add_blob(b""), 0)
    assert await read(client.remote(fake.host), empty) == b""


# retries


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_registry_that_is_busy_is_asked_again(client: Client, fake: FakeRegistry, status: int) -> None:
    digest = fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(once(lambda: refuse(status, "TOOMANYREQUESTS", "slow down"), "/manifests/", 4))
    assert (await client.remote(fake.host).manifest("1")).digest == digest
    assert len(fake.asked("GET", "/manifests/")) == 5


async def test_registry_that_stays_busy_is_given_up(client: Client, fake: FakeRegistry) -> None:
    fake.hooks.append(once(lambda: refuse(429, "TOOMANYREQUESTS", "pull limit"), "/manifests/", 99))
    with pytest.raises(Unavailable, match="toomanyrequests: pull limit"):
        await client.remote(fake.host).manifest("1")
    assert len(fake.asked("GET", "/manifests/")) == 5


async def test_retry_after_is_obeyed(fake: FakeRegistry) -> None:
    assert QUICK.pause(1, 7.0) == 7.0
    assert QUICK.pause(1, 9999.0) == QUICK.max_retry_after_seconds
    assert 0 < Retries().pause(1, 0) <= 0.5 < Retries().pause(3, 0) <= 2 < Retries().pause(9, 0) <= 10


async def test_nobody_listening_is_said_at_once(client: Client) -> None:
    with pytest.raises(Unavailable, match=r'Get "https://127.0.0.1:1/v2/": Connection refused'):
        await client.remote("127.0.0.1:1").manifest("1")


async def test_registry_that_restarts_meanwhile_is_waited_for(client: Client, fake: FakeRegistry) -> None:
    remote = client.remote(fake.host)
    await remote.sites()
    await fake.stop()
    with pytest.raises(Unavailable):
        await remote.manifest("1")
    digest = fake.add_image("a/b", "1", b"{}", [])
    asking = asyncio.create_task(remote.manifest("1"))
    await fake.start()
    assert (await asking).digest == digest


async def test_unknown_manifest_is_the_registrys_own_refusal(client: Client, fake: FakeRegistry) -> None:
    with pytest.raises(Refusal, match="manifest unknown: manifest unknown") as refused:
        await client.remote(fake.host).manifest("1")
    assert refused.value.is_missing


# digests and sizes of manifests


async def test_manifest_asked_by_digest_must_have_it(client: Client, fake: FakeRegistry) -> None:
    digest = fake.add_image("a/b", "1", b"{}", [])
    fake.manifests["a/b", digest] = (DOCKER_MANIFEST, b'{"other": 1}')
    with pytest.raises(Damaged, match="not " + digest):
        await client.remote(fake.host).manifest(digest)


async def test_endless_manifest_is_cut_off(client: Client, fake: FakeRegistry) -> None:
    fake.add_manifest("a/b", "1", b" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(InvalidParameter, match="more than 4194304 bytes"):
        await client.remote(fake.host).manifest("1")


# who is asking


async def test_basic_credentials_answer_a_basic_challenge(client: Client, fake: FakeRegistry) -> None:
    digest = fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(wants_basic(ME))
    assert (await client.remote(fake.host, user=ME).manifest("1")).digest == digest
    with pytest.raises(Refusal, match="authentication required") as refused:
        await client.remote(fake.host).manifest("1")
    assert refused.value.is_denied


async def test_token_is_fetched_from_the_realm_and_kept(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_image("a/b", "1", b"{}", [])
    fake.add_blob(DATA)
    fake.hooks.append(wants_token(other))
    other.hooks.append(gives_token(token="t0ken", expires_in=300))
    remote = client.remote(fake.host, user=ME)
    await remote.manifest("1")
    assert await read(remote) == DATA
    (asked,) = other.asked("GET", "/token")
    assert asked.query == {"service": 'my, "reg"', "scope": "repository:a/b:pull", "account": "me"}
    assert asked.headers["authorization"] == basic(ME)
    # The password itself goes to the realm alone.
    assert {seen.headers.get("authorization", "Bearer t0ken") for seen in fake.seen} == {"Bearer t0ken"}


async def test_token_is_fetched_without_credentials_for_nobody(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(wants_token(other))
    other.hooks.append(gives_token(access_token="t0ken"))
    await client.remote(fake.host).manifest("1")
    assert "authorization" not in other.asked("GET", "/token")[0].headers


async def test_token_that_ran_out_is_fetched_again(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(wants_token(other, token="second"))
    tokens = iter(["first", "second"])

    async def token(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"token": next(tokens)})

    other.hooks.append(token)
    await client.remote(fake.host).manifest("1")
    assert len(other.asked("GET", "/token")) == 2


async def test_identity_token_is_refreshed_by_post(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(wants_token(other))
    other.hooks.append(gives_token(access_token="t0ken"))
    await client.remote(fake.host, user=Credentials(identity_token="refresh me")).manifest("1")
    (asked,) = other.asked("POST", "/token")
    assert b"grant_type=refresh_token&refresh_token=refresh+me" in asked.body


async def test_registry_token_is_sent_as_it_is(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_image("a/b", "1", b"{}", [])
    fake.hooks.append(wants_token(other, token="given"))
    await client.remote(fake.host, user=Credentials(registry_token="given")).manifest("1")
    assert not other.seen


async def test_wrong_password_is_unauthorized(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.hooks.append(wants_token(other))
    other.hooks.append(
        once(
            lambda: web.json_response({"details": "incorrect username or password"}, status=401), "/token", 9
        )
    )
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        await client.remote(fake.host, user=ME).manifest("1")


async def test_realm_over_plain_http_of_a_secure_registry_gets_no_password(other: FakeRegistry) -> None:
    from wherryd.registry.challenge import Challenge
    from wherryd.registry.tokens import Authorizer

    client = Client()
    try:
        authorizer = Authorizer(client.transport, Endpoint("https://reg.example"), ME)
        authorizer.challenged([Challenge("bearer", {"realm": f"http://{other.host}/token"})], frozenset())
        with pytest.raises(Unavailable, match="over plain HTTP"):
            await authorizer.header(frozenset({"repository:a/b:pull"}))
        assert not other.seen
    finally:
        await client.transport.close()


async def test_redirected_blob_is_fetched_without_credentials(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.hooks.append(wants_basic(ME))
    other.add_blob(DATA)
    # The storage's escapes must arrive as they were signed.
    target = f"http://{other.host}/v2/x/blobs/{BLOB.digest}?sig=a%2Fb%2Bc"

    async def redirect(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=307, headers={"Location": target}) if "/blobs/" in request.path else None

    fake.hooks.append(redirect)
    assert await read(client.remote(fake.host, user=ME)) == DATA
    (asked,) = other.seen
    assert asked.query == {"sig": "a/b+c"}
    assert "authorization" not in asked.headers
    assert fake.asked("GET", "/blobs/")[-1].headers["authorization"] == basic(ME)


async def test_challenge_of_a_redirect_target_is_not_answered(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    other.hooks.append(wants_basic(ME))

    async def redirect(request: web.Request) -> web.StreamResponse | None:
        return (
            web.Response(status=307, headers={"Location": f"http://{other.host}/x"})
            if "/blobs/" in request.path
            else None
        )

    fake.hooks += [redirect]
    with pytest.raises(Refusal):
        await read(client.remote(fake.host, user=ME))
    assert all("authorization" not in seen.headers for seen in other.seen)


async def test_endless_redirect_ends(client: Client, fake: FakeRegistry) -> None:
    fake.hooks.append(once(lambda: web.Response(status=302, headers={"Location": "/v2/again"}), "/v2/a", 99))
    with pytest.raises(Unavailable, match="more than 10 redirects"):
        await client.remote(fake.host).manifest("1")


async def test_upload_to_another_host_gets_no_credentials(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.hooks.append(wants_basic(ME))
    other.uploads["9"] = bytearray()

    async def elsewhere(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        location = f"http://{other.host}/v2/a/b/blobs/uploads/9?state=opaque%2Fvalue"
        return web.Response(status=202, headers={"Location": location})

    fake.hooks.append(elsewhere)
    await client.uploader(fake.host, ME).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert other.blobs[BLOB.digest] == DATA
    assert all("authorization" not in seen.headers for seen in other.seen)


# mirrors


@pytest.fixture
async def hub(
    fake: FakeRegistry, other: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """A client whose Docker Hub is `fake`, with `other` as its mirror."""
    client = Client(RegistryOptions(mirrors=(f"http://{other.host}",)))

    async def endpoints(domain: str, *, mirrors: bool) -> list[Endpoint]:
        mirror = Endpoint(f"http://{other.host}", secure=False, mirror=True)
        return [*([mirror] if mirrors else []), Endpoint(f"http://{fake.host}", secure=False)]

    monkeypatch.setattr(client.hosts, "endpoints", endpoints)
    yield client
    await client.transport.close()


async def test_mirror_is_asked_first_and_without_credentials(
    hub: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    other.add_image("a/b", "1", b"{}", [])
    other.hooks.append(
        once(lambda: refuse(401, "UNAUTHORIZED", "x", **{"WWW-Authenticate": "Basic realm=r"}), "/v2/")
    )
    await hub.remote("docker.io", user=ME).manifest("1")
    assert not fake.asked("GET", "/manifests/")
    assert all("authorization" not in seen.headers for seen in other.seen)


async def test_what_the_mirror_lacks_comes_from_the_registry(
    hub: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    digest = fake.add_image("a/b", "1", b"{}", [DATA])
    assert (await hub.remote("docker.io").manifest("1")).digest == digest
    other.add_image("a/b", "1", b"{}", [])
    remote = hub.remote("docker.io")
    await remote.manifest("1")
    assert await read(remote) == DATA
    assert other.asked("GET", "/blobs/")


async def test_mirror_that_breaks_off_is_resumed_at_the_registry(
    hub: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add_blob(DATA)
    other.add_blob(DATA)
    other.cuts = [Cut(100_000)]
    assert await read(hub.remote("docker.io")) == DATA
    assert "range" in fake.asked("GET", "/blobs/")[0].headers


async def test_push_never_goes_to_a_mirror(hub: Client, fake: FakeRegistry, other: FakeRegistry) -> None:
    await hub.uploader("docker.io").send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert BLOB.digest in fake.blobs
    assert not other.seen


# uploads


async def test_small_blob_goes_in_one_request(client: Client, fake: FakeRegistry) -> None:
    sent: list[int] = []
    await client.uploader(fake.host).send(BLOB, BytesSource(DATA), sent.append)
    assert fake.blobs[BLOB.digest] == DATA
    assert not fake.asked("PATCH", "")
    assert sent[-1] == len(DATA)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MONOLITHIC_BYTES", 1000)
    monkeypatch.setattr(upload, "_PIECE_BYTES", 100_000)


@pytest.mark.usefixtures("pieces")
async def test_large_blob_goes_in_pieces(client: Client, fake: FakeRegistry) -> None:
    await client.uploader(fake.host).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert fake.blobs[BLOB.digest] == DATA
    ranges = [seen.headers["content-range"] for seen in fake.asked("PATCH", "")]
    assert ranges == ["0-99999", "100000-199999", "200000-299999"]


@pytest.mark.usefixtures("pieces")
async def test_interrupted_upload_sends_only_the_rest(client: Client, fake: FakeRegistry) -> None:
    fake.upload_cuts = [60_000, 10_000]
    await client.uploader(fake.host).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert fake.blobs[BLOB.digest] == DATA
    assert len(fake.uploads) == 1
    assert fake.asked("PATCH", "")[0].headers["content-range"].startswith("7")


@pytest.mark.usefixtures("pieces")
async def test_upload_whose_session_was_lost_begins_again(client: Client, fake: FakeRegistry) -> None:
    fake.upload_cuts = [60_000]
    fake.hooks.append(once(lambda: refuse(404, "BLOB_UPLOAD_UNKNOWN", "gone"), "/uploads/1"))
    await client.uploader(fake.host).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert fake.blobs[BLOB.digest] == DATA
    assert len(fake.uploads) == 2


async def test_interrupted_single_request_upload_is_tried_again(client: Client, fake: FakeRegistry) -> None:
    fake.upload_cuts = [60_000, 0]
    await client.uploader(fake.host).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert fake.blobs[BLOB.digest] == DATA


async def test_blob_is_mounted_where_it_is_and_sent_where_not(client: Client, fake: FakeRegistry) -> None:
    uploader = client.uploader(fake.host)
    assert await uploader.has(BLOB.digest) is None
    assert not await uploader.mount(BLOB.digest, "c/d")
    assert not fake.uploads, "the upload that the registry began instead is given up"
    fake.add_blob(DATA)
    assert await uploader.mount(BLOB.digest, "c/d")
    assert await uploader.has(BLOB.digest) == len(DATA)


async def test_push_asks_for_the_right_to_push(
    client: Client, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.hooks.append(wants_token(other))
    other.hooks.append(gives_token(token="t0ken"))
    await client.uploader(fake.host, ME).mount(BLOB.digest, "c/d")
    scopes = [dict.fromkeys(seen.query) and seen.query["scope"] for seen in other.asked("GET", "/token")]
    assert "repository:a/b:pull,push" in scopes
    assert len(scopes) == 2, "the upload is given up with the plain right"


async def test_manifest_stored_under_another_digest_is_an_error(client: Client, fake: FakeRegistry) -> None:
    fake.hooks.append(
        once(lambda: web.Response(status=201, headers={"Docker-Content-Digest": sha256(b"x")}), "/manifests/")
    )
    with pytest.raises(Unavailable, match="instead of"):
        await client.uploader(fake.host).put_manifest(RawManifest(b"{}", DOCKER_MANIFEST, sha256(b"{}")), "1")


async def test_upload_that_is_refused_is_not_repeated(client: Client, fake: FakeRegistry) -> None:
    fake.hooks.append(once(lambda: refuse(403, "DENIED", "read only"), "/uploads/", 9))
    with pytest.raises(Refusal, match="read only"):
        await client.uploader(fake.host).send(BLOB, BytesSource(DATA), lambda _sent: None)
    assert len(fake.asked("POST", "")) == 1


# tags, search, login


async def test_tags_are_read_over_all_pages(client: Client, fake: FakeRegistry) -> None:
    async def tags(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith("/tags/list"):
            return None
        if "last" in request.query:
            return web.json_response({"name": "a/b", "tags": ["3"]})
        link = '</v2/a/b/tags/list?last=2&n=2>; rel="next"'
        return web.json_response({"name": "a/b", "tags": ["1", "2"]}, headers={"Link": link})

    fake.hooks.append(tags)
    assert await client.remote(fake.host).tags() == ["1", "2", "3"]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry(retries=QUICK)
    yield made
    await made.close()


def results(*names: str) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/v1/search":
            return None
        found = [
            {"name": name, "star_count": number, "is_official": number > 1}
            for number, name in enumerate(names)
        ]
        return web.json_response({"query": request.query["q"], "num_results": len(found), "results": found})

    return hook


async def test_search_asks_the_named_registry_and_filters_here(
    registry: Registry, fake: FakeRegistry
) -> None:
    fake.hooks.append(results("x", "y", "z"))
    found = await registry.search(
        f"{fake.host}/word", limit=0, filters={"stars": ["1"]}, credentials=ANONYMOUS
    )
    assert [item["name"] for item in found] == ["y", "z"]
    assert found[1] == {
        "name": "z",
        "star_count": 2,
        "is_official": True,
        "is_automated": False,
        "description": "",
    }
    found = await registry.search(
        f"{fake.host}/word", limit=1, filters={"is-official": ["true"]}, credentials=ANONYMOUS
    )
    assert [item["name"] for item in found] == ["z"]
    assert fake.asked("GET", "/v1/search")[-1].query == {"q": "word", "n": "1"}


async def test_registry_without_search_is_said_so(registry: Registry, fake: FakeRegistry) -> None:
    with pytest.raises(NotSupported, match=f"{fake.host} has no search"):
        await registry.search(f"{fake.host}/word", limit=0, filters={}, credentials=ANONYMOUS)


@pytest.mark.parametrize(
    ("term", "limit", "filters"),
    [
        ("h.example/x", 101, {}),
        ("http://x/y", 0, {}),
        ("h.example/x", 0, {"stars": ["many"]}),
        ("h.example/x", 0, {"colour": ["red"]}),
        ("h.example/x", 0, {"is-official": ["perhaps"]}),
    ],
)
async def test_search_refuses_what_makes_no_sense(
    registry: Registry, term: str, limit: int, filters: dict[str, list[str]]
) -> None:
    with pytest.raises(InvalidParameter):
        await registry.search(term, limit=limit, filters=filters, credentials=ANONYMOUS)


async def test_login_proves_the_password(registry: Registry, fake: FakeRegistry) -> None:
    fake.hooks.append(wants_basic(ME))
    good = Credentials(username=ME.username, password=ME.password, server=fake.host)
    assert await registry.login(good) == ""
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        await registry.login(Credentials(username="me", password="wrong", server=fake.host))


async def test_login_with_tokens_brings_an_identity_token(
    registry: Registry, fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.hooks.append(wants_token(other))
    other.hooks.append(gives_token(token="t0ken", refresh_token="keep me"))
    who = Credentials(username="me", password="p", server=f"http://{fake.host}/v2/")
    assert await registry.login(who) == "keep me"
    assert other.asked("GET", "/token")[-1].query["offline_token"] == "true"


async def test_inspect_gives_the_descriptor_and_platforms(registry: Registry, fake: FakeRegistry) -> None:
    config = json.dumps({"os": "linux", "architecture": "arm64", "variant": "v8"}).encode()
    digest = fake.add_image("a/b", "1", config, [])
    found = await registry.inspect(fake.host, "a/b", "1", ANONYMOUS)
    assert found["Descriptor"]["digest"] == digest
    assert found["Platforms"] == [{"architecture": "arm64", "os": "linux", "variant": "v8"}]


async def test_reader_that_leaves_early_leaves_nothing_open(client: Client, fake: FakeRegistry) -> None:
    fake.add_blob(DATA)
    stream = client.remote(fake.host).blob(BLOB)
    async for _ in stream:
        break
    await stream.aclose()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) < 10
