"""What was counted of learners, by their users, within one transaction of `counts`.

Two ask for it, often of the same users: a user's sums are taken over it, and an instructor's new learners are told by
it. So it is read once for each user.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bson import ObjectId

from projections.counts import LEARNING, ActivityEntry, Counted, sums_in
from worker.storage.database import Collection
from worker.storage.reading import Taken
from worker.watch.sums.attempt import Attempt, Reason, RejectedWrite

_PATHS: Mapping[str, Any] = dict.fromkeys(
    ("user_id", "course_id", "enrolled_at", *(f"counted.{name}" for name in LEARNING)), 1
)
_NOTHING: Mapping[str, Any] = Counted().document(LEARNING)
NO_SUM = "a projection cannot be added up"
"""Why a document has no sums: one of the projections they are taken over is not as we write it."""


class Learned(NamedTuple):
    """One course of a user: what is counted of it, and the enrolment it stands for.

    Of one that is not `whole` only whether it is enrolled can be told.
    """

    user: ObjectId
    course: ObjectId
    counted: Counted
    entry: ActivityEntry | None = None
    whole: bool = True


@dataclass(slots=True)
class Learners:
    """The courses of users as the transaction shows them when a user is asked for first.

    Ask behind whatever the transaction writes to `projections`.
    """

    projections: Collection
    attempt: Attempt
    _of: dict[ObjectId, list[Learned]] = field(default_factory=dict)
    _some_of_nobody: bool = False

    async def of(self, users: Iterable[ObjectId]) -> Mapping[ObjectId, Sequence[Learned]]:
        """The courses of each of these users; what cannot be read at all is left out."""
        users = set(users)
        if news := users - self._of.keys():
            taken = await self._read(news)
            self._some_of_nobody |= bool(taken.unreadable)
            self._of.update({user: [] for user in news})
            for one in taken.values:
                self._of[one.user].append(one)
        return {user: self._of[user] for user in users}

    async def whole(self, users: Set[ObjectId]) -> Mapping[ObjectId, Sequence[Learned]]:
        """The same, where all must be added up: raises `RejectedWrite` for the first user of whom that cannot be."""
        found = await self.of(users)
        for user in users:
            # Whose it is cannot be told from what cannot be read.
            unread = self._some_of_nobody and (await self._read({user})).unreadable
            if unread or not all(one.whole for one in found[user]):
                raise RejectedWrite(("user", user), Reason("Unreadable", NO_SUM))
        return found

    async def _read(self, users: Set[ObjectId]) -> Taken[Learned]:
        query = {"user_id": {"$in": list(users)}}
        found = await self.attempt.find(self.projections, query, _PATHS, asked=len(users))
        return found.through(_learned)


def _learned(row: Mapping[str, Any]) -> Learned:
    user, course, enrolled_at = row["user_id"], row["course_id"], row["enrolled_at"]
    if not isinstance(user, ObjectId) or not isinstance(course, ObjectId):
        raise TypeError("a projection of nobody, or of no course")
    counted = sums_in({**_NOTHING, **row["counted"]}, LEARNING)
    if counted is None:
        enrolled = sums_in(row["counted"], ("enrolled",))
        if enrolled is None:
            raise ValueError("a projection of something else than our values")
        return Learned(user, course, enrolled, whole=False)
    return Learned(user, course, counted, None if enrolled_at is None else ActivityEntry(course, enrolled_at))
