"""What registries and clients write, as values: challenges, credentials, names, manifests, refusals."""

import base64
import contextlib
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import certificates
import pytest

from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.registry import challenge, manifests, refusals
from wherryd.registry.credentials import ANONYMOUS, Credentials, from_document, from_header
from wherryd.registry.hosts import Endpoint, Hosts, RegistryOptions, domain_of_server
from wherryd.registry.manifests import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    RawManifest,
)

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "reg",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('BASIC Realm="a \\"quoted\\", one"', [("basic", {"realm": 'a "quoted", one'})]),
        (
            'Basic realm=x, Bearer realm = "y" , service=z',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        (
            'Negotiate abc==, Digest, Basic realm="x"',
            [("negotiate", {}), ("digest", {}), ("basic", {"realm": "x"})],
        ),
        ("Negotiate", [("negotiate", {})]),
        (', ,Basic realm=""', [("basic", {"realm": ""})]),
        ("", []),
        ("@@@", []),
        ('Bearer realm="never closed', [("bearer", {})]),
    ],
)
def test_challenges_are_read_as_the_rfc_writes_them(header: str, expected: list[Any]) -> None:
    found = [(one.scheme, dict(one.parameters)) for one in challenge.parse([header])]
    assert found[: len(expected)] == expected
    if "never closed" not in header:
        assert len(found) == len(expected)


def packed(document: Any, *, strip: bool = False, plain: bool = False) -> str:
    data = json.dumps(document, ensure_ascii=False).encode()
    text = (base64.b64encode if plain else base64.urlsafe_b64encode)(data).decode()
    return text.rstrip("=") if strip else text


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_auth_header_is_read_in_every_base64_that_clients_send(strip: bool, plain: bool) -> None:
    document = {"username": "käptn", "password": "ÿ?>~pass", "serveraddress": "reg.example:5000"}
    found = from_header(packed(document, strip=strip, plain=plain))
    assert found == Credentials(username="käptn", password="ÿ?>~pass", server="reg.example:5000")


@pytest.mark.parametrize("header", ["", "e30=", "bnVsbA==", "%%%", packed([1]), packed({}), "x" * 100_000])
def test_auth_header_that_says_nothing_is_nobody(header: str) -> None:
    assert from_header(header) == ANONYMOUS
    assert from_header(header).anonymous


def test_packed_auth_of_a_config_file_is_read_too() -> None:
    assert from_document({"auth": base64.b64encode(b"me:a:b").decode()}).password == "a:b"


def test_secrets_do_not_show_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    secret = Credentials(username="me", password="s3cret", identity_token="s3cret", registry_token="s3cret")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").debug("%s %r", secret, [secret])
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("server", "domain", "kept"),
    [
        ("https://index.docker.io/v1/", "docker.io", True),
        ("registry-1.docker.io", "docker.io", True),
        ("", "reg.example", True),
        ("http://reg.example:5000/v2/", "reg.example:5000", True),
        ("reg.example", "evil.example", False),
        ("reg.example", "reg.example:5000", False),
        ("https://index.docker.io/v1/", "reg.example", False),
    ],
)
def test_credentials_are_for_the_registry_they_name(server: str, domain: str, kept: bool) -> None:
    assert Credentials(username="me", server=server).for_domain(domain).anonymous is not kept


def test_server_addresses_become_domains() -> None:
    assert domain_of_server("https://INDEX.docker.io/v1/") == "docker.io"
    assert domain_of_server("http://localhost:5000/v2/") == "localhost:5000"
    assert domain_of_server("") == "docker.io"


@pytest.mark.parametrize(
    "domain", ["reg.example", "localhost:5000", "127.0.0.1", "[::1]:5000", "under_score", "a-b.example:1"]
)
async def test_names_and_addresses_of_registries_are_taken(domain: str) -> None:
    assert (await Hosts(RegistryOptions()).endpoints(domain, mirrors=False))[0].host == domain


@pytest.mark.parametrize(
    "domain",
    ["\x92J", "a..b", "reg.example:99999", "reg.example:0", "[:::]", "a b", "x" * 64, "-a", "a@b", "a/b"],
)
async def test_what_no_registry_can_be_called_is_refused(domain: str) -> None:
    with pytest.raises(InvalidParameter, match="no registry's address"):
        await Hosts(RegistryOptions()).endpoints(domain, mirrors=False)


async def test_hub_has_its_own_host_and_mirrors_come_first() -> None:
    hosts = Hosts(RegistryOptions(mirrors=("https://m.example/",)))
    assert await hosts.endpoints("docker.io", mirrors=True) == [
        Endpoint("https://m.example", mirror=True),
        Endpoint("https://registry-1.docker.io"),
    ]
    assert len(await hosts.endpoints("docker.io", mirrors=False)) == 1
    assert await hosts.endpoints("reg.example", mirrors=True) == [Endpoint("https://reg.example")]


@pytest.mark.parametrize(
    ("domain", "insecure"),
    [
        ("localhost:5000", True),
        ("127.8.9.1:5000", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("10.2.2.3:5000", False),
        ("named.example:5000", True),
        ("named.example", False),
        ("any.example:1", True),
        ("192.0.2.1", False),
    ],
)
async def test_http_is_for_loopback_and_for_registries_named_insecure(domain: str, insecure: bool) -> None:
    options = RegistryOptions(insecure=("10.1.0.0/16", "named.example:5000", "any.example", "192.0.2.9"))
    endpoints = await Hosts(options).endpoints(domain, mirrors=False)
    assert [endpoint.url for endpoint in endpoints] == [f"https://{domain}", f"http://{domain}"][
        : 1 + insecure
    ]
    assert all(endpoint.secure is not insecure for endpoint in endpoints)


@pytest.mark.parametrize("url", ["m.example", "ftp://m.example", "https://u:p@m.example", "https://m/?x=1"])
def test_mirror_must_be_a_url(url: str) -> None:
    with pytest.raises(InvalidParameter, match="--registry-mirror"):
        Hosts(RegistryOptions(mirrors=(url,)))


def test_broken_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "reg.example:5000").mkdir()
    (tmp_path / "reg.example:5000" / "ca.crt").write_text("no certificate")
    hosts = Hosts(RegistryOptions(certificates=(tmp_path, tmp_path / "absent")))
    with pytest.raises(InvalidParameter, match=r"ca\.crt"):
        hosts.tls(Endpoint("https://reg.example:5000"))
    hosts.tls(Endpoint("https://reg.example"))


# manifests


def raw(document: Any, media_type: str = DOCKER_MANIFEST) -> RawManifest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return RawManifest(body, media_type, DIGEST)


def descriptor(media_type: str = DOCKER_LAYER, **changes: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 7, **changes}


def image(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG),
        "layers": [descriptor()],
        **changes,
    }


def test_manifest_is_read_whatever_the_server_calls_it() -> None:
    for media_type in (DOCKER_MANIFEST, "application/json", ""):
        parsed = manifests.parse(raw(image(), media_type))
        assert parsed == Manifest(
            Descriptor(DOCKER_CONFIG, DIGEST, 7), (Descriptor(DOCKER_LAYER, DIGEST, 7),)
        )


@pytest.mark.parametrize(
    ("document", "media_type", "error", "message"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, "application/json", NotSupported, "schema 1"),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws", NotSupported, "push it again"),
        (b"{", DOCKER_MANIFEST, InvalidParameter, "not JSON"),
        (b"[]", DOCKER_MANIFEST, InvalidParameter, "no JSON object"),
        (b"[" * 100_000, DOCKER_MANIFEST, InvalidParameter, "not JSON"),
        ({"schemaVersion": 2}, "", InvalidParameter, "not known"),
        (image(manifests=[]), DOCKER_MANIFEST, InvalidParameter, "both layers and manifests"),
        (image(mediaType=DOCKER_LIST), DOCKER_MANIFEST, InvalidParameter, "came as"),
        (image(config=None), DOCKER_MANIFEST, InvalidParameter, "descriptor"),
        (image(config=descriptor("application/vnd.cncf.helm.config.v1+json")), DOCKER_MANIFEST,
         InvalidParameter, "no container image"),
        (image(layers=[descriptor("application/x-chart")]), DOCKER_MANIFEST, InvalidParameter, "no layer"),
        (image(layers=[descriptor(DOCKER_LAYER.replace("diff", "foreign.diff"))]), DOCKER_MANIFEST,
         NotSupported, "outside of the registry"),
        (image(layers=[descriptor(digest="sha256:../../etc")]), DOCKER_MANIFEST, InvalidParameter, "sha256"),
        (image(layers=[descriptor(size=-1)]), DOCKER_MANIFEST, InvalidParameter, "no size"),
        (image(layers=[descriptor(size=True)]), DOCKER_MANIFEST, InvalidParameter, "whole number"),
        (image(layers=[descriptor()] * 129), DOCKER_MANIFEST, InvalidParameter, "the limit is 128"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_with_the_reason(
    document: Any, media_type: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        manifests.parse(raw(document, media_type))


def index(*platforms: str) -> Index:
    entries = [
        descriptor(
            OCI_MANIFEST,
            digest=f"sha256:{number:064x}",
            platform=dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False)),
        )
        for number, text in enumerate(platforms)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    parsed = manifests.parse(raw(document, OCI_INDEX))
    assert isinstance(parsed, Index)
    return parsed


@pytest.mark.parametrize(
    ("platforms", "wanted", "chosen"),
    [
        (["linux/arm64/v8", "linux/amd64"], Platform("linux", "amd64"), 1),
        (["linux/amd64", "linux/arm64"], Platform("linux", "arm64", "v8"), 1),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], Platform("linux", "arm", "v7"), 1),
        (["linux/arm/v5", "linux/arm/v6"], Platform("linux", "arm", "v7"), 1),
        (["unknown/unknown", "linux/amd64/v2", "linux/amd64"], Platform("linux", "amd64"), 2),
        (["windows/amd64", "linux/amd64", "linux/amd64"], Platform("linux", "amd64"), 1),
    ],
)
def test_best_platform_of_an_index_is_chosen(platforms: list[str], wanted: Platform, chosen: int) -> None:
    assert manifests.choose(index(*platforms), wanted).descriptor.digest == f"sha256:{chosen:064x}"


def test_absent_platform_is_dockers_sentence_and_names_what_there_is() -> None:
    offered = index("linux/arm/v7", "linux/amd64/v3", "unknown/unknown")
    with pytest.raises(
        NotFound, match=r"no matching manifest for linux/amd64 in .*linux/arm/v7, linux/amd64/v3\)"
    ):
        manifests.choose(offered, Platform("linux", "amd64"))
    with pytest.raises(NotFound):
        manifests.choose(offered, Platform("linux", "arm", "v6"))


def test_manifest_is_written_as_docker_writes_it() -> None:
    made = manifests.build(
        Descriptor("x", DIGEST, 1), [Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", DIGEST, 2)]
    )
    assert made.body.startswith(b'{\n   "schemaVersion": 2,\n   "mediaType": "' + DOCKER_MANIFEST.encode())
    assert manifests.parse(made) == Manifest(
        Descriptor(DOCKER_CONFIG, DIGEST, 1), (Descriptor(DOCKER_LAYER, DIGEST, 2),)
    )


def test_manifest_with_a_zstd_layer_is_ocis() -> None:
    zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    made = manifests.build(
        Descriptor("x", DIGEST, 1), [Descriptor(zstd, DIGEST, 2), Descriptor(DOCKER_LAYER, DIGEST, 3)]
    )
    parsed = manifests.parse(made)
    assert made.media_type == OCI_MANIFEST
    assert isinstance(parsed, Manifest)
    assert [layer.media_type for layer in parsed.layers] == [zstd, zstd.replace("zstd", "gzip")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
         "manifest unknown: manifest unknown"),
        (b'{"errors":[{"code":"DENIED"}]}', "denied: denied"),
        (b'{"details":"incorrect username or password"}', "incorrect username or password"),
        (b"<html>teapot</html>", "the registry answered with status 418"),
        (b"plain\nwords", "the registry answered with status 418: plain words"),
        (b'{"errors":7}', "the registry answered with status 418: {\"errors\":7}"),
        (b"\xff", "the registry answered with status 418: \N{REPLACEMENT CHARACTER}"),
    ],
)  # fmt: skip
def test_refusals_are_read_whatever_they_are(body: bytes, text: str) -> None:
    assert str(refusals.parse(418, body)) == text


# certificates


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert all(end.version() for end in ends)


@pytest.mark.parametrize("trusted", ["ca.pem", "server.pem", ""])
def test_authority_of_plain_openssl_is_trusted_on_every_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    """Or the registry's own certificate in its place; and nothing else."""
    made = certificates.make(tmp_path / "made")
    place = tmp_path / "certs.d" / "reg.example:5000"
    place.mkdir(parents=True)
    if trusted:
        (place / "ca.crt").write_bytes(Path(made[trusted]).read_bytes())
    default = ssl.create_default_context

    def as_python_3_13() -> ssl.SSLContext:
        context = default()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13)
    context = Hosts(RegistryOptions(certificates=(tmp_path / "certs.d",))).tls(
        Endpoint("https://reg.example:5000")
    )
    if trusted:
        shake_hands(context, made.server(ask_client=False))
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(context, made.server(ask_client=False))
