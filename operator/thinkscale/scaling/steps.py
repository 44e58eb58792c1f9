"""Step policies, with the meaning of HPA v2: at most so many pods, or percent, in any period.

The changes are those *seen* in the workload's size, not those ordered: an order that was never
written is no change, and one that somebody else wrote is. Orders are absolute and start from the
size seen, so an order given twice is one change. The history is part of the law's state: a restart
of the operator opens no new period.

Of several policies the most permissive wins; without any there is no limit.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from thinkscale.model.intent import Behavior, StepPolicy

KEPT: Final = 32

Change: TypeAlias = tuple[float, int]
"""When the new size was seen (Unix seconds), and by how many replicas it differs."""
Changes: TypeAlias = tuple[Change, ...]


def observe(
    changes: Changes, now: float, before: int | None, size: int, longest_period_seconds: float
) -> Changes:
    """Add the change from the size seen before, drop what no period reaches any more."""
    kept = [c for c in changes if c[0] > now - longest_period_seconds]
    if before is not None and size != before:
        kept.append((now, size - before))
    while len(kept) > KEPT:
        # NB: merged at the later instant, so it is counted longer, never shorter.
        kept[0:2] = [(kept[1][0], kept[0][1] + kept[1][1])]
    return tuple(kept)


def longest_period(*behaviors: Behavior) -> float:
    """Seconds for which changes must be remembered."""
    return max((p.period_seconds for b in behaviors for p in b.policies), default=0.0)


def upper_limit(behavior: Behavior, changes: Changes, now: float, size: int) -> int | None:
    """The most replicas that the policies allow now; None: no limit.

    2 replicas, one of them added in this period, and 100 % per period: the period began with 1, so
    at most 2, no growth. With "4 pods" beside it: 1 + 4 = 5, the more permissive wins. No share of
    nothing is one replica, so from zero one is always allowed.
    """

    def limit(policy: StepPolicy) -> int:
        start = _start(policy, changes, now, size)
        if policy.pods is not None:
            return max(1, start + policy.pods)
        return max(1, -(-start * (100 + (policy.percent or 0)) // 100))

    return _most_permissive(behavior, limit, max)


def lower_limit(behavior: Behavior, changes: Changes, now: float, size: int) -> int | None:
    """The fewest replicas that the policies allow now; None: no limit.

    8 replicas and 25 % per period: 6; and 6 until the change to 6 is older than the period.
    """

    def limit(policy: StepPolicy) -> int:
        start = _start(policy, changes, now, size)
        if policy.pods is not None:
            return start - policy.pods
        return start * (100 - (policy.percent or 0)) // 100

    return _most_permissive(behavior, limit, min)


def _start(policy: StepPolicy, changes: Changes, now: float, size: int) -> int:
    """The size with which the policy's period began."""
    return size - sum(c[1] for c in changes if c[0] > now - policy.period_seconds)


def _most_permissive(
    behavior: Behavior,
    limit: Callable[[StepPolicy], int],
    choose: Callable[[list[int]], int],
) -> int | None:
    if not behavior.policies:
        return None
    return choose([limit(policy) for policy in behavior.policies])
