"""No field of a create request is dropped in silence: each of the reference's own description is carried out,
refused by name or warned about by name.

Carried out means one of three things, by field in the tables below: the container's config.json differs with
it, or the test that is named proves what it does, or it is told by inspect and means nothing to a container.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import swagger

from wherryd.api import keys
from wherryd.containers import innerfields, limits, request
from wherryd.containers.fields import CONFIG, HOST_CONFIG, Verdict
from wherryd.spec import build, capabilities, users

TESTS = Path(__file__).parents[1]

#: A value of each field that config.json of a container shows. Block I/O needs a device: see below.
IN_CONFIG_JSON: Mapping[str, Any] = {
    "Annotations": {"a": "b"},
    "CapAdd": ["NET_ADMIN"],
    "CapDrop": ["CHOWN"],
    "CpuPeriod": 50_000,
    "CpuQuota": 20_000,
    "CpuShares": 300,
    "CpusetCpus": "0",
    "CpusetMems": "0",
    "DeviceCgroupRules": ["c 7:128 rwm"],
    "MaskedPaths": ["/proc/keys"],
    "Memory": 64 << 20,
    "MemoryReservation": 32 << 20,
    "MemorySwap": -1,
    "NanoCpus": 500_000_000,
    "OomScoreAdj": 100,
    "PidsLimit": 50,
    "Privileged": True,
    "ReadonlyPaths": ["/proc/bus"],
    "ReadonlyRootfs": True,
    "SecurityOpt": ["no-new-privileges"],
    "ShmSize": 1 << 20,
    "Sysctls": {"net.ipv4.ip_forward": "1"},
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 100}],
}

#: Which test shows what it does: file below tests/, and name, or "" for several.
SHOWN_BY: Mapping[str, tuple[str, str]] = {
    "AutoRemove": (
        "guest/test_wire_wait.py",
        "test_a_failed_start_releases_those_who_wait_for_the_removal_of_an_auto_removed_container",
    ),
    "Binds": ("conformance/test_docker_cli.py", "test_a_read_only_bind_stays_untouched"),
    "BlkioDeviceReadBps": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "BlkioDeviceReadIOps": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "BlkioDeviceWriteBps": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "BlkioDeviceWriteIOps": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "BlkioWeight": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "BlkioWeightDevice": ("guest/test_api_limits.py", "test_block_io_limits_arrive_in_the_cgroup"),
    "CgroupParent": ("guest/test_api_limits.py", "test_a_cgroup_parent_is_where_the_container_lives"),
    "CgroupnsMode": ("guest/test_api_limits.py", "test_namespaces_are_the_hosts_or_anothers_on_demand"),
    "Cmd": ("conformance/test_docker_cli.py", "test_run_prints_both_streams_and_passes_the_exit_status"),
    "ConsoleSize": (
        "conformance/test_docker_cli_terminals.py",
        "test_an_interactive_shell_has_a_terminal_of_the_right_size",
    ),
    "CpuRealtimePeriod": (
        "unit/test_containers_limits.py",
        "test_real_time_scheduling_needs_a_kernel_that_has_it",
    ),
    "CpuRealtimeRuntime": (
        "unit/test_containers_limits.py",
        "test_real_time_scheduling_needs_a_kernel_that_has_it",
    ),
    "Devices": ("guest/test_api_limits.py", "test_a_device_is_there_as_far_as_allowed"),
    "Dns": ("guest/test_api_limits.py", "test_name_servers_and_hosts_are_in_the_containers_files"),
    "DnsOptions": ("guest/test_api_limits.py", "test_name_servers_and_hosts_are_in_the_containers_files"),
    "DnsSearch": ("guest/test_api_limits.py", "test_name_servers_and_hosts_are_in_the_containers_files"),
    "Domainname": ("guest/test_api_limits.py", "test_name_servers_and_hosts_are_in_the_containers_files"),
    "Entrypoint": ("conformance/test_docker_cli.py", "test_run_with_another_entrypoint"),
    "Env": ("guest/test_api_exec.py", "test_a_variable_without_a_value_is_shown_and_taken_away"),
    "ExposedPorts": ("conformance/test_docker_cli.py", "test_a_published_port_is_reached_and_shown"),
    "ExtraHosts": ("guest/test_api_limits.py", "test_name_servers_and_hosts_are_in_the_containers_files"),
    "GroupAdd": ("guest/test_api_limits.py", "test_groups_are_added_to_the_process"),
    "Healthcheck": (
        "guest/test_health.py",
        "test_a_container_becomes_healthy_then_unhealthy_and_everybody_can_see_it",
    ),
    "Hostname": ("conformance/test_docker_cli.py", "test_run_takes_environment_folder_user_and_hostname"),
    "Image": (
        "guest/test_wire_routing.py",
        "test_a_missing_image_is_told_in_the_words_that_docker_py_looks_for",
    ),
    "Init": ("guest/test_init.py", ""),
    "IpcMode": ("guest/test_api_limits.py", "test_namespaces_are_the_hosts_or_anothers_on_demand"),
    "Isolation": ("unit/test_containers_request.py", "test_a_value_that_cannot_be_is_refused"),
    "Labels": ("conformance/test_docker_cli_lifecycle.py", "test_ps_filters"),
    "Links": ("guest/test_api_limits.py", "test_a_link_can_be_removed"),
    "LogConfig": ("guest/test_logs.py", ""),
    "MacAddress": ("guest/test_networks_service.py", "test_a_chosen_mac_is_the_devices"),
    "MemorySwappiness": (
        "guest/test_api_limits.py",
        "test_swappiness_and_the_oom_killer_are_set_where_the_kernel_can",
    ),
    "Mounts": ("guest/test_volumes.py", "test_tmpfs_has_its_options_both_ways"),
    "NetworkDisabled": ("guest/test_api_limits.py", "test_a_disabled_network_is_none"),
    "NetworkMode": ("conformance/test_docker_cli.py", "test_network_modes_give_their_devices"),
    "OomKillDisable": (
        "guest/test_api_limits.py",
        "test_swappiness_and_the_oom_killer_are_set_where_the_kernel_can",
    ),
    "OpenStdin": (
        "guest/test_wire_hijack.py",
        "test_the_end_of_input_ends_stdin_once_and_the_output_goes_on",
    ),
    "PidMode": ("guest/test_api_limits.py", "test_namespaces_are_the_hosts_or_anothers_on_demand"),
    "PortBindings": ("conformance/test_docker_cli.py", "test_a_published_port_is_reached_and_shown"),
    "PublishAllPorts": ("guest/test_api_limits.py", "test_all_exposed_ports_are_published_on_demand"),
    "RestartPolicy": (
        "conformance/test_docker_cli_lifecycle.py",
        "test_restart_policy_brings_a_container_back_until_its_limit",
    ),
    "Runtime": ("conformance/test_other_runtimes.py", ""),
    "StdinOnce": ("guest/test_runtime_streams.py", "test_stdin_once_ends_with_the_clients_half_close"),
    "StopSignal": ("conformance/test_docker_cli_lifecycle.py", "test_stop_signal_and_stop_timeout"),
    "StopTimeout": ("conformance/test_docker_cli_lifecycle.py", "test_stop_signal_and_stop_timeout"),
    "Tmpfs": ("guest/test_volumes.py", "test_tmpfs_has_its_options_both_ways"),
    "Tty": (
        "conformance/test_docker_cli_terminals.py",
        "test_an_interactive_shell_has_a_terminal_of_the_right_size",
    ),
    "UTSMode": ("guest/test_api_limits.py", "test_namespaces_are_the_hosts_or_anothers_on_demand"),
    "User": ("conformance/test_docker_cli.py", "test_run_takes_environment_folder_user_and_hostname"),
    "UsernsMode": ("guest/test_security_remap.py", ""),
    "VolumeDriver": (
        "guest/test_api_limits.py",
        "test_another_volume_driver_counts_only_where_a_volume_is_made",
    ),
    "Volumes": (
        "guest/test_volumes.py",
        "test_a_new_volume_gets_what_the_image_has_there_with_owners_and_modes",
    ),
    "VolumesFrom": (
        "guest/test_volumes.py",
        "test_volumes_from_gives_way_to_the_request_and_may_be_read_only",
    ),
    "WorkingDir": ("conformance/test_docker_cli.py", "test_run_takes_environment_folder_user_and_hostname"),
}

#: The same for the objects inside: pattern -> the test that shows its fields, and single ones by their name.
SHOWN_INSIDE: Mapping[str, tuple[str, str]] = {
    "Healthcheck": ("guest/test_health.py", ""),
    "HostConfig.BlkioWeightDevice[]": ("unit/test_cgroups_plans.py", "test_block_weights_in_both_versions"),
    "HostConfig.BlkioDeviceReadBps[]": SHOWN_BY["BlkioDeviceReadBps"],
    "HostConfig.BlkioDeviceWriteBps[]": SHOWN_BY["BlkioDeviceWriteBps"],
    "HostConfig.BlkioDeviceReadIOps[]": SHOWN_BY["BlkioDeviceReadIOps"],
    "HostConfig.BlkioDeviceWriteIOps[]": SHOWN_BY["BlkioDeviceWriteIOps"],
    "HostConfig.Devices[]": SHOWN_BY["Devices"],
    "HostConfig.DeviceRequests[]": (
        "unit/test_containers_request.py",
        "test_what_is_not_available_is_refused_by_name",
    ),
    "HostConfig.Ulimits[]": (
        "guest/test_wire_build.py",
        "test_labels_cache_sources_and_limits_of_a_build_are_json",
    ),
    "HostConfig.LogConfig": SHOWN_BY["LogConfig"],
    "HostConfig.PortBindings{}[]": SHOWN_BY["PortBindings"],
    "HostConfig.RestartPolicy": SHOWN_BY["RestartPolicy"],
    "HostConfig.Mounts[]": ("guest/test_volumes.py", ""),
    "HostConfig.Mounts[].Consistency": (
        "unit/test_containers_request.py",
        "test_unknown_fields_and_words_inside_are_warned_about_by_name",
    ),
    "HostConfig.Mounts[].BindOptions": (
        "guest/test_volumes.py",
        "test_what_is_mounted_below_a_read_only_bind_is_read_only_too",
    ),
    "HostConfig.Mounts[].BindOptions.Propagation": (
        "guest/test_runtime_fields.py",
        "test_every_propagation_is_that_of_the_mount",
    ),
    "HostConfig.Mounts[].BindOptions.CreateMountpoint": (
        "guest/test_volumes.py",
        "test_a_missing_bind_source_is_made_by_v_and_an_error_for_mount",
    ),
    "HostConfig.Mounts[].VolumeOptions": (
        "guest/test_volumes.py",
        "test_labels_of_a_mount_go_to_the_volume_it_makes",
    ),
    "HostConfig.Mounts[].VolumeOptions.NoCopy": (
        "guest/test_volumes.py",
        "test_nocopy_leaves_a_new_volume_empty",
    ),
    "HostConfig.Mounts[].VolumeOptions.Subpath": (
        "guest/test_volumes.py",
        "test_a_subpath_of_a_volume_is_mounted_alone",
    ),
    "HostConfig.Mounts[].VolumeOptions.DriverConfig": (
        "guest/test_volumes.py",
        "test_a_volume_may_be_a_folder_of_the_machine",
    ),
    "HostConfig.Mounts[].ImageOptions": (
        "unit/test_containers_request.py",
        "test_a_bad_mount_is_refused_in_dockers_words",
    ),
    "HostConfig.Mounts[].TmpfsOptions": ("guest/test_volumes.py", "test_tmpfs_has_its_options_both_ways"),
    "NetworkingConfig": ("guest/test_networks_connecting.py", ""),
    "NetworkingConfig.EndpointsConfig{}": ("guest/test_networks_connecting.py", ""),
    "NetworkingConfig.EndpointsConfig{}.IPAMConfig": ("guest/test_networks_user.py", ""),
}

#: What only clients and later builds read: a container is not another for it. Inspect tells it.
FOR_CLIENTS = frozenset(
    {"AttachStdin", "AttachStdout", "AttachStderr", "ContainerIDFile", "OnBuild", "Shell"}
)


@pytest.mark.parametrize(("name", "table"), [("ContainerConfig", CONFIG), ("HostConfig", HOST_CONFIG)])
def test_every_described_field_is_known(name: str, table: Mapping[str, Any]) -> None:
    newest, oldest = (set(swagger.description(version).properties(name)) for version in ("1.51", "1.41"))
    assert newest <= set(table) <= newest | oldest


def test_every_described_field_of_the_objects_inside_is_known() -> None:
    described = swagger.description().inner_fields("/containers/create", "POST")
    assert described.pop("") == {*CONFIG, "HostConfig", "NetworkingConfig"}
    assert described.pop("HostConfig") <= frozenset(HOST_CONFIG)  # fields of older versions are known, too
    assert described == innerfields.INNER
    assert set(described) <= set(SHOWN_INSIDE)


@pytest.mark.parametrize(
    "name",
    ["ContainerConfig", "HostConfig", "EndpointSettings", "EndpointIPAMConfig", "Mount", "HealthConfig"],
)
def test_every_described_field_is_read_in_any_case(name: str) -> None:
    for field in swagger.description().properties(name):
        assert keys.canonical({field.lower(): 1}) == {field: 1}


def test_every_field_that_is_carried_out_has_its_proof() -> None:
    """The others are refused or warned about by name: tests/unit/test_containers_request.py."""
    done = {
        key
        for table in (CONFIG, HOST_CONFIG)
        for key, row in table.items()
        if row.verdict is Verdict.CARRIED_OUT
    }
    assert done == {*IN_CONFIG_JSON, *SHOWN_BY, *FOR_CLIENTS}


def _config_json(host: dict[str, Any]) -> dict[str, Any]:
    host_config = request.parse({"HostConfig": host}).host_config
    return build.build(
        build.Plan(
            container_id="c" * 64,
            arguments=["sh"],
            environment=[],
            working_directory="",
            user=users.User(),
            terminal=False,
            hostname="box",
            domainname="",
            host_config=host_config,
            namespaces={"mount": None, "ipc": None, "network": None, "pid": None},
            cgroup_parent="/wherry",
            available_capabilities=capabilities.ALL,
            device_rules=limits.device_rules(host_config),
        )
    )


@pytest.mark.parametrize("key", IN_CONFIG_JSON)
def test_a_field_of_the_runtime_is_in_config_json(key: str) -> None:
    given = {key: IN_CONFIG_JSON[key]}
    if key == "MemorySwap":
        given["Memory"] = 64 << 20
        assert _config_json(given)["linux"]["resources"]["memory"]["swap"] == -1
    assert _config_json(given) != _config_json({})


@pytest.mark.parametrize("claim", sorted({*SHOWN_BY.values(), *SHOWN_INSIDE.values()}))
def test_a_named_test_is_there(claim: tuple[str, str]) -> None:
    file, name = claim
    assert re.search(rf"def {name}\(" if name else r"def test_", (TESTS / file).read_text())
