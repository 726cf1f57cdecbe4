"""Names that stand for an index: one image per platform, pulled, shown, run, pushed, saved and removed."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import registry_fixtures
from cli_rig import Clients
from indexes_rig import Made, Publisher, tar_of
from native_engine import Answer, NativeEngine, busybox_tar
from registry_rig import RealRegistry, real_registry

from wherryd.daemon.audit import audit

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="its platforms are those of an x86_64 machine"),
]
HOST, SMALL, FOREIGN = "linux/amd64", "linux/386", "linux/arm64/v8"
LAYERS = {
    FOREIGN: tar_of(arm=b"arm" * 1000),
    HOST: busybox_tar(),
    SMALL: busybox_tar([("small", b"386")]),
}
EVERYTHING = '{"dangling":["false"]}'


registry = registry_fixtures.registry
other = registry_fixtures.registry


@pytest.fixture(scope="module")
def made(registry: RealRegistry) -> Made:
    return Publisher(registry, "multi").index("1", LAYERS, attested=True, Cmd=["sh"])


@pytest.fixture
def name(registry: RealRegistry, made: Made, engine: NativeEngine) -> Iterator[str]:
    """Nothing of it is here yet, and nothing of it is left afterwards."""
    forget_all(engine)
    yield f"{registry.host}/multi:1"
    engine.remove_containers()
    forget_all(engine)
    report = audit(engine.data_root, verify=True)
    assert report.clean, (report.unowned, report.damaged)
    assert not list((engine.data_root / "content/blobs/sha256").iterdir())
    engine.import_busybox()


def forget_all(engine: NativeEngine) -> None:
    while images := engine.call("GET", "/images/json", all="1").json:
        assert engine.call("DELETE", f"/images/{images[0]['Id']}", force="1").status == 200


def oci(platform: str) -> str:
    return json.dumps(dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)))


def statuses(answer: Answer) -> list[str]:
    return [line["status"] for line in lines(answer) if "status" in line]


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text, answer.text
    return [json.loads(line) for line in answer.body.split(b"\r\n") if line]


def pull(engine: NativeEngine, name: str, platform: str = "") -> list[str]:
    repository, _, tag = name.rpartition(":")
    return statuses(engine.call("POST", "/images/create", fromImage=repository, tag=tag, platform=platform))


def push(engine: NativeEngine, name: str, platform: str = "") -> list[dict[str, Any]]:
    repository, _, tag = name.rpartition(":")
    query = {"platform": oci(platform)} if platform else {}
    return lines(engine.call("POST", f"/images/{repository}/push", tag=tag, **query))


def manifests(engine: NativeEngine, name: str) -> dict[str, dict[str, Any]]:
    """Platform, or "attestation of" one -> summary."""
    found = engine.call("GET", f"/images/{name}/json", manifests="1").json["Manifests"]
    keys = ("os", "architecture", "variant")
    names = {
        each["ID"]: "/".join(platform[key] for key in keys if key in platform)
        for each in found
        if (platform := each.get("ImageData", {}).get("Platform"))
    }
    return {
        names.get(each["ID"]) or f"attestation of {names[each['AttestationData']['For']]}": each
        for each in found
    }


def deleted(records: list[dict[str, str]]) -> set[str]:
    return {each["Deleted"] for each in records if "Deleted" in each}


def available(engine: NativeEngine, name: str) -> set[str]:
    return {platform for platform, each in manifests(engine, name).items() if each["Available"]}


def test_pull_keeps_the_index_and_says_what_is_not_here(engine: NativeEngine, name: str, made: Made) -> None:
    said = pull(engine, name)
    assert f"Digest: {made.digest}" in said
    image = engine.call("GET", f"/images/{name}/json").json
    repository = name.rpartition(":")[0]
    assert image["RepoDigests"] == [f"{repository}@{made.digest}"]
    assert image["Id"] == made.configs[HOST]
    assert image["Descriptor"]["digest"] == made.digest
    assert image["Descriptor"]["mediaType"] == made.document["mediaType"]
    found = manifests(engine, name)
    assert list(found) == [FOREIGN, HOST, SMALL, *(f"attestation of {each}" for each in LAYERS)]
    assert available(engine, name) == {HOST, f"attestation of {HOST}"}
    here, absent = found[HOST], found[FOREIGN]
    assert here["ID"] == here["Descriptor"]["digest"] == made.manifest(HOST)
    assert here["Descriptor"]["platform"] == {"os": "linux", "architecture": "amd64"}
    assert here["ImageData"]["Size"]["Unpacked"] == image["Size"]
    assert here["Size"]["Total"] == here["Size"]["Content"] + image["Size"]
    assert absent["Size"] == {"Content": 0, "Total": 0}
    assert absent["ImageData"]["Size"] == {"Unpacked": 0}
    attestation = found[f"attestation of {HOST}"]
    assert attestation["Kind"] == "attestation"
    assert attestation["Size"]["Content"] > 0
    missing = engine.call("GET", f"/images/{name}/json", platform=oci(FOREIGN))
    assert missing.status == 404
    assert "its index lists it, but it was not pulled" in missing.message
    assert f"with --platform {FOREIGN}" in missing.message
    unknown = engine.call("GET", f"/images/{name}/json", platform=oci("linux/s390x"))
    assert (unknown.status, "there are linux/arm64/v8, linux/amd64, linux/386" in unknown.message) == (
        404,
        True,
    )


def test_second_platform_comes_beside_the_first(engine: NativeEngine, name: str, made: Made) -> None:
    pull(engine, name)
    assert pull(engine, name)[-1] == f"Status: Image is up to date for {name}"
    assert pull(engine, name, FOREIGN)[-1] == f"Status: Downloaded newer image for {name}"
    assert pull(engine, name, FOREIGN)[-1] == f"Status: Image is up to date for {name}"
    assert available(engine, name) == {
        HOST, FOREIGN, f"attestation of {HOST}", f"attestation of {FOREIGN}",
    }  # fmt: skip
    (listed,) = engine.call("GET", "/images/json", manifests="1").json
    assert (listed["Id"], listed["RepoTags"]) == (made.configs[HOST], [name])
    assert sum(each["Available"] for each in listed["Manifests"]) == 4
    sizes = [each["ImageData"]["Size"]["Unpacked"] for each in listed["Manifests"] if "ImageData" in each]
    assert listed["Size"] == sum(sizes)
    assert engine.call("GET", "/info").json["Images"] == 1
    foreign = engine.call("GET", f"/images/{name}/json", platform=oci(FOREIGN)).json
    assert (foreign["Id"], foreign["Architecture"], foreign["Variant"]) == (
        made.configs[FOREIGN],
        "arm64",
        "v8",
    )
    assert foreign["RepoTags"] == [name]
    for digest in (made.manifest(FOREIGN), made.manifest(FOREIGN)[7:19]):
        assert engine.call("GET", f"/images/{digest}/json").json["Id"] == made.configs[FOREIGN]
    assert engine.call("GET", f"/images/{made.digest}/json").json["Id"] == made.configs[HOST]
    (step,) = engine.call("GET", f"/images/{name}/history", platform=oci(FOREIGN)).json
    assert step["Size"] == 3000


def test_foreign_platform_alone_is_shown_until_the_machines_own_comes(
    engine: NativeEngine, name: str, made: Made
) -> None:
    pull(engine, name, FOREIGN)
    assert engine.call("GET", f"/images/{name}/json").json["Id"] == made.configs[FOREIGN]
    created = engine.call("POST", "/containers/create", {"Image": name})
    assert created.status == 201
    (warning,) = created.json["Warnings"]
    assert "platform (linux/arm64/v8) does not match the detected host platform (linux/amd64)" in warning
    pull(engine, name)
    assert engine.call("GET", f"/images/{name}/json").json["Id"] == made.configs[HOST]
    (container,) = engine.call("GET", "/containers/json", all="1").json
    assert container["Image"] == name
    assert container["ImageManifestDescriptor"]["digest"] == made.manifest(FOREIGN)


def test_manifests_are_of_their_api_versions(engine: NativeEngine, name: str) -> None:
    pull(engine, name)
    for version, listed, inspected in (("1.46", False, False), ("1.47", True, False), ("1.48", True, True)):
        (image,) = engine.call("GET", f"/v{version}/images/json", manifests="1").json
        assert ("Manifests" in image) is listed
        assert ("Descriptor" in image) is inspected
        document = engine.call("GET", f"/v{version}/images/{name}/json", manifests="1").json
        assert ("Manifests" in document, "Descriptor" in document) == (inspected, inspected)
    both = engine.call("GET", f"/images/{name}/json", manifests="1", platform=oci(HOST))
    assert both.status == 400


def test_image_without_an_index_has_one_manifest(engine: NativeEngine, name: str) -> None:
    engine.import_busybox("alone:1")
    (found,) = engine.call("GET", "/images/alone:1/json", manifests="1").json["Manifests"]
    assert (found["Kind"], found["Available"]) == ("image", True)
    archive = engine.call("GET", "/images/alone:1/get").body
    assert f"blobs/sha256/{found['ID'][7:]}".encode() in archive


def test_container_of_one_platform_lives_beside_another(engine: NativeEngine, name: str, made: Made) -> None:
    pull(engine, name)
    absent = engine.call("POST", "/containers/create", {"Image": name}, platform=SMALL)
    assert (absent.status, "was not pulled" in absent.message) == (404, True)
    pull(engine, name, SMALL)
    said = {}
    for platform in (SMALL, HOST):
        created = engine.call(
            "POST", "/containers/create", {"Image": name, "Cmd": ["ls", "/small"]}, platform=platform
        )
        assert created.json["Warnings"] == []
        engine.call("POST", f"/containers/{created.json['Id']}/start")
        said[platform] = engine.wait(created.json["Id"])
        inspected = engine.inspect(created.json["Id"])
        assert inspected["Image"] == made.configs[platform]
        assert inspected["ImageManifestDescriptor"]["digest"] == made.manifest(platform)
    assert (said[SMALL], said[HOST] != 0) == (0, True)
    uses = {platform: each["ImageData"]["Containers"] for platform, each in manifests(engine, name).items()
            if "ImageData" in each}  # fmt: skip
    assert [len(uses[each]) for each in (HOST, SMALL, FOREIGN)] == [1, 1, 0]
    ancestors = engine.call("GET", "/containers/json", all="1", filters=json.dumps({"ancestor": [name]})).json
    assert len(ancestors) == 2
    # Both are that image: neither goes while there is one.
    assert engine.call("DELETE", f"/images/{name}").status == 409
    assert engine.call("POST", "/images/prune", filters=EVERYTHING).json["ImagesDeleted"] is None
    conflict = engine.call("DELETE", f"/images/{name}", platforms=oci(SMALL))
    assert (conflict.status, "stopped container" in conflict.message) == (409, True)
    assert engine.call("DELETE", f"/images/{name}", platforms=oci(FOREIGN)).status == 404


def test_attestation_never_runs(engine: NativeEngine, name: str) -> None:
    pull(engine, name)
    refused = engine.call("POST", "/containers/create", {"Image": name}, platform="unknown/unknown")
    assert refused.status == 400
    assert (
        engine.call("GET", f"/images/{manifests(engine, name)[f'attestation of {HOST}']['ID']}/json").status
        == 404
    )


def test_removal_of_platforms_takes_the_index_with_the_last(
    engine: NativeEngine, name: str, made: Made
) -> None:
    for platform in (HOST, SMALL, FOREIGN):
        pull(engine, name, platform)
    gone = engine.call("DELETE", f"/images/{name}", platforms=oci(HOST)).json
    assert {"Deleted": made.configs[HOST]} in gone
    assert not any("Untagged" in each for each in gone)
    assert engine.call("GET", f"/images/{name}/json").json["Id"] == made.configs[SMALL]
    # By the id of one that is not the one shown.
    gone = engine.call("DELETE", f"/images/{made.configs[FOREIGN]}").json
    assert {"Deleted": made.configs[FOREIGN]} in gone
    assert {platform for platform in available(engine, name) if "/" in platform[:6]} == {SMALL}
    assert pull(engine, name)[-1] == f"Status: Downloaded newer image for {name}"
    gone = engine.call("DELETE", f"/images/{name}", platforms=oci(HOST)).json
    gone = engine.call("DELETE", f"/images/{name}", platforms=oci(SMALL)).json
    repository = name.rpartition(":")[0]
    assert {"Untagged": name} in gone
    assert {"Untagged": f"{repository}@{made.digest}"} in gone
    assert engine.call("GET", "/images/json", all="1").json == []


def test_removal_by_name_and_prune_take_all_platforms(engine: NativeEngine, name: str, made: Made) -> None:
    for platform in (HOST, FOREIGN):
        pull(engine, name, platform)
    assert engine.call("POST", f"/images/{name}/tag", repo="again", tag="1").status == 201
    assert available(engine, "again:1") == available(engine, name)
    assert engine.call("DELETE", f"/images/{name}").status == 200
    assert len(available(engine, "again:1")) == 4
    gone = engine.call("DELETE", "/images/again:1").json
    assert deleted(gone) >= {made.configs[HOST], made.configs[FOREIGN]}
    for platform in (HOST, FOREIGN):
        pull(engine, name, platform)
    pruned = engine.call("POST", "/images/prune").json
    assert pruned["ImagesDeleted"] is None
    pruned = engine.call("POST", "/images/prune", filters=EVERYTHING).json["ImagesDeleted"]
    assert deleted(pruned) >= {made.configs[HOST], made.configs[FOREIGN]}


def test_new_index_under_the_tag_leaves_the_old_one_to_its_digest(
    engine: NativeEngine, name: str, registry: RealRegistry
) -> None:
    publisher = Publisher(registry, "moving")
    first = publisher.index("1", {HOST: tar_of(a=b"1"), FOREIGN: tar_of(b=b"1")})
    moving = f"{registry.host}/moving:1"
    for platform in (HOST, FOREIGN):
        pull(engine, moving, platform)
    second = publisher.index("1", {HOST: tar_of(a=b"2"), FOREIGN: tar_of(b=b"1")})
    pull(engine, moving)
    assert engine.call("GET", f"/images/{moving}/json").json["Descriptor"]["digest"] == second.digest
    # What the two have in common is here for both.
    assert available(engine, moving) == {HOST, FOREIGN}
    assert available(engine, f"{registry.host}/moving@{first.digest}") == {HOST, FOREIGN}
    engine.call("POST", "/images/prune")
    assert available(engine, moving) == {HOST, FOREIGN}
    assert engine.call("GET", f"/images/{registry.host}/moving@{first.digest}/json").status == 404


def test_whole_index_is_pushed_whole_with_its_digest(
    engine: NativeEngine, name: str, made: Made, registry: RealRegistry, other: RealRegistry, tmp_path: Path
) -> None:
    for platform in LAYERS:
        pull(engine, name, platform)
    # In the same registry by mounting; in another one by fetching what was compressed elsewhere.
    for target, place in ((f"{registry.host}/copy:1", registry), (f"{other.host}/copy:1", other)):
        repository, _, tag = target.rpartition(":")
        assert engine.call("POST", f"/images/{name}/tag", repo=repository, tag=tag).status == 201
        said = push(engine, target)
        assert said[-1]["aux"]["Digest"] == made.digest
        assert place.manifest("copy:1") == (made.digest, made.document)
        image = engine.call("GET", f"/images/{target}/json").json
        assert f"{repository}@{made.digest}" in image["RepoDigests"]
        # It reads every blob.
        copy = f"dir:{tmp_path / place.host.replace(':', '-')}"
        place.skopeo("copy", "--all", "--src-tls-verify=false", "docker://{}/copy:1", copy)


def test_index_whose_archives_are_lost_is_pushed_as_another(
    engine: NativeEngine, name: str, other: RealRegistry, tmp_path: Path
) -> None:
    with real_registry(tmp_path / "gone") as gone:
        layers = {HOST: tar_of(lost=b"1" * 5000), FOREIGN: tar_of(lost=b"2" * 5000)}
        made = Publisher(gone, "multi").index("1", layers, attested=True)
        for platform in (HOST, FOREIGN):
            pull(engine, f"{gone.host}/multi:1", platform)
    target = f"{other.host}/lost:1"
    engine.call("POST", f"/images/{gone.host}/multi:1/tag", repo=target.rpartition(":")[0], tag="1")
    said = push(engine, target)
    digest, document = other.manifest("lost:1")
    assert said[-1]["aux"]["Digest"] == digest != made.digest
    assert any(made.digest in line.get("status", "") for line in said)
    # The same platforms; what was attested of other manifests is not said of these.
    assert [entry["platform"] for entry in document["manifests"]] == [
        entry["platform"] for entry in made.document["manifests"][:2]
    ]
    forget_all(engine)
    for platform in (HOST, FOREIGN):
        pull(engine, target, platform)
    found = {
        engine.call("GET", f"/images/{target}/json", platform=oci(each)).json["Id"]
        for each in (HOST, FOREIGN)
    }
    assert found == set(made.configs.values())
    # And now they can be made again: the same push anywhere has the same digest.
    assert push(engine, target)[-1]["aux"]["Digest"] == digest


def test_push_of_what_is_here_in_part_is_dockers(
    engine: NativeEngine, name: str, made: Made, other: RealRegistry
) -> None:
    pull(engine, name, FOREIGN)
    target = f"{other.host}/part:1"
    engine.call("POST", f"/images/{name}/tag", repo=target.rpartition(":")[0], tag="1")
    note = push(engine, target)[-1]["aux"]
    assert note["manifestPushedInsteadOfIndex"] is True
    assert note["originalIndex"]["digest"] == made.digest
    assert note["selectedManifest"]["digest"] == other.manifest("part:1")[0]
    assert note["selectedManifest"]["platform"]["architecture"] == "arm64"
    pull(engine, name, HOST)
    note = push(engine, target)[-1]["aux"]
    assert note["selectedManifest"]["platform"]["architecture"] == "amd64"
    chosen = push(engine, target, FOREIGN)[-1]["aux"]
    assert chosen["Digest"] == other.manifest("part:1")[0]
    refused = engine.call("POST", f"/images/{other.host}/part/push", tag="1", platform=oci(SMALL))
    assert "was not pulled" in refused.text
    engine.call("DELETE", f"/images/{target}", platforms=oci(HOST))
    pull(engine, name, SMALL)
    engine.call("DELETE", f"/images/{target}", platforms=oci(HOST))


def test_saved_index_is_loaded_with_all_that_was_here(
    engine: NativeEngine, name: str, made: Made, tmp_path: Path
) -> None:
    for platform in (HOST, FOREIGN):
        pull(engine, name, platform)
    engine.call("POST", f"/images/{name}/tag", repo="saved", tag="1")
    archive = engine.call("GET", "/images/saved:1/get").body
    one = engine.call("GET", "/images/saved:1/get", platform=oci(FOREIGN)).body
    forget_all(engine)
    said = engine.call("POST", "/images/load", archive).text
    assert said.count("Loaded image: saved:1") == 1
    assert available(engine, "saved:1") == {HOST, FOREIGN}
    assert manifests(engine, "saved:1")[SMALL]["Available"] is False
    for platform in (HOST, FOREIGN):
        found = engine.call("GET", "/images/saved:1/json", platform=oci(platform)).json
        assert found["Id"] == made.configs[platform]
    # Archives of uncompressed layers can be made again, byte for byte.
    assert engine.call("GET", "/images/saved:1/get").body == archive
    index = engine.call("GET", "/images/saved:1/json").json["Descriptor"]["digest"]
    forget_all(engine)
    refused = engine.call("POST", "/images/load", archive, platform=oci(SMALL))
    assert "lists linux/386, but the archive has nothing of it" in refused.text
    said = engine.call("POST", "/images/load", archive, platform=oci(FOREIGN)).text
    assert "Loaded image: saved:1" in said
    assert available(engine, "saved:1") == {FOREIGN}
    assert engine.call("GET", "/images/saved:1/json").json["Descriptor"]["digest"] == index
    forget_all(engine)
    engine.call("POST", "/images/load", one)
    alone = engine.call("GET", "/images/saved:1/json", manifests="1").json
    assert (alone["Id"], len(alone["Manifests"])) == (made.configs[FOREIGN], 1)


def test_archives_go_through_skopeo_and_back_with_all_platforms(
    engine: NativeEngine, name: str, made: Made, registry: RealRegistry, tmp_path: Path
) -> None:
    archive, back = tmp_path / "theirs.tar", tmp_path / "ours.tar"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    registry.skopeo("copy", "--all", *plain, "docker://{}/multi:1", f"oci-archive:{archive}:sk:1")
    said = engine.call("POST", "/images/load", archive.read_bytes()).text
    assert "Loaded image: sk:1" in said
    assert engine.call("GET", "/images/sk:1/json").json["Descriptor"]["digest"] == made.digest
    assert available(engine, "sk:1") == {*LAYERS, *(f"attestation of {each}" for each in LAYERS)}
    # To where its archives are, it goes as it came.
    engine.call("POST", "/images/sk:1/tag", repo=f"{registry.host}/multi", tag="again")
    assert push(engine, f"{registry.host}/multi:again")[-1]["aux"]["Digest"] == made.digest
    back.write_bytes(engine.call("GET", "/images/sk:1/get").body)
    # For who knows Docker's list alone it is the image that the name is shown as.
    registry.skopeo("copy", f"docker-archive:{back}:sk:1", f"dir:{tmp_path / 'alone'}")
    alone = json.loads((tmp_path / "alone/manifest.json").read_bytes())
    assert alone["config"]["digest"] == made.configs[HOST]
    registry.skopeo("copy", "--all", *plain, f"oci-archive:{back}:1", "docker://{}/back:1")
    forget_all(engine)
    for platform, image_id in made.configs.items():
        pull(engine, f"{registry.host}/back:1", platform)
        image = engine.call("GET", f"/images/{registry.host}/back:1/json", platform=oci(platform)).json
        assert image["Id"] == image_id


def test_build_takes_its_platform_of_an_index_or_pulls_it(
    engine: NativeEngine, name: str, made: Made
) -> None:
    pull(engine, name, SMALL)

    def built(instruction: str, **query: str) -> str:
        dockerfile = tar_of(Dockerfile=f"{instruction} {name}\nLABEL a=b\n".encode())
        answer = engine.call(
            "POST", "/build", dockerfile, t="built:1", headers={"Content-Type": "application/x-tar"}, **query
        )
        assert answer.status == 200, answer.text
        assert "errorDetail" not in answer.text, answer.text
        image = engine.call("GET", "/images/built:1/json").json
        return f"{image['Os']}/{image['Architecture']}"

    assert built("FROM --platform=linux/386") == SMALL
    assert available(engine, name) == {SMALL, f"attestation of {SMALL}"}
    assert built("FROM") == HOST
    assert available(engine, name) >= {SMALL, HOST}
    assert built("FROM --platform=linux/arm64") == "linux/arm64"
    assert built("FROM", platform="linux/386") == SMALL
    assert available(engine, name) >= set(LAYERS)


def test_wherrys_verbs_choose_platforms_as_dockers_do(
    engine: NativeEngine,
    name: str,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clients = Clients(engine, monkeypatch, capfd)
    for platform in (HOST, "linux/arm64"):
        assert clients.wherry("pull", "--platform", platform, name).status == 0
    engine.create("true", image=name)
    ours, theirs = clients.wherry("images", "--tree"), clients.docker("image", "ls", "--tree")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", theirs.out)
    # Docker only greys out what is not here.
    trees = [
        [line.removesuffix("not pulled").split() for line in text.splitlines() if line.strip()]
        for text in (ours.out, shown)
    ]
    assert trees[0] == [line for line in trees[1] if line[0] != "WARNING:"]
    assert re.search(r"─ linux/386 .* not pulled$", ours.out, re.MULTILINE)
    for words in (
        ("image", "inspect", "-f", "{{.Id}}", "--platform", "linux/arm64", name),
        ("history", "-q", "--platform", "linux/arm64", name),
        ("image", "inspect", "--platform", SMALL, name),
        ("images", "--tree", "-q"),
    ):
        ours, theirs = clients.wherry(*words), clients.docker(*words)
        assert (ours.status, ours.out, ours.err) == (theirs.status, theirs.out, theirs.err), words
    saved = tmp_path / "one.tar"
    assert clients.wherry("save", "--platform", "linux/arm64", "-o", str(saved), name).status == 0
    assert clients.wherry("load", "--platform", SMALL, "-i", str(saved)).status != 0
    target = name.replace("multi", "single")
    assert clients.wherry("tag", name, target).status == 0
    pushed = clients.wherry("push", target)
    assert clients.wherry("rmi", target).status == 0
    assert f"{made.digest} -> {made.manifest(HOST)}" in pushed.err
    assert clients.wherry("rmi", "--platform", HOST, name).status == 1
    assert clients.wherry("rmi", "--platform", "linux/arm64", name).status == 0
    assert available(engine, name) & set(LAYERS) == {HOST}
    for client in (clients.wherry, clients.docker):
        engine.call("DELETE", f"/images/{name}", platforms=oci(SMALL), force="1")
        # What of its platforms is not here is pulled, as an image that is not here.
        ran = client("run", "--rm", "--platform", SMALL, name, "cat", "/small")
        assert (ran.status, ran.out) == (0, "386"), ran.err


def test_engine_killed_while_platforms_come_and_go_keeps_whole_ones(
    engine: NativeEngine, name: str, made: Made
) -> None:
    """Many more such moments: test_images_crashes.py."""
    for platform in (HOST, FOREIGN):
        pull(engine, name, platform)
    engine.kill()
    engine.start()
    assert available(engine, name) >= {HOST, FOREIGN}
    # An attestation that a damaged disk lost is as if it had not been pulled.
    attested = manifests(engine, name)[f"attestation of {HOST}"]
    engine.kill()
    (engine.data_root / "content/blobs/sha256" / attested["ID"].removeprefix("sha256:")).unlink()
    engine.start()
    assert not manifests(engine, name)[f"attestation of {HOST}"]["Available"]
    pull(engine, name)
    assert manifests(engine, name)[f"attestation of {HOST}"]["Available"]
    # And of a platform's image that is damaged the others stay.
    engine.kill()
    (engine.data_root / "content/blobs/sha256" / made.configs[HOST].removeprefix("sha256:")).unlink()
    engine.start()
    assert engine.call("GET", f"/images/{name}/json").json["Id"] == made.configs[FOREIGN]
