"""Restart policies: whether, and after how long. Source: docker run reference, "Restart policies"."""

from wherryd.containers.record import ContainerRecord

#: A container that lived this long gets the short first delay again.
STEADY_SECONDS = 10

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 60.0


def wanted(record: ContainerRecord, exit_code: int) -> bool:
    """Whether the policy starts it again after this exit."""
    if record.stopped_by_user:
        return False
    policy = record.host_config["RestartPolicy"]
    if policy["Name"] == "on-failure":
        most = policy["MaximumRetryCount"]
        return exit_code != 0 and (most == 0 or record.restart_count < most)
    return policy["Name"] in ("always", "unless-stopped")


def wanted_at_boot(record: ContainerRecord) -> bool:
    """Whether a new engine starts a container that died together with the old one's machine.

    `always` comes back even after a stop by the user; `unless-stopped` does not.
    """
    policy = record.host_config["RestartPolicy"]["Name"]
    return policy == "always" or (policy == "unless-stopped" and not record.stopped_by_user)


def delay_seconds(restarts_in_a_row: int) -> float:
    """0.1, 0.2, 0.4, ... up to a minute."""
    return float(min(_FIRST_DELAY_SECONDS * 2 ** min(restarts_in_a_row, 16), _LONGEST_DELAY_SECONDS))
