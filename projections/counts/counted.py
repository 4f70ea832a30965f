"""What one learner's record adds to the statistics: a vector of integers, so that sums depend on no order.

Statistics are sums of vectors. Whoever counted a vector and meets a newer one of the same learner adds the
difference, never the vector again. Formulas: docs/projections.md, "Course and user statistics".
"""

from collections.abc import Iterable, Mapping
from operator import add, sub
from typing import Any, NamedTuple


class Counted(NamedTuple):
    """One learner's share, a sum of shares, or a difference (then negative in places).

    `progress` is in hundredths of a percent, `rating` in hundredths of a star. A named tuple, as a learner's step
    makes a dozen of them.
    """

    enrolled: int = 0
    active: int = 0
    completed: int = 0
    progress: int = 0
    rated: int = 0
    rating: int = 0
    stars_1: int = 0
    stars_2: int = 0
    stars_3: int = 0
    stars_4: int = 0
    stars_5: int = 0
    discussion_posts: int = 0
    questions_asked: int = 0
    certificates: int = 0

    def __add__(self, other: "Counted") -> "Counted":  # type: ignore[override]  # not one behind the other
        return Counted._make(map(add, self, other))

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted._make(map(sub, self, other))

    def __bool__(self) -> bool:
        """False for the vector that changes nothing."""
        return any(iter(self))

    def only(self, names: Iterable[str]) -> "Counted":
        """The same vector with all but these components at 0."""
        return Counted(**{name: getattr(self, name) for name in names})

    def document(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """The named components, or all, as they are stored."""
        return self._asdict() if names is None else {name: getattr(self, name) for name in names}


NAMES: tuple[str, ...] = Counted._fields

# The components kept for a user: as a learner, and as the instructor of courses.
LEARNING = ("enrolled", "completed", "certificates")
TEACHING = ("enrolled", "rated", "rating")


def vector(progress: Mapping[str, Any]) -> Counted:
    """The share of one `user_progress` document; KeyError or TypeError for what no fold wrote.

    A record of nothing but voids counts as nothing.
    """
    if progress["created_at"] is None:
        return Counted()
    completed = progress["milestones"]["completed"] is not None
    rating = None if progress["rating"] is None else round(progress["rating"]["value"] * 100)
    stars = {} if rating is None else {f"stars_{_star(rating)}": 1}
    return Counted(
        enrolled=1,
        active=int(progress["status"] == "active" and not completed),
        completed=int(completed),
        progress=round(progress["progress"]["percentage"] * 100),
        rated=int(rating is not None),
        rating=rating or 0,
        discussion_posts=progress["social"]["discussion_posts"],
        questions_asked=progress["social"]["questions_asked"],
        certificates=len(progress["certificates"]),
        **stars,
    )


def counted_before(stored: Mapping[str, int]) -> Counted:
    """A projection's `counted`; a component another version of this code did not know counts as 0."""
    return Counted(**{name: stored[name] for name in NAMES if name in stored})


def sums_in(stored: object, names: Iterable[str] = NAMES) -> Counted | None:
    """The sums a document holds, None where it holds none or something else than our integers."""
    if not isinstance(stored, Mapping):
        return None
    values = {name: stored.get(name) for name in names}
    if any(not isinstance(value, int) or isinstance(value, bool) for value in values.values()):
        return None
    return Counted(**{name: int(value) for name, value in values.items() if value is not None})


def _star(hundredths: int) -> int:
    """The whole star a rating belongs to, half up: 3.5 is four stars."""
    return min(5, max(1, (hundredths + 50) // 100))
