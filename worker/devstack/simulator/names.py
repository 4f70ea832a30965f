"""What courses and people of the simulated platform are called, whether it publishes events or keeps documents."""

from dataclasses import dataclass

from worker.devstack.simulator.ledger import Course

TITLES = (
    "Full Stack Web Development",
    "Data Analysis with Python",
    "Introduction to Statistics",
    "Technical Writing",
    "Databases in Practice",
    "Interface Design",
    "Project Management",
    "Secure Programming",
)
GIVEN_NAMES = ("Ada", "Ben", "Chiara", "Deniz", "Ewa", "Farid", "Greta", "Hugo", "Ines", "Jonas")
FAMILY_NAMES = ("Abel", "Brandt", "Costa", "Dietrich", "Evans", "Fischer", "Gallo", "Haas", "Ito")


@dataclass(frozen=True, slots=True)
class PersonName:
    """The name of a person; several people may share one."""

    given: str
    family: str

    @property
    def full(self) -> str:
        return f"{self.given} {self.family}"

    def profile(self) -> dict[str, str]:
        """As a user's profile holds it."""
        return {"firstName": self.given, "lastName": self.family, "displayName": self.full}


def person_name(number: int) -> PersonName:
    """The name of the person of this number: there are ninety, in turns."""
    return PersonName(GIVEN_NAMES[number % len(GIVEN_NAMES)], FAMILY_NAMES[number % len(FAMILY_NAMES)])


def email_of(user_id: str) -> str:
    """An address that nobody else has."""
    return f"{user_id}@example.org"


def username_of(user_id: str, number: int) -> str:
    """A username that nobody else has."""
    return f"{person_name(number).given.lower()}-{user_id[:8]}"


def title_of(course: Course) -> str:
    """The title of a course; every eighth course has the same."""
    return TITLES[course.number % len(TITLES)]


def slug_of(course: Course) -> str:
    """A slug that no other course has."""
    return f"{title_of(course).lower().replace(' ', '-')}-{course.course_id[:8]}"
