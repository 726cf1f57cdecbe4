"""A few of schemathesis's requests in every run; api_fuzz.py sends 20,000."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import swagger

pytestmark = pytest.mark.root

REQUESTS = os.environ.get("WHERRY_FUZZ_REQUESTS", "150")
SECONDS = 120 + int(REQUESTS)


def test_no_request_of_the_description_hangs_or_ends_in_a_500() -> None:
    swagger.description()
    # A process of its own: schemathesis brings a pytest and a hypothesis of its own versions.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "api_fuzz.py"), "--requests", REQUESTS],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    assert f"{REQUESTS} answers" in done.stdout
