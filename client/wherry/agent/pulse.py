"""The guest's clock follows the host's, and a guest that answers no more is noticed.

Emulation and sleep make a guest's clock drift, and TLS in containers fails first. Every PERIOD the guest
is asked for its time, and told ours when it is off by more than the limit. The question is also the proof
of life: a hypervisor's NAT keeps a TCP connection to a frozen guest open for ever.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from wherry.errors import TunnelProblem
from wherry.tunnel.dial import GuestCommandProblem, Tunnel

PERIOD_SECONDS = 10.0
#: A guest that does not even start a command in this time has hung. Emulated guests under load need seconds.
ANSWER_SECONDS = 30.0
LIMIT_SECONDS = 0.1
#: Steps at one time; what is left is the next beat's.
ROUNDS = 3

ASK = "date +%s.%N"
STEP = "sudo -n /usr/lib/wherry/clock {epoch:.3f}"


@dataclass(frozen=True, slots=True)
class Reading:
    """offset: guest minus host, seconds. round_trip: seconds the question took; half of it is doubt."""

    offset: float
    round_trip: float

    @property
    def is_off(self) -> bool:
        """Off by more than the limit, whatever share of the round trip went which way."""
        return abs(self.offset) > LIMIT_SECONDS + self.round_trip / 2


def read_clock(tunnel: Tunnel) -> Reading:
    """Raises TunnelProblem."""
    before = time.time()
    answer = tunnel.run(ASK, timeout_seconds=ANSWER_SECONDS)
    after = time.time()
    try:
        guest = float(answer)
    except ValueError as exc:
        raise GuestCommandProblem(f"`{ASK}` in the guest says {answer.strip()!r}, not a time") from exc
    return Reading(guest - (before + after) / 2, after - before)


def set_clock(tunnel: Tunnel) -> Reading | None:
    """Steps the guest's clock if it is off; the reading before the step, or None if it was right.

    What is told is the host's time when the guest will take it. How long that is from now is guessed from
    the question's round trip first; a clock that is still off shows how wrong the guess was (the command
    starts two programs, and an emulated guest needs a second for that). Raises TunnelProblem.
    """
    first = reading = read_clock(tunnel)
    lag = reading.round_trip / 2
    for _ in range(ROUNDS):
        if not reading.is_off:
            break
        if reading is not first:
            lag -= reading.offset
        tunnel.run(STEP.format(epoch=time.time() + lag), timeout_seconds=ANSWER_SECONDS)
        reading = read_clock(tunnel)
    return first if first.is_off else None


class Pulse:
    """A thread per tunnel. on_lost is called from it, once, when the tunnel has ended, by itself or because
    the guest does not answer. stepped and failed report about the clock.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        *,
        on_lost: Callable[[], None],
        stepped: Callable[[Reading], None],
        failed: Callable[[str], None],
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._tunnel = tunnel
        self._on_lost = on_lost
        self._stepped = stepped
        self._failed = failed
        self._period = period_seconds
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the end; the caller has closed the tunnel."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            while True:
                self._beat()
                if self._tunnel.wait_closed(self._period):
                    return
        finally:
            self._on_lost()

    def _beat(self) -> None:
        try:
            reading = set_clock(self._tunnel)
            if reading is not None:
                self._stepped(reading)
        except GuestCommandProblem as exc:
            self._failed(str(exc))  # the guest answers, it just cannot set its clock
        except TunnelProblem as exc:
            self._failed(str(exc))
            self._tunnel.close()
