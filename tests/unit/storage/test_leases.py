"""How groups are shared: pure arithmetic and one decision."""

from collections.abc import Mapping
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.identity import SLOTS
from worker.storage.leases import group_slots, slot_group
from worker.storage.shares import GROUPS, GroupLease, Survey, decide, fair_share

MEMBERS = st.sets(st.text(min_size=1, max_size=4), min_size=1, max_size=GROUPS * 2)


def test_every_slot_is_in_exactly_one_group() -> None:
    slots = [slot for group in range(GROUPS) for slot in group_slots(group)]

    assert sorted(slots) == list(range(SLOTS))
    assert all(slot_group(slot) == group for group in range(GROUPS) for slot in group_slots(group))


@given(MEMBERS)
def test_shares_add_up_to_all_groups_and_differ_by_one_at_most(members: set[str]) -> None:
    shares = [fair_share(member, members) for member in members]

    assert sum(shares) == GROUPS
    assert max(shares) - min(shares) <= 1


def test_a_worker_whose_membership_has_expired_still_counts_itself() -> None:
    assert fair_share("me", {"other"}) == GROUPS // 2


def survey(
    owners: list[str | None], members: set[str], versions: Mapping[str, int] = MappingProxyType({})
) -> Survey:
    leases = [GroupLease(n, owner, 1, live=owner is not None) for n, owner in enumerate(owners)]
    return Survey(leases, frozenset(members), versions)


def test_a_lone_worker_claims_everything() -> None:
    assert decide(survey([None] * GROUPS, {"me"}), "me") == ([], list(range(GROUPS)))


def test_a_worker_with_too_much_releases_one_group_and_claims_none() -> None:
    released, claimed = decide(survey(["me"] * GROUPS, {"me", "other"}), "me")

    assert (released, claimed) == ([GROUPS - 1], [])


def test_a_worker_claims_no_more_than_its_share() -> None:
    owners: list[str | None] = ["me"] * 6 + [None] * 10

    assert decide(survey(owners, {"me", "other"}), "me") == ([], [6, 7])


def test_an_expired_lease_of_our_own_is_claimed_again() -> None:
    leases = [GroupLease(0, "me", 3, live=False)]

    assert decide(Survey(leases, frozenset({"me"})), "me") == ([], [0])


@settings(deadline=None)
@given(MEMBERS, st.data())
def test_rounds_in_any_order_end_with_fair_shares(members: set[str], data: st.DataObject) -> None:
    owners: dict[int, str | None] = {
        group: data.draw(st.sampled_from([None, *sorted(members)])) for group in range(GROUPS)
    }
    for _ in range(GROUPS * 2):
        for member in data.draw(st.permutations(sorted(members))):
            released, claimed = decide(survey([owners[n] for n in range(GROUPS)], members), member)
            owners |= dict.fromkeys(released) | dict.fromkeys(claimed, member)

    held = [sum(1 for owner in owners.values() if owner == member) for member in members]
    assert sorted(held) == sorted(fair_share(member, members) for member in members)


def test_an_older_worker_claims_nothing_while_a_newer_one_lives() -> None:
    free: list[str | None] = [None] * GROUPS

    assert decide(survey(free, {"old", "new"}, {"old": 1, "new": 2}), "old") == ([], [])
    assert decide(survey(free, {"old", "new"}, {"old": 1, "new": 2}), "new") == ([], list(range(GROUPS)))
    assert decide(survey(free, {"old"}, {"old": 1}), "old") == ([], list(range(GROUPS)))


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 3), min_size=1, max_size=6), st.data())
def test_with_several_versions_every_group_is_held_and_none_moves_back(
    versions: dict[str, int], data: st.DataObject
) -> None:
    members = set(versions)
    newest = {member for member in members if versions[member] == max(versions.values())}
    owners: dict[int, str | None] = {
        group: data.draw(st.sampled_from([None, *sorted(members)])) for group in range(GROUPS)
    }
    for _ in range(GROUPS * 2):
        for member in data.draw(st.permutations(sorted(members))):
            held = [owners[n] for n in range(GROUPS)]
            released, claimed = decide(survey(held, members, versions), member)
            assert member in newest or not claimed
            owners |= dict.fromkeys(released) | dict.fromkeys(claimed, member)

    assert None not in owners.values()
    shares = [sum(1 for owner in owners.values() if owner == member) for member in newest]
    assert max(shares) - min(shares) <= 1
    assert all(
        sum(1 for owner in owners.values() if owner == member) <= max(1, fair_share(member, members))
        for member in members - newest
    )


def test_work_that_is_not_divided_stays_with_its_holder_whoever_joins() -> None:
    held = Survey([GroupLease(0, "z", 1, live=True)], frozenset({"a", "z"}))
    assert decide(held, "z", groups=1) == ([], [])
    assert decide(held, "a", groups=1) == ([], [])
    free = Survey([GroupLease(0, None, 1, live=False)], frozenset({"a", "z"}))
    assert decide(free, "z", groups=1) == ([], [0])


def test_a_member_that_has_proved_nothing_does_not_count() -> None:
    """Neither alive nor dead does it take a share from the one that works."""
    healthy = Survey(
        [GroupLease(n, "me", 1, live=True) for n in range(GROUPS)],
        frozenset({"me", "new", "dead"}),
        unproved=frozenset({"new", "dead"}),
    )
    assert decide(healthy, "me") == ([], [])
    assert decide(healthy, "new") == ([], [])


def test_a_member_that_is_ready_gets_one_group_to_prove_itself_with() -> None:
    held = [GroupLease(n, "me", 1, live=True) for n in range(GROUPS - 1)]
    members = frozenset({"me", "new", "newer"})
    young = {"unproved": frozenset({"new", "newer"}), "ready": frozenset({"new", "newer"})}
    full = Survey([*held, GroupLease(GROUPS - 1, "me", 1, live=True)], members, {}, **young)
    freed = Survey([*held, GroupLease(GROUPS - 1, None, 1, live=False)], members, {}, **young)
    on_trial = Survey([*held, GroupLease(GROUPS - 1, "new", 1, live=True)], members, {}, **young)
    assert decide(full, "me") == ([GROUPS - 1], [])
    assert decide(freed, "me") == ([], [])
    assert decide(freed, "new") == ([], [GROUPS - 1])
    assert decide(on_trial, "new") == ([], [])
    assert decide(on_trial, "me") == ([GROUPS - 2], [])  # for the other one


def test_while_nobody_has_proved_itself_everybody_counts() -> None:
    survey = Survey(
        [GroupLease(n, None, 1, live=False) for n in range(GROUPS)],
        frozenset({"a", "b"}),
        unproved=frozenset({"a", "b"}),
    )
    assert len(decide(survey, "a")[1]) == len(decide(survey, "b")[1]) == GROUPS // 2


def test_what_nobody_claims_is_anybodys() -> None:
    leases = [GroupLease(n, "me", 1, live=True) for n in range(8)]
    leases += [GroupLease(n, None, 1, live=False, overdue=n > 13) for n in range(8, GROUPS)]
    beside_a_dead_one = Survey(leases, frozenset({"me", "dead"}))
    assert decide(beside_a_dead_one, "me") == ([], [14])


def test_nobody_gives_up_a_group_while_another_one_is_free() -> None:
    leases = [GroupLease(n, "me", 1, live=n > 0) for n in range(GROUPS)]
    assert decide(Survey(leases, frozenset({"me", "other"})), "me") == ([], [])


def test_an_unproved_newer_version_takes_nothing_from_an_older_one_but_its_trial() -> None:
    leases = [GroupLease(n, "old", 1, live=True) for n in range(GROUPS)]
    survey = Survey(leases, frozenset({"old", "new"}), {"old": 1, "new": 2}, unproved=frozenset({"new"}))
    assert decide(survey, "old") == ([], [])


def test_an_unproved_older_version_is_given_no_trial() -> None:
    leases = [GroupLease(n, "new", 1, live=True) for n in range(GROUPS)]
    only = frozenset({"old"})
    survey = Survey(leases, frozenset({"old", "new"}), {"old": 1, "new": 2}, unproved=only, ready=only)
    assert decide(survey, "new") == ([], [])
    assert decide(survey, "old") == ([], [])
