"""Multi-platform images in a real registry: made here without an engine, with all that can be in an index."""

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from registry_rig import RealRegistry

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
Document = dict[str, Any]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass
class Made:
    """What was put there. platforms: "linux/arm64" -> its descriptor in the index. configs: -> image id."""

    digest: str
    document: Document
    platforms: dict[str, Document] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)

    def manifest(self, platform: str) -> str:
        return str(self.platforms[platform]["digest"])


class Publisher:
    """Puts into one repository what no engine of ours made: its archives cannot be made again here."""

    def __init__(self, registry: RealRegistry, path: str) -> None:
        self.registry, self.path = registry, path
        self._base = f"http://{registry.host}/v2/{path}"

    def _send(self, url: str, method: str, data: bytes = b"", kind: str = "") -> str:
        """The answer's Location."""
        request = urllib.request.Request(  # noqa: S310
            url, data=data, method=method, headers={"Content-Type": kind or "application/octet-stream"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - of loopback
            return str(answer.headers["Location"])

    def blob(self, data: bytes) -> str:
        digest = digest_of(data)
        place = self._send(f"{self._base}/blobs/uploads/", "POST")
        self._send(f"{place}{'&' if '?' in place else '?'}digest={digest}", "PUT", data)
        return digest

    def manifest(self, document: Document, reference: str = "") -> tuple[str, int]:
        """Under its digest without a reference. (digest, length)."""
        body = compact(document)
        url = f"{self._base}/manifests/{reference or digest_of(body)}"
        self._send(url, "PUT", body, document["mediaType"])
        return digest_of(body), len(body)

    def image(self, platform: str, layer: bytes, **config: Any) -> tuple[Document, str]:
        """(its descriptor for an index, its config's digest). layer: a tar."""
        names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        body = compact(
            {**names, "config": config, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}
        )
        packed = gzip.compress(layer, 9, mtime=1)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": self.blob(body), "size": len(body)},
            "layers": [{"mediaType": OCI_LAYER, "digest": self.blob(packed), "size": len(packed)}],
        }
        digest, size = self.manifest(document)
        descriptor = {"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": names}
        return descriptor, digest_of(body)

    def attestation(self, about: Document) -> Document:
        statement = compact({"_type": "https://in-toto.io/Statement/v0.1", "subject": [about["digest"]]})
        kind = "application/vnd.in-toto+json"
        config = compact(
            {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}
        )
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": self.blob(config), "size": len(config)},
            "layers": [{"mediaType": kind, "digest": self.blob(statement), "size": len(statement)}],
        }
        digest, size = self.manifest(document)
        return {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": size,
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": about["digest"],
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }

    def index(self, tag: str, layers: dict[str, bytes], *, attested: bool = False, **config: Any) -> Made:
        """layers: platform -> its one layer."""
        platforms: dict[str, Document] = {}
        configs: dict[str, str] = {}
        for platform, layer in layers.items():
            platforms[platform], configs[platform] = self.image(platform, layer, **config)
        entries = list(platforms.values())
        if attested:
            entries += [self.attestation(entry) for entry in platforms.values()]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        digest, _ = self.manifest(document, tag)
        return Made(digest, document, platforms, configs)


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1_600_000_000
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
