"""Functions a template may call: Go's own and those Docker adds (json, join, split, title, ...)."""

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from wherry.cli.output import values


class CallError(Exception):
    """A function does not take these arguments. The evaluator adds where."""


def _json(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(item, values.Row) for item in value):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, values.Struct) and not isinstance(value, values.Tagged):
        # Field by field, since rows may be below.
        return "{" + ",".join(f"{json.dumps(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, values.Row):
        # Docker marshals rows by another path, which sorts the names and escapes for HTML.
        dumped = json.dumps(values.plain(value), separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        for char in "<>&":
            dumped = dumped.replace(char, f"\\u{ord(char):04x}")
        return dumped
    return json.dumps(values.plain(value), separators=(",", ":"), ensure_ascii=False)


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise CallError(f"wrong type for value; expected string; got {type_name(value)} in {name}")
    return value


def type_name(value: Any) -> str:
    """What Go would call the type."""
    match value:
        case None | values.NilPointer():
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list() | tuple():
            return "[]interface {}"
        case _:
            return "map[string]interface {}"


def _join(items: Any, separator: Any) -> str:
    glue = _string(separator, "join")
    if items is None or isinstance(items, values.NilPointer):
        return ""
    if isinstance(items, list | tuple):
        return glue.join(values.text(item) for item in items)
    raise CallError(f"wrong type for value; expected []string; got {type_name(items)}")


def _split(value: Any, separator: str) -> list[str]:
    subject = _string(value, "split")
    return subject.split(separator) if separator else list(subject)


def _title(value: Any) -> str:
    return re.sub(r"(?<!\w)[^\W\d_]", lambda found: found[0].upper(), _string(value, "title"))


def _pad(value: Any, before: int, after: int) -> str:
    subject = _string(value, "pad")
    return " " * before + subject + " " * after if subject else subject


def _upper(value: Any) -> str:
    """Letter by letter: what becomes two letters in capitals stays as it is."""
    return "".join(char.upper() if len(char.upper()) == 1 else char for char in _string(value, "upper"))


def _truncate(value: Any, length: int) -> str:
    """length: in bytes, as docker cuts."""
    return _string(value, "truncate").encode()[:length].decode(errors="replace")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | tuple) or (isinstance(value, dict) and not isinstance(value, values.Struct)):
        return len(value)
    if value is None:
        raise CallError("error calling len: reflect: call of reflect.Value.Type on zero Value")
    raise CallError(f"error calling len: len of type {type_name(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or isinstance(value, values.NilPointer):
            raise CallError("error calling index: index of untyped nil")
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(f"error calling index: value has type {type_name(key)}; should be string")
            # A missing key gives the zero value: "" in a map of strings (labels, options), else nothing.
            strings = all(isinstance(item, str) for item in value.values())
            value = value.get(key, "" if strings else None)
            continue
        if not isinstance(value, list | tuple | str):
            raise CallError(f"error calling index: can't index item of type {type_name(value)}")
        if not isinstance(key, int) or isinstance(key, bool):
            raise CallError(f"error calling index: cannot index slice/array with type {type_name(key)}")
        if not 0 <= key < len(value):
            raise CallError(f"error calling index: index out of range: {key}")
        value = value.encode()[key] if isinstance(value, str) else value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, list | tuple | str):
        raise CallError(f"error calling slice: can't slice item of type {type_name(value)}")
    if len(bounds) > 2:
        what = "cannot 3-index slice a string" if isinstance(value, str) else "too many slice indexes"
        raise CallError(f"error calling slice: {what}")
    for bound in bounds:
        if not 0 <= bound <= len(value):
            raise CallError(f"error calling slice: index out of range: {bound}")
    start, stop = [*bounds, *([0, len(value)][len(bounds) :])]
    if start > stop:
        raise CallError(f"error calling slice: invalid slice index: {start} > {stop}")
    return value[start:stop]


def _print(*items: Any) -> str:
    """fmt.Sprint: a blank between two operands when neither is a string."""
    out = ""
    for number, item in enumerate(items):
        if number and not isinstance(item, str) and not isinstance(items[number - 1], str):
            out += " "
        out += values.text(item)
    return out


def _println(*items: Any) -> str:
    return " ".join(values.text(item) for item in items) + "\n"


#: inspect.CO_VARARGS, without inspect.
_TAKES_MORE = 0x04

_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d*))?(?:\[(?P<place>\d+)\])?(?P<verb>.)",
    re.DOTALL,
)


def _printf(form: Any, *items: Any) -> str:
    """The verbs of Go's fmt that make sense for JSON values: v s q d x X o b c U t f e g and %%.

    `%*d` takes its width from the arguments, `%[2]s` its value from the second.
    """
    place, reordered = 0, False

    def one(found: re.Match[str]) -> str:
        nonlocal place, reordered
        verb, width = found["verb"], found["width"] or "0"
        if verb == "%":
            return "%"
        if width == "*":
            if not (place < len(items) and isinstance(items[place], int)):
                place += 1
                return f"%!(BADWIDTH)%!{verb}(MISSING)"
            width, place = str(items[place]), place + 1
        if found["place"]:
            place, reordered = int(found["place"]) - 1, True
        if not 0 <= place < len(items):
            return f"%!{verb}({'BADINDEX' if found['place'] else 'MISSING'})"
        place += 1
        return _pad_field(_verb(verb, items[place - 1], found), int(width), found["flags"])

    out = _VERB.sub(one, _string(form, "printf"))
    if (rest := items[place:]) and not reordered:
        out += "%!(EXTRA " + ", ".join(f"{type_name(item)}={values.text(item)}" for item in rest) + ")"
    return out


def _verb(verb: str, item: Any, found: re.Match[str]) -> str:
    number = isinstance(item, int | float) and not isinstance(item, bool)
    precision = None if found["precision"] is None else int(found["precision"] or 0)
    sharp, blank = "#" in found["flags"], " " in found["flags"]
    if verb == "v":
        return values.quote(item) if sharp and isinstance(item, str) else values.text(item)
    if verb == "T":
        return type_name(item)
    if verb == "s" and not number and not isinstance(item, bool):
        shown = values.text(item)
        return shown if precision is None else shown[:precision]
    if verb == "q" and isinstance(item, str):
        return values.quote(item)
    if verb in "xX" and isinstance(item, str):
        digits = item.encode().hex(" ") if blank else item.encode().hex()
        return digits if verb == "x" else digits.upper()
    if verb == "t" and isinstance(item, bool):
        return values.text(item)
    if verb in "cqU" and isinstance(item, int) and number:
        return {"c": chr(item), "q": f"'{chr(item)}'", "U": f"U+{item:04X}"}[verb]
    if verb in "dxXob" and isinstance(item, int) and number:
        sign = "+" if "+" in found["flags"] else " " if blank else ""
        return format(item, sign + ("#" if sharp and verb in "xX" else "") + verb)
    if verb in "feEgG" and number:
        return format(float(item), f".{6 if precision is None else precision}{verb}")
    return f"%!{verb}({type_name(item)}={values.text(item)})"


def _pad_field(shown: str, width: int, flags: str) -> str:
    if "-" in flags:
        return shown.ljust(width)
    return shown.zfill(width) if "0" in flags else shown.rjust(width)


def _comparable(name: str, left: Any, right: Any) -> None:
    kinds = {type_name(left), type_name(right)}
    if len(kinds) > 1 and None not in (left, right):
        raise CallError(f"error calling {name}: incompatible types for comparison")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("error calling eq: missing argument for comparison")
    for other in others:
        if isinstance(first, list | tuple) and isinstance(other, list | tuple):
            shown = f"{values.text(first)}: {type_name(first)}"
            raise CallError(f"error calling eq: non-comparable type {shown}")
        _comparable("eq", first, other)
        if first == other:
            return True
    return False


def _ordered(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def call(left: Any, right: Any) -> bool:
        _comparable(name, left, right)
        if type_name(left) not in {"int", "float64", "string"} or right is None:
            raise CallError(f"error calling {name}: invalid type for comparison")
        return compare(left, right)

    return call


_JAVASCRIPT = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E"} | {
    "&": "\\u0026", "=": "\\u003D", "\n": "\\u000A", "\r": "\\u000D", "\t": "\\u0009",
}  # fmt: skip


def _javascript(text: str) -> str:
    """Safe inside a JavaScript string. Source: text/template, JSEscape."""
    return "".join(_JAVASCRIPT.get(char, char) for char in text)


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})


def _html(text: str) -> str:
    """Source: text/template, HTMLEscape."""
    return text.translate(_HTML)


def _urlquery(*items: Any) -> str:
    return urllib.parse.quote_plus(_print(*items))


#: `and` and `or` are the evaluator's: they do not look at all their arguments.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": _json,
    "join": _join,
    "split": _split,
    "title": _title,
    "lower": lambda value: _string(value, "lower").lower(),
    "upper": _upper,
    "pad": _pad,
    "truncate": _truncate,
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "js": lambda *items: _javascript(_print(*items)),
    "html": lambda *items: _html(_print(*items)),
    "urlquery": _urlquery,
    "not": lambda value: not values.truth(value),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered("lt", lambda left, right: bool(left < right)),
    "le": _ordered("le", lambda left, right: bool(left <= right)),
    "gt": _ordered("gt", lambda left, right: bool(left > right)),
    "ge": _ordered("ge", lambda left, right: bool(left >= right)),
}


def wrong_count(function: Callable[..., Any], count: int) -> str:
    """ "" if function takes count arguments; else how many it wants, in Go's words."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    most = code.co_argcount
    least = most - len(getattr(function, "__defaults__", None) or ())
    if code.co_flags & _TAKES_MORE:
        return "" if count >= least else f"want at least {least}"
    return "" if least <= count <= most else f"want {most}"


def _same(value: Any, *_: Any) -> Any:
    return value


#: For a table's heading: the column's title passes through unchanged.
HEADER_FUNCTIONS: Mapping[str, Callable[..., Any]] = dict(FUNCTIONS) | dict.fromkeys(
    ("json", "split", "join", "title", "lower", "upper", "truncate"), _same
)
