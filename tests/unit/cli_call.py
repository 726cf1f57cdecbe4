"""`wherry ARGUMENTS` in this process."""

import sys

import pytest

from wherry.cli.main import main


def wherry(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["wherry", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    return int(str(ended.value.code or 0)), out, err
