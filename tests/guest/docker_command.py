"""The real docker command as most tests want it: it succeeds, or it is refused."""

from native_engine import NativeEngine


def docker(engine: NativeEngine, *arguments: str, stdin: bytes | None = None) -> str:
    """It must succeed. Its output without the last newline."""
    done = engine.docker(*arguments, stdin=stdin)
    assert done.returncode == 0, (arguments, done.stderr.decode(), engine.log_tail())
    return done.stdout.decode().removesuffix("\n")


def refused(engine: NativeEngine, *arguments: str) -> str:
    """It must fail. What it complained of."""
    done = engine.docker(*arguments)
    assert done.returncode != 0, done.stdout.decode()
    return done.stderr.decode().strip()
