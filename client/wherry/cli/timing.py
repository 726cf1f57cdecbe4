"""Points in time as `--since` and `--until` take them."""

import math
import re
import time
from datetime import datetime

from wherry.engine.parse.values import duration
from wherry.errors import UsageProblem

_UNIX_TIME = re.compile(r"^\d+(\.\d{1,9})?$")
_FRACTION = re.compile(r"^(.*:\d\d)\.(\d{1,9})(.*)$")


def moment(text: str, option: str, now: float | None = None) -> str:
    """A time, an age or unix seconds -> unix seconds, as the API wants them: of a time with its fraction, of
    an age whole ones (docker sends no fraction there).

    option: named in the error, unless it is "".
    """
    if _UNIX_TIME.match(text):
        return text
    try:
        age = duration(text, option)
    except UsageProblem:
        # Apart from the fraction: Python reads six digits of it, and engines give nine.
        found = _FRACTION.match(text)
        whole, fraction, zone = found.groups() if found else (text, "", "")
        try:
            parsed = datetime.fromisoformat(whole + zone)
        except ValueError:
            # docker names the option for logs, which parses it itself, and not for events.
            where = f'invalid value for "{option.lstrip("-")}": ' if option else ""
            raise UsageProblem(
                f'{where}failed to parse value as time or duration: "{text}"; '
                "write 2013-01-02T13:23:37Z, 42m or unix seconds"
            ) from None
        # Without a zone it is the user's local time, as in Docker.
        return f"{int(parsed.timestamp())}.{fraction:0<9}"
    return str(math.floor((time.time() if now is None else now) - age / 1e9))
