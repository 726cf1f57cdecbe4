"""Modules put off: what stands in for one until it is needed, in an interpreter of its own."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    code = f"import sys\nfrom wherryd import later\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_a_stand_in_is_imported_when_it_is_looked_into_and_not_before() -> None:
    assert (
        run(
            "later.stand_in('colorsys')\nimport colorsys\nbefore = type(sys.modules['colorsys']).__name__\n"
            "print(before, colorsys.rgb_to_hsv(0, 0, 1)[2], type(sys.modules['colorsys']).__name__)\n"
            "print(colorsys.__dict__['hsv_to_rgb'] is sys.modules['colorsys'].hsv_to_rgb)"
        )
        == "_StandIn 1 module\nTrue"
    )


def test_what_is_given_meanwhile_gives_way_to_the_module() -> None:
    assert run(
        "class Meanwhile: pass\nlater.stand_in('ssl', SSLSocket=Meanwhile)\nimport ssl\n"
        "print(ssl.SSLSocket is Meanwhile)\nssl.SSLContext\n"
        "print(ssl.SSLSocket is sys.modules['ssl'].SSLSocket)"
    ).split() == ["True", "True"]


def test_a_module_that_is_there_stays() -> None:
    assert run("import json\nlater.stand_in('json', loads=None)\nprint(json.loads('1'))") == "1"


def test_dataclasses_work_without_inspect() -> None:
    assert run(
        "later.without_inspect()\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True, slots=True)\nclass A:\n  x: int\n  y: str = 'b'\n"
        "print(A(1), A.__doc__, type(sys.modules['inspect']).__name__)"
    ).startswith("A(x=1, y='b') A")


def test_who_asks_inspect_for_a_signature_gets_a_real_one_though_dataclasses_do_without() -> None:
    assert (
        run(
            "later.without_inspect()\nfrom dataclasses import dataclass, fields\n"
            "@dataclass\nclass A:\n  x: int\n"
            "before = type(sys.modules['inspect']).__name__\nfrom inspect import signature\n"
            "print(before, list(signature(lambda one, two: None).parameters))\n"
            "@dataclass\nclass B:\n  y: int\n"
            "print(A.__doc__, B.__doc__, fields(B)[0].name)"
        )
        == "_StandIn ['one', 'two']\nA B y"
    )


@pytest.mark.parametrize("module", ["inspect", "colorsys"])
def test_a_sealed_process_imports_nothing_through_a_stand_in(module: str) -> None:
    assert (
        run(
            f"later.stand_in('{module}')\nlater.seal()\nimport {module}\n"
            f"try:\n  {module}.anything\nexcept AttributeError as error:\n  print(error)\n"
        )
        == f"{module} is not imported in this process"
    )


def test_asyncio_serves_and_connects_while_ssl_is_put_off() -> None:
    assert (
        run(
            "from wherryd.daemon import main\nmain._put_off()\nimport asyncio\n"
            "async def go():\n"
            "  server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
            "  reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
            "  print(await reader.read(), type(sys.modules['ssl']).__name__)\n"
            "  writer.close()\n  server.close()\n"
            "asyncio.run(go())"
        )
        == "b'' _StandIn"
    )


def test_tls_that_was_put_off_is_there_when_it_is_wanted() -> None:
    """No handshake can end well with who does not speak TLS; that it says so is asyncio's TLS at work."""
    assert (
        run(
            "from wherryd.daemon import main\nmain._put_off()\nimport asyncio, ssl\n"
            "async def go():\n"
            "  server = await asyncio.start_server(lambda r, w: w.write(b'hello' * 99), '127.0.0.1', 0)\n"
            "  try:\n"
            "    await asyncio.open_connection(\n"
            "      *server.sockets[0].getsockname(), ssl=ssl.create_default_context(), server_hostname='x')\n"
            "  except ssl.SSLError as error:\n    print(type(error).__name__, error.reason)\n"
            "asyncio.run(go())"
        )
        == "SSLError WRONG_VERSION_NUMBER"
    )
