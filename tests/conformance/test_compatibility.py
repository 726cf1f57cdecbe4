"""docs/compatibility.md tells of this very engine and client."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import swagger

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """Mend it with scripts/compatibility.py, and look at what it changed."""
    swagger.description()
    if shutil.which("docker-registry") is None:
        pytest.skip("needs Debian's docker-registry (scripts/setup.sh dev)")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/compatibility.py"), "--check"],
        capture_output=True,
        timeout=300,
        check=False,
        text=True,
    )
    assert done.returncode == 0, f"run scripts/compatibility.py\n{done.stdout}\n{done.stderr[-4000:]}"
