"""The talk between a parent and its child."""

import pytest

from wherryd.errors import RuntimeFault
from wherryd.runtime.messages import ChildMessage, Peer, Step, failure


def test_why_a_child_gave_up_is_read_though_it_did_not_listen_any_more() -> None:
    """It fails and goes while our message is under way to it: the kernel reports a reset first."""
    ours, theirs = Peer.pair()
    theirs.send(failure(RuntimeFault("no such mount", 126)))
    ours.send(ChildMessage(step=Step.CGROUP))
    theirs.close()
    received = ours.receive()
    assert received is not None
    with pytest.raises(RuntimeFault, match="no such mount") as caught:
        received[0].raise_if_failed()
    assert caught.value.exit_code == 126
    assert ours.receive() is None
    ours.close()


def test_a_child_that_goes_without_a_word_is_an_end() -> None:
    ours, theirs = Peer.pair()
    ours.send(ChildMessage(step=Step.CGROUP))
    theirs.close()
    assert ours.receive() is None
    ours.close()
