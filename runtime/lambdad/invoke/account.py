"""The concurrency of the account: how many invocations run, and how many may. Pure counting.

Not who decides: the policy compares the figures, the pools count what they begin and end.

What a function has reserved is its own, over all its versions; the others share the rest. What
is provisioned for a version is set aside within that, for this version alone; what it runs
beyond comes out of what is left. Source:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from lambdad.model import limits


class Share(NamedTuple):
    """What the next invocation of a version would be one more of.

    Attributes:
        running: how many of them run.
        limit: how many may.
        reserved: whether the function has reserved it, and so hears another reason.
    """

    running: int
    limit: int
    reserved: bool


@dataclass(frozen=True, slots=True)
class Allocation:
    """How far a pool is with the environments that were provisioned for its version.

    Attributes:
        requested: how many are to stand.
        allocated: how many have been made and stand.
        available: how many of those take invocations, now or when they are done.
        failed: why the rest cannot be had, in a word of AWS's or a sentence; None if all is
            well or on its way.
    """

    requested: int
    allocated: int
    available: int
    failed: str | None = None


class Account:
    """What runs, and the shares it runs in.

    Args:
        limit: invocations at a time, of all functions.
        scaling_rate: environments that one function may add in ``limits.scaling_period_s``;
            0 for as many as it likes.
    """

    def __init__(self, limit: int, scaling_rate: int = 0) -> None:
        self.limit = limit
        self.reserved: dict[str, int] = {}
        self.provisioned: dict[tuple[str, str], int] = {}  # by name and version
        self._running: Counter[tuple[str, str]] = Counter()  # the same
        self._beyond: Counter[str] = Counter()  # by name: outside of what is provisioned
        self._unreserved_running = 0
        self._scaling_rate = scaling_rate
        self._added: dict[str, tuple[float, float]] = {}  # by name: environments, and since when
        self._share_out()

    @property
    def running(self) -> int:
        """All that run."""
        return self._running.total()

    @property
    def unreserved(self) -> int:
        """What is left for functions that have reserved nothing, provisioned or not."""
        return self.limit - sum(self.reserved.values())

    def provisioned_of(self, name: str) -> int:
        """What is provisioned for all versions of a function together."""
        return sum(count for (one, _), count in self.provisioned.items() if one == name)

    def reserve(self, name: str, count: int | None) -> None:
        """Let a function have so many for itself, or share with the others; from now on."""
        self.reserved.pop(name, None)
        if count is not None:
            self.reserved[name] = count
        self._share_out()

    def provision(self, name: str, version: str, count: int) -> None:
        """Set so many aside for one version; 0 for none."""
        self.provisioned.pop((name, version), None)
        if count:
            self.provisioned[name, version] = count
        self._share_out()

    def _share_out(self) -> None:
        """Count again whatever follows from the shares; they change rarely."""
        self._left = {
            name: max(0, count - self.provisioned_of(name)) for name, count in self.reserved.items()
        }
        aside = sum(
            count for (name, _), count in self.provisioned.items() if name not in self.reserved
        )
        self._unreserved_left = max(0, self.unreserved - aside)
        self._beyond = Counter()
        for (name, version), running in self._running.items():
            beyond = running - self.provisioned.get((name, version), 0)
            if beyond > 0:
                self._beyond[name] += beyond
        self._unreserved_running = sum(
            running for name, running in self._beyond.items() if name not in self.reserved
        )

    def share(self, name: str, version: str) -> Share:
        """What one more invocation of this version would count towards."""
        reserved = name in self._left
        if self.provisioned:
            aside = self.provisioned.get((name, version), 0)
            running = self._running[name, version]
            if running < aside:
                return Share(running, aside, reserved)
        if reserved:
            return Share(self._beyond[name], self._left[name], reserved)
        return Share(self._unreserved_running, self._unreserved_left, reserved)

    def begin(self, name: str, version: str) -> None:
        """One more runs."""
        place = name, version
        self._running[place] += 1
        if self._running[place] > self.provisioned.get(place, 0):
            self._count_beyond(name, 1)

    def end(self, name: str, version: str) -> None:
        """One less runs."""
        place = name, version
        if self._running[place] > self.provisioned.get(place, 0):
            self._count_beyond(name, -1)
        self._running[place] -= 1
        if not self._running[place]:
            del self._running[place]

    def _count_beyond(self, name: str, change: int) -> None:
        self._beyond[name] += change
        if not self._beyond[name]:
            del self._beyond[name]
        if name not in self.reserved:
            self._unreserved_running += change

    def may_add(self, name: str, now_s: float) -> bool:
        """Whether a function may have one more environment now, by its scaling rate."""
        return not self._scaling_rate or self._added_lately(name, now_s) + 1 <= self._scaling_rate

    def add(self, name: str, now_s: float) -> None:
        """A function gets one more environment. ``now_s`` is of a monotonic clock."""
        if self._scaling_rate:
            self._added[name] = self._added_lately(name, now_s) + 1, now_s

    def _added_lately(self, name: str, now_s: float) -> float:
        """What is used of the rate; it comes back evenly, not all at once."""
        added, since_s = self._added.get(name, (0.0, now_s))
        back = (now_s - since_s) * self._scaling_rate / limits.scaling_period_s
        return max(0.0, added - back)
