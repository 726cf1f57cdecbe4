"""features: what this runtime can do. Source: runtime-spec features.md. Only what is really carried out."""

import argparse
from typing import Any

from wherryd.runtime import mountoptions
from wherryd.runtime.verbs.options import OCI_VERSION, Verb, print_json
from wherryd.spec import seccomp
from wherryd.spec.oci import NamespaceKind
from wherryd.sys import capabilities


def document() -> dict[str, Any]:
    hooks = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(hooks),
        "mountOptions": list(mountoptions.KNOWN),
        "linux": {
            "namespaces": [str(kind) for kind in NamespaceKind],
            "capabilities": list(capabilities.names(capabilities.bounding_set())),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": list(seccomp.ACTIONS),
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _nothing(_: argparse.ArgumentParser) -> None:
    pass


VERBS = {"features": Verb("Print what this runtime can do.", _nothing, lambda _: print_json(document()))}
