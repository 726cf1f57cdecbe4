"""From a Dockerfile to instructions, and what its errors say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile import mounts
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import Lexer
from wherryd.builder.dockerfile.stages import read, read_trigger


def one(line: str) -> ins.Instruction:
    return read(f"FROM base\n{line}\n".encode()).stages[0].steps[0]


def test_stages_have_names_numbers_and_global_arguments() -> None:
    program = read(
        b"ARG V=1\nFROM a:$V AS Build\nRUN x\nFROM --platform=linux/amd64 b\nCOPY --from=build / /\n"
    )
    assert program.arguments[0].pairs == (ins.ArgPair("V", "1"),)
    assert [(stage.name, stage.start.base) for stage in program.stages] == [("build", "a:$V"), ("1", "b")]
    assert program.stages[1].start.platform == "linux/amd64"
    assert program.find("BUILD") is program.stages[0]
    assert program.find("1") is program.stages[1]
    assert program.find("2") is None


def test_copy_has_its_flags() -> None:
    copy = one("COPY --from=b --chown=1:2 --chmod=755 --link --parents --exclude=*.o --exclude=*.a x y /z/")
    assert isinstance(copy, ins.Copy)
    assert (copy.origin, copy.chown, copy.chmod, copy.link, copy.parents) == ("b", "1:2", "755", True, True)
    assert (copy.excludes, copy.sources, copy.destination) == (("*.o", "*.a"), ("x", "y"), "/z/")


def test_add_has_its_flags() -> None:
    add = one("ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false http://h/f /z")
    assert isinstance(add, ins.Add)
    assert (add.checksum, add.keep_git_dir, add.unpack) == ("sha256:00", True, False)
    assert one("ADD a b").unpack is None  # type: ignore[attr-defined]


def test_copy_takes_heredocs_as_sources() -> None:
    copy = read(b"FROM x\nCOPY <<-a.txt b /d/\n\thi $X\n\ta.txt\n").stages[0].steps[0]
    assert isinstance(copy, ins.Copy)
    assert copy.sources == ("b",)
    assert [(doc.name, doc.text, doc.expand) for doc in copy.heredocs] == [("a.txt", "hi $X\n", True)]


def test_run_has_mounts_network_and_both_forms() -> None:
    run = one("RUN --mount=type=cache,target=/c --mount=from=b,target=/b --network=none make all")
    assert isinstance(run, ins.Run)
    assert run.network == "none"
    assert (run.command.words, run.command.shell) == (("make all",), True)
    kinds = [mounts.parse(text, lambda value: value) for text in run.mounts]
    assert [(each.type, each.origin, each.read_only) for each in kinds] == [
        (ins.MountType.CACHE, "", False),
        (ins.MountType.BIND, "b", True),
    ]
    exec_form = one('RUN ["a", "b c"]')
    assert isinstance(exec_form, ins.Run)
    assert exec_form.command == ins.Command(("a", "b c"), False)


def test_a_healthcheck_has_nanoseconds() -> None:
    check = one("HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f http://localhost/")
    assert isinstance(check, ins.Healthcheck)
    assert check.test == ("CMD-SHELL", "curl -f http://localhost/")
    assert (check.times, check.retries) == ({"Interval": 90_000_000_000}, 2)


def test_an_onbuild_trigger_is_read_again_later() -> None:
    trigger = read(b"FROM x\nONBUILD RUN <<EOF\necho hi\nEOF\n").stages[0].steps[0]
    assert isinstance(trigger, ins.OnBuild)
    run = read_trigger(trigger.trigger, "x")
    assert isinstance(run, ins.Run)
    assert run.command.heredocs[0].content == "echo hi\n"


@pytest.mark.parametrize("text", ["RUN x", "# hello", ""])
def test_a_file_without_from_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match="FROM"):
        read(text.encode())


def test_dockers_own_syntax_is_taken_and_others_are_refused_by_name() -> None:
    read(b"# syntax=docker/dockerfile:1.7-labs\nFROM x\n")
    with pytest.raises(DockerfileError, match='frontend "example/mine:2"'):
        read(b"# syntax=example/mine:2\nFROM x\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type=floppy,target=/x", "unsupported mount type"),
        ("type=cache", "needs a target"),
        ("target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,target=/x,size=big", "invalid value for size"),
        ("type=cache,target=/x,sharing=odd", "unsupported sharing value"),
        ("type=secret", "invalid secret mount"),
        ("type=secret,id=a,src=b", "both source and id"),
        ("type=bind,target=/x,mode=0755", "unexpected key 'mode'"),
        ("nonsense", "must be a key=value pair"),
        ("target=/x,what=1", "unexpected key 'what'"),
        ('"target=/x', "failed to parse csv"),
    ],
)
def test_a_bad_mount_is_refused(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError, match=problem):
        mounts.parse(text, lambda value: value)


def test_a_mount_takes_sizes_aliases_and_variables() -> None:
    found = mounts.parse("type=tmpfs,dst=$D,size=1.5m", lambda value: value.replace("$D", "/t"))
    assert (found.target, found.size_bytes, found.read_only) == ("/t", 1_572_864, False)
    assert not mounts.parse("target=/x,rw", lambda value: value).read_only
    assert mounts.parse("type=cache,target=/x,ro=true", lambda value: value).read_only


_WORDS = st.sampled_from(
    [
        *(
            "FROM x",
            "RUN",
            "COPY",
            "ENV",
            "HEALTHCHECK",
            "ONBUILD",
            "# escape=`",
            "--mount=type=cache",
            "--from=",
        ),
        *(
            "<<EOF",
            "EOF",
            "<<-",
            "\\\n",
            "\n",
            " ",
            "\t",
            "`",
            "$",
            "${",
            "}",
            ":-",
            "##",
            "/",
            "'",
            '"',
            "=",
            "[",
            "]",
        ),
        *("a", "é"),
    ]
)


def read_or_refuse(text: str) -> str:
    """The names of the stages, or what the error says."""
    try:
        return " ".join(stage.name for stage in read(b"FROM base\n" + text.encode("utf-8", "replace")).stages)
    except DockerfileError as exc:
        return str(exc)


@given(st.lists(_WORDS, max_size=40).map(" ".join) | st.text(max_size=200))
def test_whatever_is_sent_is_read_or_refused_in_words(text: str) -> None:
    assert read_or_refuse(text)


def expand_or_refuse(text: str) -> list[str]:
    lexer = Lexer()
    try:
        return [lexer.expand(text, {"a": "1", "A": "x y"}), *lexer.split(text, {"a": "1", "A": "x y"})]
    except DockerfileError as exc:
        return [str(exc)]


@given(st.lists(_WORDS, max_size=30).map("".join) | st.text(max_size=100))
def test_whatever_word_is_expanded_or_refused_in_words(text: str) -> None:
    assert expand_or_refuse(text)
