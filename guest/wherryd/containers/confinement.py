"""Which seccomp filter a container gets: `--security-opt seccomp=...`, or Docker's default."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from wherryd.errors import InvalidParameter
from wherryd.spec import seccompdefault, seccompprofile, securityoptions
from wherryd.spec.seccompprofile import Subject
from wherryd.spec.securityoptions import UNCONFINED

BUILTIN: Final = "builtin"


def seccomp_filter(host: Mapping[str, Any], capability_names: Sequence[str]) -> Mapping[str, Any] | None:
    """linux.seccomp of config.json, or None for no filter. Raises InvalidParameter for a broken profile.

    A privileged container has none, unless it names one.
    """
    wanted = securityoptions.value(host["SecurityOpt"], "seccomp")
    if wanted == UNCONFINED or (host["Privileged"] and not wanted):
        return None
    if wanted in ("", BUILTIN):
        return _default(tuple(capability_names))
    return seccompprofile.resolve(seccompprofile.read(wanted), _subject(capability_names))


@lru_cache(maxsize=64)
def _default(capability_names: tuple[str, ...]) -> Mapping[str, Any]:
    return seccompprofile.resolve(seccompdefault.PROFILE, _subject(capability_names))


def _subject(capability_names: Sequence[str]) -> Subject:
    machine = os.uname()
    return Subject(
        machine=machine.machine,
        kernel=seccompprofile.kernel_version(machine.release),
        capabilities=frozenset(capability_names),
    )


def problems(host: Mapping[str, Any]) -> list[str]:
    """What is wrong with a profile, told at create."""
    wanted = securityoptions.value(host["SecurityOpt"], "seccomp")
    if wanted in ("", UNCONFINED, BUILTIN):
        return []
    try:
        seccomp_filter(host, ())
    except InvalidParameter as error:
        return [str(error)]
    return []
