"""What the fields of image documents are: checked before anything is made of them.

Source: OCI image-spec, descriptor.md, manifest.md, image-index.md, config.md, image-layout.md. As with
Docker, null stands for a field that is not there, and unknown fields are left alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wherryd.errors import InvalidParameter

#: RFC 6838, section 4.2.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True)
class Each:
    """A list, or with `named` an object of any names, whose values are all of one shape."""

    of: "Shape"
    named: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A string that a pattern fits. what: for the message. An empty one is as if it were not there."""

    pattern: re.Pattern[str]
    what: str


#: A type; an object with the shapes of its known fields; a list or a map; a word.
Shape = type | Mapping[str, Any] | Each | Word

_NAMES: Final = {str: "a string", int: "a whole number", bool: "true or false", dict: "an object"}
_TEXTS: Final = Each(str, named=True)
_OBJECTS: Final = Each(dict, named=True)
_KIND: Final = Word(_MEDIA_TYPE, "a media type")
_PLATFORM: Final[Mapping[str, Any]] = {
    "architecture": str,
    "os": str,
    "os.version": str,
    "os.features": Each(str),
    "variant": str,
}
DESCRIPTOR: Final[Shape] = {
    "mediaType": _KIND,
    "digest": str,
    "size": int,
    "urls": Each(str),
    "data": str,
    "artifactType": _KIND,
    "annotations": _TEXTS,
    "platform": _PLATFORM,
}
MANIFEST: Final[Shape] = {
    "schemaVersion": int,
    "mediaType": _KIND,
    "artifactType": _KIND,
    "config": DESCRIPTOR,
    "subject": DESCRIPTOR,
    "layers": Each(DESCRIPTOR),
    "annotations": _TEXTS,
}
INDEX: Final[Shape] = {
    "schemaVersion": int,
    "mediaType": _KIND,
    "artifactType": _KIND,
    "subject": DESCRIPTOR,
    "manifests": Each(DESCRIPTOR),
    "annotations": _TEXTS,
}
CONFIG: Final[Shape] = {
    "created": str,
    "author": str,
    **_PLATFORM,
    "config": {
        "User": str,
        "ExposedPorts": _OBJECTS,
        "Env": Each(str),
        "Entrypoint": Each(str),
        "Cmd": Each(str),
        "Volumes": _OBJECTS,
        "WorkingDir": str,
        "Labels": _TEXTS,
        "StopSignal": str,
        "ArgsEscaped": bool,
    },
    "rootfs": {"diff_ids": Each(str), "type": Word(re.compile("layers"), '"layers"')},
    "history": Each({"created": str, "author": str, "created_by": str, "comment": str, "empty_layer": bool}),
}
LAYOUT: Final[Shape] = {"imageLayoutVersion": Word(re.compile(r"1\.0\.0"), '"1.0.0"')}


def check(value: Any, shape: Shape, what: str, where: str = "") -> None:
    """what: the document, for the message; where: the place in it. Raises InvalidParameter."""
    if value is None:
        return
    if isinstance(shape, Word):
        if not isinstance(value, str) or (value and not shape.pattern.fullmatch(value)):
            raise _wrong(what, where, value, shape.what)
    elif isinstance(shape, Each):
        kind = dict if shape.named else list
        if not isinstance(value, kind):
            raise _wrong(what, where, value, "an object" if shape.named else "a list")
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            check(each, shape.of, what, f"{where}.{key}" if shape.named else f"{where}[{key}]")
    elif isinstance(shape, type):
        # For Python true is a whole number.
        if not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
            raise _wrong(what, where, value, _NAMES[shape])
    else:
        if not isinstance(value, dict):
            raise _wrong(what, where, value, "an object")
        for key, each in shape.items():
            if key in value:
                check(value[key], each, what, f"{where}.{key}")


def _wrong(what: str, where: str, value: Any, wanted: str) -> InvalidParameter:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return InvalidParameter(f"{what} is broken: {where.lstrip('.') or 'it'} is {shown}, not {wanted}")
