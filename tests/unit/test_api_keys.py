"""Fields of request bodies in any case."""

import pytest

from wherryd.api import keys


def test_fields_are_read_in_any_case_at_every_depth() -> None:
    body = {
        "image": "box",
        "hostconfig": {
            "RESTARTPOLICY": {"name": "always"},
            "mounts": [{"type": "bind", "bindoptions": {"noncursive": 1}}],
            "portbindings": {"80/tcp": [{"hostport": "8080"}]},
        },
        "NetworkingConfig": {"endpointsconfig": {"Name": {"aliases": ["a"], "ipamconfig": {}}}},
    }
    assert keys.canonical(body) == {
        "Image": "box",
        "HostConfig": {
            "RestartPolicy": {"Name": "always"},
            "Mounts": [{"Type": "bind", "BindOptions": {"noncursive": 1}}],
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
        },
        "NetworkingConfig": {"EndpointsConfig": {"Name": {"Aliases": ["a"], "IPAMConfig": {}}}},
    }


def test_keys_of_the_users_own_stay_as_they_are() -> None:
    body = {
        "Labels": {"image": "1", "CMD": "2"},
        "HostConfig": {"LogConfig": {"Config": {"mode": "blocking"}}, "Tmpfs": {"source": ""}},
        "Volumes": {"type": {}},
        "NetworkingConfig": {"EndpointsConfig": {"internal": {"DriverOpts": {"path": "x"}}}},
    }
    assert keys.canonical(body) == body


@pytest.mark.parametrize("body", [{"tty": True, "Tty": False}, {"Tty": False, "tty": True}])
def test_the_fields_own_spelling_wins(body: dict[str, bool]) -> None:
    assert keys.canonical(body) == {"Tty": False}
