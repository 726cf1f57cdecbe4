"""`import --change` makes the config that Docker's makes."""

from typing import Any

import pytest

from wherryd.errors import InvalidParameter
from wherryd.images.changes import apply

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        (['CMD ["mariadbd", "--user=mysql"]'], {"Cmd": ["mariadbd", "--user=mysql"]}),
        (["CMD echo $HOME"], {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
        (["cmd [broken"], {"Cmd": ["/bin/sh", "-c", "[broken"]}),
        (['ENTRYPOINT ["/init"]'], {"Entrypoint": ["/init"]}),
        (["ENV A=1 B='two words' C=\"x y\" D=a\\ b"], {"Env": ["A=1", "B=two words", "C=x y", "D=a b"]}),
        (["ENV OLD the old form"], {"Env": ["OLD=the old form"]}),
        (["ENV A=1", "ENV A=2 B=${A}3"], {"Env": ["A=2", "B=13"]}),
        (["ENV P=/x:$NONE:${NONE:-y}:${P:+z}"], {"Env": ["P=/x::y:"]}),
        (["ENV A='$B'"], {"Env": ["A=$B"]}),
        (["LABEL a=b", 'LABEL "c d"="e f"'], {"Labels": {"a": "b", "c d": "e f"}}),
        (
            ["EXPOSE 3306 53/UDP 8000-8001"],
            {"ExposedPorts": {"3306/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}},
        ),
        (["USER mysql:mysql"], {"User": "mysql:mysql"}),
        (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        (
            ['VOLUME ["/data", "/b c"]', "VOLUME /x /y"],
            {"Volumes": {"/data": {}, "/b c": {}, "/x": {}, "/y": {}}},
        ),
        (["STOPSIGNAL SIGQUIT"], {"StopSignal": "SIGQUIT"}),
        (["ONBUILD RUN make"], {"OnBuild": ["RUN make"]}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=1m30s --retries=3 CMD mysqladmin ping"],
            {
                "Healthcheck": {
                    "Interval": 90 * SECOND,
                    "Retries": 3,
                    "Test": ["CMD-SHELL", "mysqladmin ping"],
                }
            },
        ),
        (['HEALTHCHECK CMD ["a","b"]'], {"Healthcheck": {"Test": ["CMD", "a", "b"]}}),
        (["# a comment\nUSER me"], {"User": "me"}),
        ([], {}),
    ],
)
def test_instructions_set_the_config(changes: list[str], config: dict[str, Any]) -> None:
    assert apply(changes) == config


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("RUN true", "run is not a valid change command"),
        ("FROM x", "from is not a valid change command"),
        ("BOGUS x", "unknown instruction: BOGUS"),
        ("CMD", "CMD requires at least one argument"),
        ("EXPOSE many", "invalid containerPort: many"),
        ("EXPOSE 70000", "invalid containerPort"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("ENV ONE", "ENV must have two arguments"),
        ("ENV A=1 B", "can't find ="),
        ("ENV A='open", "matching '"),
        ("LABEL =x", "can not be blank"),
        ("STOPSIGNAL a b", "invalid signal"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK SOMETIMES", "unknown type"),
        ("HEALTHCHECK --often=1 CMD x", "unknown flag: --often"),
        ("HEALTHCHECK --interval=soon CMD x", "invalid duration"),
    ],
)
def test_bad_instruction_is_named(change: str, complaint: str) -> None:
    with pytest.raises(InvalidParameter, match=complaint):
        apply([change])
