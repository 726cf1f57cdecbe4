"""For all tests: what a test changes in this process, or the runner gave it, is not the next one's.

A shell ignores SIGINT and SIGQUIT for what it starts in the background, and ignored signals are inherited:
under such a runner no test could press ctrl-c. Our command, when it runs in this process, puts options that
hold for the rest of a call into the environment.
"""

import os
import signal
from collections.abc import Iterator
from unittest import mock

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGQUIT"):
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield
