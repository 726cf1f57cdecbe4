"""What an image is made of, manifest by manifest. Engine API 1.48, ImageManifestSummary and Descriptor.

Docker keeps archives and unpacked layers; here layers are only kept unpacked (docs/decisions/005), so that
the content store's share of an image is its config, its manifest and the recipes of its layers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from wherryd.content.store import ContentStore
from wherryd.images import saving
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Image
from wherryd.images.indexes import StoredIndex
from wherryd.images.layers import LayerStore
from wherryd.images.origins import Origins
from wherryd.registry import manifests
from wherryd.registry.manifests import Entry, RawManifest

Document = dict[str, Any]
#: Of a descriptor, what the Engine API's OCIDescriptor has.
_FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")


class Summaries:
    """containers: image id -> ids of the containers made from it."""

    def __init__(
        self,
        catalog: ImageCatalog,
        layers: LayerStore,
        content: ContentStore,
        origins: Origins,
        containers: Callable[[str], Sequence[str]],
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._origins = origins
        self._containers = containers

    def descriptor(self, image: Image) -> Document:
        """Of what the image's name stands for: its index, or its manifest."""
        stored = self._catalog.index(image.index)
        return (stored.raw if stored else self.manifest(image)).descriptor.document()

    def manifest_descriptor(self, image: Image) -> Document:
        """Of the image's own manifest, with its platform."""
        return {**self.manifest(image).descriptor.document(), "platform": platform(image)}

    def manifest(self, image: Image) -> RawManifest:
        """The one it came with, or went with to a registry, last; else the one that `save` writes."""
        known = self._origins.manifests(image.id)
        return known[0] if known else saving.manifest(image, self._layers, self._content)

    def manifests(self, image: Image) -> list[Document]:
        """Of its index, those that are not here too."""
        stored = self._catalog.index(image.index)
        if stored is None:
            return [self._of_image(image, self.manifest(image), self.manifest_descriptor(image))]
        return [self._of_entry(stored, entry) for entry in stored.index.entries]

    def _of_entry(self, stored: StoredIndex, entry: Entry) -> Document:
        descriptor = {key: entry.document[key] for key in _FIELDS if entry.document.get(key) is not None}
        if image_id := stored.image_of(entry):
            image = self._catalog.get(image_id)
            known = {raw.digest: raw for raw in self._origins.manifests(image_id)}
            return self._of_image(image, known[entry.descriptor.digest], descriptor)
        size = self._attestation_bytes(entry) if stored.is_here(entry) else 0
        document: Document = {
            "ID": entry.descriptor.digest,
            "Descriptor": descriptor,
            "Available": stored.is_here(entry),
            "Size": {"Content": size, "Total": size},
            "Kind": "attestation" if entry.is_attestation else "image" if entry.is_image else "unknown",
        }
        if entry.is_attestation:
            document["AttestationData"] = {"For": entry.attests}
        elif entry.is_image:
            document["ImageData"] = {
                "Platform": descriptor.get("platform") or {},
                "Containers": [],
                "Size": {"Unpacked": 0},
            }
        return document

    def _of_image(self, image: Image, raw: RawManifest, descriptor: Document) -> Document:
        recipes = {layer.recipe for layer in self._layers.stack(image.chain_id)}
        content = len(raw.body) + sum(map(self._content.size, {image.id, *recipes}))
        return {
            "ID": raw.digest,
            "Descriptor": descriptor,
            "Available": True,
            "Size": {"Content": content, "Total": content + image.size_bytes},
            "Kind": "image",
            "ImageData": {
                "Platform": descriptor.get("platform") or platform(image),
                "Containers": list(self._containers(image.id)),
                "Size": {"Unpacked": image.size_bytes},
            },
        }

    def _attestation_bytes(self, entry: Entry) -> int:
        body = self._content.read(entry.descriptor.digest)
        raw = RawManifest(body, entry.descriptor.media_type, entry.descriptor.digest)
        return len(body) + sum({part.digest: part.size for part in manifests.parts(raw)}.values())


def platform(image: Image) -> Document:
    """OCIPlatform, from the image's config."""
    wanted = ("architecture", "os", "os.version", "os.features", "variant")
    return {key: image.config[key] for key in wanted if image.config.get(key)}
