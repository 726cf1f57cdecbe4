"""Every field of the OCI runtime spec's schema is carried out and shown by a test, or refused by its name."""

import contextlib
import re
from pathlib import Path
from typing import Any

import oci_schema
import pytest
from oci_schema import Node, Schema

from wherryd.errors import InvalidParameter, NotSupported
from wherryd.spec import parse

TESTS = Path(__file__).parents[1]
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

#: A field, or what has it, and the test that shows what it does; the nearest one counts.
SHOWN_BY = {
    "ociVersion": (
        "guest/test_security_hooks.py::test_by_an_older_spec_a_failure_after_the_start_is_a_warning"
    ),
    "hooks": "guest/test_security_hooks.py::test_all_six_run_where_and_when_they_should",
    "hooks.createRuntime[].timeout": "guest/test_security_hooks.py::test_a_hook_that_is_late_is_killed",
    "hooks.createRuntime[].env": (
        "guest/test_security_hooks.py::test_a_hook_has_its_own_environment_and_no_descriptor_of_ours"
    ),
    "annotations": "guest/test_security_hooks.py::test_all_six_run_where_and_when_they_should",
    "hostname": "guest/test_runtime_containers.py::test_hostname_environment_and_cwd_are_set",
    "domainname": "guest/test_runtime_fields.py::test_the_process_is_as_its_fields_say",
    "mounts": "guest/test_runtime_isolation.py::test_bind_mounts_of_files_and_folders_with_readonly",
    "mounts[].options": "guest/test_runtime_fields.py::test_every_mount_option_is_put_into_force",
    "mounts[].type": "guest/test_runtime_isolation.py::test_tmpfs_and_its_options",
    "mounts[].uidMappings": (
        "guest/test_security_userns.py::test_a_bind_can_be_mapped_without_a_user_namespace"
    ),
    "mounts[].gidMappings": (
        "guest/test_security_userns.py::test_a_bind_can_be_mapped_without_a_user_namespace"
    ),
    "root.path": "guest/test_runtime_cli.py::test_run_has_our_streams_and_the_exit_code",
    "root.readonly": "guest/test_runtime_isolation.py::test_a_readonly_root_has_its_mount_points_made_before",
    "process.args": "guest/test_runtime_containers.py::test_output_of_both_streams_and_exit_code_come_back",
    "process.consoleSize": "guest/test_runtime_fields.py::test_a_terminal_begins_with_the_size_of_the_config",
    "process.cwd": "guest/test_runtime_containers.py::test_hostname_environment_and_cwd_are_set",
    "process.env": "guest/test_runtime_containers.py::test_hostname_environment_and_cwd_are_set",
    "process.terminal": (
        "guest/test_runtime_streams.py::test_a_terminal_is_the_controlling_one_and_has_its_size"
    ),
    "process.user": (
        "guest/test_runtime_containers.py::test_a_numeric_user_has_its_groups_and_no_capability_after_exec"
    ),
    "process.user.username": "guest/test_runtime_containers.py::test_a_user_is_found_by_name_with_its_groups",
    "process.capabilities": (
        "guest/test_runtime_fields.py::test_each_of_the_five_sets_is_what_it_is_said_to_be"
    ),
    "process.apparmorProfile": "unit/test_runtime_values.py::test_a_profile_is_written_for_the_next_exec",
    "process.oomScoreAdj": "guest/test_runtime_isolation.py::test_oom_score_is_set",
    "process.selinuxLabel": "guest/test_runtime_cli_options.py::test_labels_without_selinux_are_warned_about",
    "process.ioPriority": "guest/test_runtime_fields.py::test_the_process_is_as_its_fields_say",
    "process.noNewPrivileges": "guest/test_runtime_isolation.py::test_no_new_privileges_is_set_when_asked",
    "process.scheduler": "guest/test_runtime_fields.py::test_the_process_is_as_its_fields_say",
    "process.scheduler.priority": "guest/test_runtime_fields.py::test_realtime_and_deadline_reach_the_kernel",
    "process.scheduler.runtime": "guest/test_runtime_fields.py::test_realtime_and_deadline_reach_the_kernel",
    "process.scheduler.deadline": "guest/test_runtime_fields.py::test_realtime_and_deadline_reach_the_kernel",
    "process.scheduler.period": "guest/test_runtime_fields.py::test_realtime_and_deadline_reach_the_kernel",
    "process.rlimits": "guest/test_runtime_fields.py::test_every_rlimit_is_set",
    "process.execCPUAffinity": "guest/test_runtime_cli_options.py::test_exec_runs_on_the_cpus_it_is_given",
    "linux.devices": (
        "guest/test_runtime_cli_options.py::test_nodes_of_the_config_can_be_made_under_its_own_rules"
    ),
    "linux.uidMappings": "guest/test_security_userns.py::test_root_inside_is_nobody_outside",
    "linux.gidMappings": "guest/test_security_userns.py::test_root_inside_is_nobody_outside",
    "linux.namespaces[].type": (
        "guest/test_runtime_containers.py::test_namespaces_differ_from_the_hosts_unless_shared"
    ),
    "linux.namespaces[].path": "guest/test_runtime_fields.py::test_every_kind_of_namespace_is_joined_by_path",
    "linux.resources.unified": "guest/test_runtime_cgroup2.py::test_unified_keys_are_written_as_they_are",
    "linux.resources.devices": "unit/test_cgroups_plans.py::test_the_last_rule_that_fits_decides",
    "linux.resources.pids.limit": "guest/test_runtime_limits.py::test_the_number_of_processes_is_limited",
    "linux.resources.blockIO": "unit/test_cgroups_plans.py::test_block_rates_in_both_versions",
    "linux.resources.blockIO.weight": "unit/test_cgroups_plans.py::test_block_weights_in_both_versions",
    "linux.resources.blockIO.leafWeight": "unit/test_cgroups_plans.py::test_block_weights_in_both_versions",
    "linux.resources.blockIO.weightDevice": "unit/test_cgroups_plans.py::test_block_weights_in_both_versions",
    "linux.resources.cpu": "guest/test_runtime_limits.py::test_a_quota_throttles",
    "linux.resources.cpu.burst": "unit/test_cgroups_plans.py::test_half_a_cpu",
    "linux.resources.cpu.idle": (
        "unit/test_cgroups_plans.py::test_a_group_stops_being_idle_before_it_gets_shares"
    ),
    "linux.resources.cpu.realtimeRuntime": "unit/test_cgroups_plans.py::test_realtime_is_of_v1",
    "linux.resources.cpu.realtimePeriod": "unit/test_cgroups_plans.py::test_realtime_is_of_v1",
    "linux.resources.cpu.cpus": "guest/test_runtime_limits.py::test_cpuset_is_applied",
    "linux.resources.cpu.mems": "guest/test_runtime_fields.py::test_memory_nodes_are_bound",
    "linux.resources.hugepageLimits": "unit/test_cgroups_plans.py::test_huge_pages_in_both_versions",
    "linux.resources.memory": "guest/test_runtime_limits.py::test_too_much_memory_is_killed_and_told",
    "linux.resources.memory.reservation": "guest/test_runtime_fields.py::test_soft_limits_of_memory_are_set",
    "linux.resources.memory.swappiness": (
        "guest/test_api_limits.py::test_swappiness_and_the_oom_killer_are_set_where_the_kernel_can"
    ),
    "linux.resources.memory.disableOOMKiller": (
        "guest/test_api_limits.py::test_swappiness_and_the_oom_killer_are_set_where_the_kernel_can"
    ),
    "linux.resources.memory.useHierarchy": (
        "unit/test_spec_schema.py::test_accounting_without_hierarchy_is_refused"
    ),
    "linux.resources.memory.checkBeforeUpdate": (
        "unit/test_cgroups_plans.py::test_a_limit_below_the_usage_is_refused_when_asked"
    ),
    "linux.resources.network": "unit/test_cgroups_plans.py::test_packets_are_marked_in_v1_only",
    "linux.resources.rdma": "unit/test_cgroups_plans.py::test_rdma_leaves_what_is_not_given",
    "linux.cgroupsPath": "unit/test_cgroups_plans.py::test_cgroup_paths",
    "linux.rootfsPropagation": "guest/test_runtime_cli_options.py::test_the_root_can_be_shared_or_unbindable",
    "linux.seccomp": "guest/test_security_seccomp.py::test_every_action_does_what_it_says",
    "linux.seccomp.flags": "guest/test_security_seccomp.py::test_the_kernels_flags_are_taken",
    "linux.seccomp.listenerPath": (
        "guest/test_security_seccomp.py::test_notify_hands_the_listener_and_the_state_to_the_agent"
    ),
    "linux.seccomp.listenerMetadata": (
        "guest/test_security_seccomp.py::test_notify_hands_the_listener_and_the_state_to_the_agent"
    ),
    "linux.seccomp.architectures": (
        "guest/test_security_seccomp.py::test_a_call_of_an_architecture_that_is_not_listed_kills"
    ),
    "linux.seccomp.syscalls[].args": (
        "guest/test_security_seccomp.py::test_every_comparison_of_an_argument_decides"
    ),
    "linux.sysctl": "guest/test_runtime_isolation.py::test_sysctls_of_the_containers_namespaces_are_set",
    "linux.maskedPaths": "guest/test_runtime_isolation.py::test_masked_and_readonly_paths",
    "linux.readonlyPaths": "guest/test_runtime_isolation.py::test_masked_and_readonly_paths",
    "linux.mountLabel": "guest/test_runtime_cli_options.py::test_labels_without_selinux_are_warned_about",
    "linux.memoryPolicy": "guest/test_runtime_fields.py::test_the_process_is_as_its_fields_say",
    "linux.personality": "guest/test_runtime_cli_options.py::test_scheduling_is_put_into_force",
    "linux.timeOffsets": "guest/test_runtime_fields.py::test_both_clocks_are_shifted_to_the_nanosecond",
}

#: A name for what may have any.
ANY = "any0"

#: Refused with NotSupported, by this name.
REFUSED = (
    "freebsd",
    "solaris",
    "vm",
    "windows",
    "zos",
    "process.commandLine",
    "linux.intelRdt",
    "linux.netDevices",
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
)

#: Two values that differ in what they ask for, where the schema's type alone does not give them.
_VALUES: dict[str, tuple[Any, Any]] = {
    "ociVersion": ("1.0.2", "1.2.0"),
    "process.cwd": ("/a", "/b"),
    "process.env": (["A=1"], ["A=2"]),
    **{f"hooks.{name}[].env": (["A=1"], ["A=2"]) for name in HOOKS},
    "process.args": (["a"], ["b"]),
    "process.scheduler.policy": ("SCHED_OTHER", "SCHED_BATCH"),
    "process.rlimits[].hard": (8, 9),
    "process.rlimits[].type": ("RLIMIT_NOFILE", "RLIMIT_NPROC"),
    "process.execCPUAffinity.initial": ("0", "1"),
    "process.execCPUAffinity.final": ("0", "1"),
    "linux.devices[].type": ("c", "b"),
    "linux.namespaces[].path": ("/a", "/b"),
    "linux.resources.unified": ({"memory.high": "1"}, {"memory.high": "2"}),
    "linux.resources.devices[].type": ("b", "c"),
    "linux.resources.devices[].access": ("r", "w"),
    "linux.resources.hugepageLimits[].pageSize": ("2MB", "1GB"),
    "linux.resources.cpu.idle": (0, 1),
    "linux.resources.memory.useHierarchy": (True, None),
    "linux.seccomp.defaultAction": ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"),
    "linux.seccomp.syscalls[].action": ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"),
    "linux.sysctl": ({"net.a": "1"}, {"net.a": "2"}),
    "linux.memoryPolicy.mode": ("MPOL_BIND", "MPOL_INTERLEAVE"),
    "linux.memoryPolicy.nodes": ("0", "1"),
}
#: Paths begin with a slash.
_PATHS = re.compile(r"(hooks\..*\[\]|linux\.devices\[\])\.path$")
#: Only one value asks for anything: the other says nothing.
_SAME_THING = {"linux.resources.memory.useHierarchy"}
#: The spec has no such flag yet: each is refused.
_NO_VALUE = {"linux.personality.flags"}

#: What must be beside a field for it to be allowed, more than the schema says. Patterns of the whole path.
_NOTIFY = {"listenerPath": "/x", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
_ONE_ID = [{"containerID": 0, "hostID": 0, "size": 1}]
_BESIDE: dict[str, dict[str, Any]] = {
    r"process\.consoleSize\.\w+": {"height": 7, "width": 7},
    r"process\.scheduler\.priority": {"policy": "SCHED_FIFO"},
    r"process\.scheduler\.(runtime|deadline|period)": {"policy": "SCHED_DEADLINE"},
    r"process\.rlimits\[\]\.\w+": {"soft": 1, "hard": 9},
    r"linux\.devices\[\]\.\w+": {"major": 1, "minor": 1},
    r"linux\.resources\.blockIO\.throttle\w+\[\]\.\w+": {"rate": 1},
    r"linux\.seccomp\.listener\w+": _NOTIFY,
    r"linux\.memoryPolicy\.(nodes|flags)": {"mode": "MPOL_BIND"},
    r"mounts\[\]\.(uid|gid)Mappings": {
        "type": "bind",
        "options": ["bind"],
        "uidMappings": _ONE_ID,
        "gidMappings": _ONE_ID,
    },
}


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


def refusal(path: str) -> str | None:
    return next((name for name in REFUSED if path == name or path.startswith((f"{name}.", f"{name}["))), None)


def nearest(path: str) -> str | None:
    """The longest key of SHOWN_BY that is path or has it."""
    found = [key for key in SHOWN_BY if path == key or path.startswith((f"{key}.", f"{key}["))]
    return max(found, key=len, default=None)


def plain() -> dict[str, Any]:
    """With every namespace that a field may need."""
    kinds = ("mount", "pid", "network", "uts", "ipc", "time", "cgroup")
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
    }


def values(path: str, node: Node) -> tuple[Any, Any]:
    if path in _VALUES:
        return _VALUES[path]
    kind, words = node.schema.get("type"), node.schema.get("enum")
    if words:
        return words[0], words[-1]
    if kind == "boolean":
        return True, False
    if kind == "integer":
        return 1, 2
    if kind == "array":
        item = node.schema["items"]
        inner = Schema().resolved(item, node.file)
        first, second = values(f"{path}[]", inner)
        return [first], [second]
    if kind == "object":
        return {"a": "1"}, {"a": "2"}
    return ("/a", "/b") if _PATHS.search(path) else ("a", "b")


def beside(schema: Schema, node: Node, place: str, name: str) -> dict[str, Any]:
    """What the object at place (node) needs when it has the field."""
    found = {
        other: values(f"{place}.{other}", each)[0]
        for other, each in schema.properties(node).items()
        if other in schema.required(node) and not each.schema.get("properties")
    }
    for pattern, more in _BESIDE.items():
        if re.fullmatch(pattern, f"{place}.{name}"):
            found |= more
    return {other: value for other, value in found.items() if other != name}


def put(schema: Schema, document: dict[str, Any], path: str, value: Any) -> None:
    """Sets the field in document, with whatever the objects on the way need."""
    node, target, place = schema.root, document, ""
    *way, last = path.split(".")
    for word in way:
        name = word.removesuffix("[]")
        if name != "*":
            for other, given in beside(schema, node, place, name).items():
                target.setdefault(other, given)
        node = schema.items(node) if name == "*" else schema.properties(node)[name]  # type: ignore[assignment]
        place = f"{place}.{word}".lstrip(".")
        if word.endswith("[]"):
            node = schema.items(node)  # type: ignore[assignment]
            target[name] = [{}]
            target = target[name][0]
        else:
            target = target.setdefault(ANY if name == "*" else name, {})
    for other, given in beside(schema, node, place, last).items():
        target.setdefault(other, given)
    target[last] = value


def test_no_field_is_left_out_of_the_tables(schema: Schema) -> None:
    fields = [path for path, _ in schema.leaves()]
    assert len(fields) > 150
    assert [path for path in fields if refusal(path) is None and nearest(path) is None] == []
    assert SHOWN_BY.keys() - {nearest(path) for path in fields} == set()
    assert set(REFUSED) - {refusal(path) for path in fields} == set()
    for place in SHOWN_BY.values():
        file, _, name = place.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE), place


def test_a_field_of_the_wrong_type_is_told_or_refused_by_its_name(schema: Schema) -> None:
    """Whatever is not looked at would go through."""
    for path, _ in schema.leaves():
        document = plain()
        # A number with a fraction fits no field that there is.
        put(schema, document, path, 1.5)
        with pytest.raises((InvalidParameter, NotSupported)) as caught:
            parse.parse(document)
        name = path.replace("[]", "[0]").replace("*", ANY)
        wanted = refusal(path) or name
        assert wanted in str(caught.value), (path, str(caught.value))
        assert isinstance(caught.value, NotSupported) is bool(refusal(path)), path


def test_two_values_of_a_field_are_two_specs(schema: Schema) -> None:
    """Whatever is only checked, and then forgotten, would be the same."""
    for path, node in schema.leaves():
        if refusal(path) or path in _NO_VALUE:
            continue
        specs = []
        for value in values(path, node):
            document = plain()
            put(schema, document, path, value)
            specs.append(parse.parse(document))
        assert (specs[0] == specs[1]) is (path in _SAME_THING), path


#: A word that is not to be had there, and what is said of it.
_NOT_THERE = {
    ("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY"): "cannot be the default",
    ("linux.seccomp.syscalls[].action", "SCMP_ACT_NOTIFY"): "listenerPath: is needed",
    # Here it stands alone: other tests have it with what it needs.
    ("linux.namespaces[].type", "user"): "a user namespace needs a new mount namespace",
}


def test_every_word_of_an_enumeration_is_known(schema: Schema) -> None:
    words = 0
    for path, node in schema.leaves():
        listed = node.schema.get("type") == "array"
        inner = schema.resolved(node.schema["items"], node.file) if listed else node
        for word in () if refusal(path) else inner.schema.get("enum", ()):
            words += 1
            document = plain()
            put(schema, document, path, [word] if listed else word)
            said = _NOT_THERE.get((path, word))
            with contextlib.nullcontext() if said is None else pytest.raises(InvalidParameter, match=said):
                parse.parse(document)
    assert words > 60


def test_what_is_refused_is_refused_with_the_next_step(schema: Schema) -> None:
    for name in REFUSED:
        document = plain()
        path, node = next((path, node) for path, node in schema.leaves() if refusal(path) == name)
        put(schema, document, path, values(path, node)[0])
        with pytest.raises(NotSupported, match=f"{re.escape(name)}.*remove it from the config"):
            parse.parse(document)


def test_accounting_without_hierarchy_is_refused() -> None:
    """Linux has no other since 5.11."""
    parse.parse_resources({"memory": {"useHierarchy": True}})
    with pytest.raises(NotSupported, match="useHierarchy"):
        parse.parse_resources({"memory": {"useHierarchy": False}})


def test_the_specs_own_examples_are_taken_or_refused_by_name() -> None:
    """Those of Linux; what the schema calls bad is no config to us either."""
    examples = oci_schema.folder() / "test/config"
    if not examples.is_dir():
        pytest.skip("the spec's examples are not here")
    for path in sorted(examples.glob("*/*.json")):
        try:
            parse.load(path)
            outcome = "taken"
        except NotSupported:
            outcome = "refused"
        except InvalidParameter:
            outcome = "invalid"
        assert (outcome == "taken") <= (path.parent.name == "good"), path
        assert (outcome == "invalid") <= (path.parent.name == "bad" or "linux" not in path.name), path
