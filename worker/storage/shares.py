"""How the live workers of one watcher share its slot groups: decided from one look at all leases.

A member counts in the shares once it has proved itself: it held a group for the time of a lease and lives. Before
that, beside members that have, it gets one group to do so with, and waits for that the longer, the more members died
unproved of late. So a worker that dies whenever it holds a group costs the others one group now and then. What is
free is claimed by whoever lives; nobody gives up a group while another one is free.

While two versions of a projection run side by side, groups only move from older workers to newer ones: an older one
cannot move a document that a newer one has written, which would then stand still until the group came back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

GROUPS = 16


@dataclass(frozen=True, slots=True)
class GroupLease:
    """One group's lease as the server saw it; `live` by the server's time, `overdue` if it is free for long."""

    group: int
    owner: str | None
    epoch: int
    live: bool
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """All leases of one watcher and its live members at one moment, with the versions they fold by.

    Of the members, those `unproved` have yet to show that they survive a group; of these, those `ready` may try.
    """

    leases: Sequence[GroupLease]
    members: frozenset[str]
    versions: Mapping[str, int] = field(default_factory=dict)
    unproved: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()

    def counted(self, owner: str) -> frozenset[str]:
        """Those who share the groups: who proved themselves, or everybody while nobody has."""
        proved = self.members - self.unproved
        everybody = self.members | {owner}
        return everybody - self.unproved if proved else everybody

    def newest(self, owner: str) -> frozenset[str]:
        """Of those who count, the ones of `owner`'s version, if none is of a newer one; else none."""
        counted, own = self.counted(owner), self.versions.get(owner, 0)
        if any(self.versions.get(member, 0) > own for member in counted):
            return frozenset()
        return frozenset(each for each in {*counted, owner} if self.versions.get(each, 0) == own)

    def held_by_others_than(self, owners: frozenset[str]) -> int:
        """How many groups live members outside `owners` hold."""
        others = self.members - owners
        return sum(lease.live and lease.owner in others for lease in self.leases)

    def held_by(self, owner: str) -> dict[int, int]:
        """Group and epoch of every live lease of `owner`."""
        return {lease.group: lease.epoch for lease in self.leases if lease.live and lease.owner == owner}

    def free(self) -> list[int]:
        return [lease.group for lease in self.leases if not lease.live]

    def overdue(self) -> list[int]:
        """The free groups that whoever should have claimed them did not."""
        return [lease.group for lease in self.leases if not lease.live and lease.overdue]

    def waits_for_a_trial(self, counted: frozenset[str]) -> bool:
        """True while a member that may prove itself, and is not of an older version, holds nothing."""
        newest = max((self.versions.get(member, 0) for member in counted), default=0)
        return any(
            self.versions.get(member, 0) >= newest and not self.held_by(member)
            for member in self.ready - counted
        )


def fair_share(owner: str, members: Iterable[str], groups: int = GROUPS) -> int:
    """How many groups `owner` should hold: shares differ by one at most and add up to `groups`."""
    ranked = sorted({*members, owner})
    share, remainder = divmod(groups, len(ranked))
    return share + (1 if ranked.index(owner) < remainder else 0)


def decide(survey: Survey, owner: str, groups: int = GROUPS) -> tuple[list[int], list[int]]:
    """Groups to release and groups to claim now: at most one is released a round, so that none flaps.

    Nobody gives up a last group, or any while another one is free: where there are more workers than groups, some
    hold one and some none. While a newer version runs, an older one claims nothing and gives up what is above its
    share of the whole fleet; the newest share among themselves whatever the older ones do not hold.
    """
    held, free = survey.held_by(owner), survey.free()
    newest, counted = survey.newest(owner), survey.counted(owner)
    if owner not in counted:
        trial = int(bool(newest) and owner in survey.ready)
        return [], free[: max(0, trial - len(held))] or (survey.overdue()[:1] if newest else [])
    if newest:
        reserved = int(survey.waits_for_a_trial(counted))
        room = max(0, groups - survey.held_by_others_than(newest) - reserved)
        share = max(1, fair_share(owner, newest, room))
    else:
        share = max(1, fair_share(owner, counted, groups))
    if len(held) > share and not free:
        return [max(held)], []
    claims = free[: max(0, share - len(held))] or survey.overdue()[:1]
    return [], claims if newest else []
