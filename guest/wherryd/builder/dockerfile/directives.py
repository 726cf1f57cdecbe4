"""Parser directives: comments at the very top that steer the parser.

Source: Dockerfile reference, "Parser directives". They end at the first line that is none, also at a
blank line or an ordinary comment.
"""

import re

from wherryd.builder.dockerfile.errors import DockerfileError

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_KNOWN = ("syntax", "escape", "check")
DEFAULT_ESCAPE = "\\"


class Directives:
    """Feed it each line, blanks at its begin removed, from the first on."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._over = False

    @property
    def escape(self) -> str:
        return self.values.get("escape", DEFAULT_ESCAPE)

    def take(self, line: str) -> bool:
        """Whether the line was a directive. Raises DockerfileError."""
        match = None if self._over else _DIRECTIVE.fullmatch(line)
        if match is None or match[1].lower() not in _KNOWN:
            self._over = True
            return False
        name, value = match[1].lower(), match[2]
        if name in self.values:
            raise DockerfileError(
                f"only one {name} parser directive can be used", f"take out all # {name}= lines but one"
            )
        if name == "escape" and value not in ("\\", "`"):
            raise DockerfileError(f"invalid ESCAPE '{value}'. Must be ` or \\", "# escape=`")
        self.values[name] = value
        return True
