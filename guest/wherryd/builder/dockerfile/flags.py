"""`--name=value` before an instruction's words."""

from collections.abc import Collection, Sequence

from wherryd.builder.dockerfile.errors import DockerfileError


class Flags:
    """The flags of one instruction, checked against those it has. Raises DockerfileError."""

    def __init__(
        self,
        given: Sequence[str],
        *,
        keyword: str,
        texts: Collection[str] = (),
        booleans: Collection[str] = (),
        lists: Collection[str] = (),
    ) -> None:
        self._texts: dict[str, str] = {}
        self._booleans: dict[str, bool] = {}
        self._lists: dict[str, list[str]] = {name: [] for name in lists}
        for flag in given:
            name, equals, value = flag.removeprefix("--").partition("=")
            if name in self._texts or name in self._booleans:
                raise DockerfileError(f"duplicate flag specified: {name}", f"give --{name} once")
            if name in booleans:
                self._booleans[name] = _boolean(name, value if equals else "true")
            elif name not in texts and name not in lists:
                known = ", ".join(f"--{each}" for each in sorted([*texts, *booleans, *lists]))
                raise DockerfileError(
                    f"unknown flag: --{name}",
                    f"{keyword} has {known}" if known else f"{keyword} has no flags",
                )
            elif not equals:
                raise DockerfileError(f"missing a value on flag: {name}", f"--{name}=...")
            elif name in lists:
                self._lists[name].append(value)
            else:
                self._texts[name] = value

    def text(self, name: str) -> str:
        return self._texts.get(name, "")

    def boolean(self, name: str) -> bool | None:
        """None when it was not given."""
        return self._booleans.get(name)

    def list(self, name: str) -> tuple[str, ...]:
        return tuple(self._lists[name])


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise DockerfileError(
            f"expecting boolean value for flag {name}, not: {value}", f"--{name}=true or --{name}=false"
        )
    return value.lower() == "true"
