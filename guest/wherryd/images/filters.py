"""Which images a list or a prune means.

Source: Engine API, GET /images/json and POST /images/prune, "filters". Several values of a key: any of
them for `reference`, all of them for labels.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from wherryd import clock
from wherryd.errors import InvalidParameter
from wherryd.images import reference as references
from wherryd.images.image import Image

Filters = Mapping[str, Sequence[str]]

LIST_KEYS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
PRUNE_KEYS = frozenset({"dangling", "label", "label!", "until"})

_FALSE = frozenset({"0", "f", "false", "no"})
_TRUE = frozenset({"1", "t", "true", "yes"})


def check_keys(filters: Filters, accepted: frozenset[str]) -> None:
    """Raises InvalidParameter."""
    for key in filters:
        if key not in accepted:
            raise InvalidParameter(f"invalid filter '{key}'; use one of {', '.join(sorted(accepted))}")


def flag(filters: Filters, key: str) -> bool | None:
    """A boolean filter, None when absent. Raises InvalidParameter."""
    values = {value.lower() for value in filters.get(key, ())}
    if not values:
        return None
    if values <= _TRUE or values <= _FALSE:
        return values <= _TRUE
    raise InvalidParameter(f"invalid filter '{key}=[{' '.join(filters[key])}]'; use true or false")


def select(images: Sequence[Image], filters: Filters, resolve: Callable[[str], Image]) -> list[Image]:
    """Raises InvalidParameter, and NotFound for an image named in before or since."""
    wanted = list(images)
    dangling = flag(filters, "dangling")
    if dangling:
        wanted = [image for image in wanted if not image.tags]
    elif dangling is not None:
        # One that has only a digest is with both, as dockerd lists it.
        wanted = [image for image in wanted if image.tags or image.digests]
    for key, older in (("before", True), ("since", False)):
        for name in filters.get(key, ()):
            limit = age_ns(resolve(name))
            wanted = [
                image for image in wanted if (age_ns(image) < limit if older else age_ns(image) > limit)
            ]
    for text in filters.get("until", ()):
        moment = clock.parse_until(text)
        wanted = [image for image in wanted if age_ns(image) < moment]
    for label in filters.get("label", ()):
        wanted = [image for image in wanted if has_label(image, label)]
    for label in filters.get("label!", ()):
        wanted = [image for image in wanted if not has_label(image, label)]
    patterns = [_pattern(text) for text in filters.get("reference", ())]
    if patterns:
        wanted = [image for image in wanted if any(_named(image, pattern) for pattern in patterns)]
    return wanted


def age_ns(image: Image) -> int:
    try:
        return clock.to_nanoseconds(image.created)
    except ValueError:
        return 0


def has_label(image: Image, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in image.labels and (not equals or image.labels[key] == value)


def matching_names(image: Image, filters: Filters) -> tuple[str, ...]:
    """The tags a `reference` filter lets through: a list shows only these, as Docker's does."""
    patterns = [_pattern(text) for text in filters.get("reference", ())]
    if not patterns:
        return image.tags
    return tuple(tag for tag in image.tags if any(_matches(tag, pattern) for pattern in patterns))


def _named(image: Image, pattern: re.Pattern[str]) -> bool:
    return any(_matches(name, pattern) for name in (*image.tags, *image.digests))


def _matches(name: str, pattern: re.Pattern[str]) -> bool:
    """With its tag or without."""
    return bool(pattern.fullmatch(name) or pattern.fullmatch(references.parse(name).familiar_name))


def _pattern(text: str) -> re.Pattern[str]:
    r"""Go's path.Match: * and ? stop at "/", [a-z] and [^a-z] are sets, \ takes the next as it is."""
    out, i = "", 0
    while i < len(text):
        character = text[i]
        i += 1
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "\\" and i < len(text):
            out += re.escape(text[i])
            i += 1
        elif character == "[":
            end = text.find("]", i + 1)
            if end < 0:
                raise InvalidParameter(f"invalid filter 'reference={text}': a [ without ]")
            body = text[i:end].replace("\\", "\\\\")
            out += f"[{body}]"
            i = end + 1
        else:
            out += re.escape(character)
    try:
        return re.compile(out)
    except re.error as exc:
        raise InvalidParameter(f"invalid filter 'reference={text}': {exc}") from exc
