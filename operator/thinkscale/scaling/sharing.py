"""One GPU limit shared among several services: the next GPU goes where it keeps most requests from
being late. Pure; the operator divides a `GPUPool` by it, and a simulation may too.

Each member brings its expected late requests a second with 0, 1, 2, ... replicas; what one more
replica is worth is the fall of that rate, times the member's priority, per GPU. Minimums go before
everything. A rate need not be convex (far too few replicas: one more changes little), so the fall
is taken along its convex hull: two replicas that help together are seen to.

Moving a replica costs a drain and a cold start, so one that is held counts for half as much again.
Nobody gets what another still holds: a share is what a member will have, a grant what it may have
now.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

KEEP: Final = 1.5
"""What a held replica is worth, over the same one elsewhere."""
WORTH_DIGITS: Final = 9
"""Less is an error of arithmetic: those are equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One service that shares the limit."""

    name: str
    priority: float
    """What one of its late requests weighs against another's."""
    gpus_per_replica: int
    min_replicas: int
    wished_replicas: int
    """What its law wants while nothing is shared."""
    held_replicas: int
    """Those it has GPUs for now, draining ones too."""
    leaving_replicas: int = 0
    """Those of the held that are draining: they cannot stay, and a workload that is told to have
    more does not wait for them.
    """
    late_rates: Sequence[float] = ()
    """Late requests a second with 0, 1, 2, ... replicas; past the end the last one holds. Empty:
    not known, so it keeps what it has, and gets more only where nobody gains.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a member gets, in replicas."""

    now: int
    """It may have so many now, beside those that are draining; below what it holds: it is to let go
    of the rest, drained first.
    """
    share: int
    """It may have so many once the others have let go of theirs."""


def share(limit_gpus: int, members: Iterable[Member]) -> dict[str, Grant]:
    """What each member gets, by name. The shares, and whatever is held or granted at any time,
    are within the limit, unless more than the limit is held already.

    Four GPUs, one per replica, minimums 1, nothing held, equal priorities. A wishes 4 with late
    rates (2, 1.2, .5, .2, .1), B wishes 3 with (1, .6, .3, .1). The minimums take one each. Then
    A's second is worth .7, its third .3; B's second .3, its third .2. The third GPU goes to A, and
    the fourth too: a tie, by name. A 3, B 1.
    """
    joined = sorted(members, key=lambda member: member.name)
    if limit_gpus >= sum(
        max(m.held_replicas, m.leaving_replicas + m.wished_replicas) * m.gpus_per_replica
        for m in joined
    ):
        return {m.name: Grant(now=m.wished_replicas, share=m.wished_replicas) for m in joined}
    queue = sorted(claim for member in joined for claim in _claims(member))
    shares = _served(queue, joined, limit_gpus, {member.name: 0 for member in joined})
    held = {m.name: m.held_replicas for m in joined}
    rest = limit_gpus - sum(m.held_replicas * m.gpus_per_replica for m in joined)
    due = [c for c in queue if held[c.name] <= c.index < shares[c.name]]
    reached = _served(due, joined, rest, held)
    staying = {m.name: reached[m.name] - m.leaving_replicas for m in joined}
    return {
        name: Grant(now=max(0, min(staying[name], part)), share=part)
        for name, part in shares.items()
    }


@dataclass(frozen=True, slots=True, order=True)
class _Claim:
    """A member's wish for one more replica; the smaller goes first."""

    rank: int
    value: float
    """Negative: more comes first."""
    tie: tuple[int | str, int | str]
    name: str
    index: int
    """Replicas that the member has without it."""


def _served(
    queue: Sequence[_Claim], members: Sequence[Member], gpus: int, replicas: dict[str, int]
) -> dict[str, int]:
    """The replicas after each claim in turn got its GPUs, if so many are left; a smaller one behind
    it may still.
    """
    sizes = {member.name: member.gpus_per_replica for member in members}
    got = dict(replicas)
    for claim in queue:
        if sizes[claim.name] <= gpus and got[claim.name] == claim.index:
            gpus -= sizes[claim.name]
            got[claim.name] += 1
    return got


def _claims(member: Member) -> Iterator[_Claim]:
    """One for each replica up to the wish: minimum, what an unknown one holds, worth, the rest."""
    known = bool(member.late_rates)
    floor = min(member.min_replicas, member.wished_replicas)
    falls = _falls(member.late_rates, floor, member.wished_replicas) if known else ()
    for index in range(member.wished_replicas):
        rank, value = 3, -member.priority
        if index < floor:
            rank = 0
        elif not known and index < member.held_replicas:
            rank = 1
        elif known and falls[index - floor] > 0:
            worth = member.priority * falls[index - floor] / max(1, member.gpus_per_replica)
            kept = KEEP if index < member.held_replicas else 1.0
            rank, value = 2, -round(worth * kept, WORTH_DIGITS)
        # Those of equal worth go by name, those of equal priority one by one.
        tie = (member.name, index) if rank == 2 else (index, member.name)
        yield _Claim(rank, value, tie, member.name, index)


def _falls(rates: Sequence[float], first: int, last: int) -> Sequence[float]:
    """How much the rate falls with each replica from `first` to `last`, along the lower convex
    hull: never more than with the one before.

    (2, 1.9, 1.0, .9): the second alone is worth .1, but two together 1: .5, .5, .1.
    """
    at = [rates[min(n, len(rates) - 1)] for n in range(first, last + 1)]
    corners = [0]
    for n in range(1, len(at)):
        while len(corners) > 1 and _slope(at, corners[-2], corners[-1]) >= _slope(
            at, corners[-1], n
        ):
            corners.pop()
        corners.append(n)
    falls: list[float] = []
    for left, right in itertools.pairwise(corners):
        falls += [max(0.0, -_slope(at, left, right))] * (right - left)
    return falls


def _slope(at: Sequence[float], left: int, right: int) -> float:
    return (at[right] - at[left]) / (right - left)
