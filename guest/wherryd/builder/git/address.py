"""What a git source's address says.

Source: Dockerfile reference, "Adding files from a Git repository"; docker build's manual, "Git repositories".
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from wherryd.errors import InvalidParameter

#: `user@host:path`, as ssh has it.
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:.+")
_HEX = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class GitSource:
    """url: of the repository. ref: branch, tag or commit, "" for the default branch. folder: in it, or "".
    commit: what the ref must be, or its beginning; "" for anything. keep_git_dir: with a `.git` folder."""

    url: str
    ref: str = ""
    folder: str = ""
    commit: str = ""
    keep_git_dir: bool = False


def is_git(text: str) -> bool:
    """Whether an address is a repository's: by its scheme, or as http(s) with a path that ends in `.git`."""
    if text.startswith(("git://", "ssh://")) or _SCP_LIKE.fullmatch(text):
        return True
    if not text.startswith(("http://", "https://")):
        return False
    return urlsplit(text).path.endswith(".git")


def parse(text: str, checksum: str = "", *, keep_git_dir: bool = False) -> GitSource:
    """`URL[#ref[:folder]]` or `URL?ref=...&subdir=...`. checksum: of --checksum. Raises InvalidParameter."""
    if text.startswith("ssh://") or _SCP_LIKE.fullmatch(text):
        raise InvalidParameter(
            f"{text}: the engine does not fetch over ssh (hint: https, or RUN --mount=type=ssh git clone)"
        )
    if checksum and not _HEX.fullmatch(checksum):
        raise InvalidParameter(f"invalid checksum {checksum!r}: of a git source it is the commit's hash")
    address, _, fragment = text.partition("#")
    address, _, query = address.partition("?")
    ref, _, folder = fragment.partition(":")
    commit = checksum
    for key, values in parse_qs(query, keep_blank_values=True).items():
        if key in ("ref", "branch", "tag"):
            ref = values[-1]
        elif key == "subdir":
            folder = values[-1]
        elif key in ("commit", "checksum"):
            commit = commit or values[-1]
        elif key == "keep-git-dir":
            keep_git_dir = values[-1].lower() in ("", "1", "t", "true")
        else:
            raise InvalidParameter(
                f"{text}: unknown key {key} (known: ref, branch, tag, commit, subdir, keep-git-dir)"
            )
    folder = folder.strip("/")
    if ".." in folder.split("/"):
        raise InvalidParameter(f"{text}: the folder {folder} is not in the repository")
    if keep_git_dir and folder:
        raise InvalidParameter(f"{text}: a folder of a repository has no .git; leave keep-git-dir out")
    return GitSource(address, ref or commit, folder, commit, keep_git_dir)
