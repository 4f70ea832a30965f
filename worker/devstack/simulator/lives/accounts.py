"""The life of an account: who registers, what they say of themselves, how they log in, and the document of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, ExpectedDocument
from worker.devstack.simulator.lives.writer import EventRef, EventWriter, Life
from worker.devstack.simulator.names import PersonName, email_of, person_name, username_of
from worker.devstack.simulator.platform_documents import wants_messages
from worker.storage.database import Document

TIME_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Africa/Nairobi")
BIOS = ("Reads on trains.", "Likes small steps.", "Asks first.")
KEYWORDS = ("teaching", "mentoring", "open courses")
CITIES = ("Lisbon", "Porto", "Graz", "Turin")
# docs/projections.md: so many failed logins in a row lock an account, for so long after the last of them.
FAILURES_THAT_LOCK = 5
LOCKED_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account; what they do turns with their `number`, `term` is when courses begin.

    `taken_username` is somebody else's: they ask for it instead of one of their own, and their document has none.
    `leaves`: the account ends. `after_term`: all of it is published when learners have done all they do.
    """

    user_id: str
    number: int
    role: str
    term: datetime
    taken_username: str | None = None
    leaves: bool = False
    after_term: bool = False

    @property
    def name(self) -> PersonName:
        return person_name(self.number)

    @property
    def own_username(self) -> str:
        """A name that nobody else asks for."""
        return username_of(self.user_id, self.number)

    @property
    def time_zone(self) -> str:
        return TIME_ZONES[self.number % len(TIME_ZONES)]


def account_life(person: Person, random: Random) -> Life:
    """The events of an account, and its document.

    1. registers  2. says more  3. changes how others see it  4. logs in, or fails to  5. leaves, perhaps
    """
    begins_at = person.term - timedelta(days=100 - person.number % 40)
    account = _Account(
        person, EventWriter(random, "account-service", begins_at, after_term=person.after_term)
    )
    account.register()  # 1
    account.describe()  # 2
    account.secure()  # 3
    account.log_in()  # 4
    if person.leaves:
        account.leave()  # 5
    return Life(account.writer.events, [account.expected()])


@dataclass(slots=True)
class _Account:
    """An account while its life is written: what it shows by now."""

    person: Person
    writer: EventWriter
    turn: int = field(init=False)
    email: str = field(init=False)
    username: str = field(init=False)
    notifications: Document = field(init=False)
    preferences: Document = field(init=False)
    referral_source: str | None = field(init=False)
    utm_params: Document | None = field(init=False)
    roles: list[str] = field(init=False)
    status: str = "active"
    email_verified: bool = False
    phone_verified: bool = False
    two_factor_enabled: bool = False
    bio: str | None = None
    social_links: Document | None = None
    contact: Document | None = None
    keywords: list[str] = field(default_factory=list)
    logins: int = 0
    failures: int = 0
    last_login_at: datetime | None = None
    locked_until: datetime | None = None
    password_changed_at: datetime | None = None
    registered: EventRef = field(init=False)
    last: EventRef = field(init=False)
    renamed: EventRef | None = None
    ended: EventRef | None = None

    def __post_init__(self) -> None:
        """Of three people one was sent by a friend, and one came by a newsletter."""
        self.turn = self.person.number
        wanted = wants_messages(self.turn)
        self.email = email_of(self.person.user_id)
        self.username = self.person.taken_username or self.person.own_username
        self.notifications = {"email_course_updates": wanted, "push_notifications": wanted}
        self.preferences = {"language": "en", "timezone": self.person.time_zone}
        self.referral_source = "friend" if self.turn % 3 == 2 else None
        self.utm_params = {"source": "newsletter", "campaign": "autumn"} if self.turn % 3 == 1 else None
        self.roles = [self.person.role]

    def write(self, event_type: str, **details: Any) -> EventRef:
        self.last = self.writer.write(event_type, {"user_id": self.person.user_id}, details or None)
        return self.last

    def register(self) -> None:
        """With address, names and wishes. Nine of ten confirm the address."""
        name = self.person.name
        profile: Document = name.profile()
        if self.turn % 3 == 0:
            profile["social_links"] = {"twitter": f"@{name.given.lower()}"}
        details: Document = {
            "email": self.email,
            "username": self.username,
            "profile": profile,
            "preferences": {**self.preferences, "notifications": self.notifications},
            "roles": [self.person.role],
        }
        if self.referral_source is not None:
            details["referral_source"] = self.referral_source
        if self.utm_params is not None:
            details["utm_params"] = self.utm_params
        self.registered = self.write("user_registered", **details)
        if self.turn % 10 != 9:
            self.write("email_verified", email=self.email)
            self.email_verified = True
        else:
            self.status = "pending_verification"

    def describe(self) -> None:
        """Some say more of themselves; some take back, or change, what they said before."""
        self.writer.wait(days=1)
        if self.turn % 3 == 0:
            self.bio = BIOS[self.turn % len(BIOS)]
            self.social_links = {"github": self.person.own_username}
            links = {"twitter": None, **self.social_links}
            self.write("profile_changed", profile={"bio": self.bio, "social_links": links})
        if self.turn % 2 == 0:
            address = {"city": CITIES[self.turn % len(CITIES)], "country": "Portugal"}
            self.contact = {"phone": f"+351 21 {self.turn % 9000 + 1000} 77", "address": address}
            self.write("contact_changed", contact=self.contact)
        if self.turn % 4 == 0 and self.contact is not None:
            self.write("phone_verified", phone=self.contact["phone"])
            self.phone_verified = True
            self.write("contact_changed", contact={"address": {"city": "Coimbra"}})
            self.contact = {**self.contact, "address": {"city": "Coimbra", "country": "Portugal"}}
        if self.turn % 2 == 1:
            more = {"theme": "dark", "privacy": {"show_progress": False}}
            self.write("preferences_changed", preferences=more)
            self.preferences |= more
        if self.turn % 6 == 5 and self.person.taken_username is None:
            self.username = f"{self.person.own_username}.2"
            # Names are kept in lower case.
            self.renamed = self.write("username_changed", username=self.username.upper())

    def secure(self) -> None:
        """What only the account's owner and the platform see; roles of instructors, and what finds them."""
        if self.turn % 5 == 0:
            self.password_changed_at = self.write("password_changed").at
        if self.turn % 7 == 3:
            self.write("two_factor_changed", enabled=True)
            self.two_factor_enabled = True
        if self.person.role == "instructor":
            self.write("role_granted", role="content_creator")
            self.write("role_granted", role="reviewer")
            self.write("role_revoked", role="reviewer")
            self.write("keywords_changed", keywords=list(KEYWORDS))
            self.roles, self.keywords = ["instructor", "content_creator"], [*KEYWORDS]
        if self.turn % 12 == 11:
            self.write("account_status_changed", status="suspended")
            self.status = "suspended"

    def log_in(self) -> None:
        """Some logins fail: two before one that does not, one after it, or so many that the account is locked."""
        for number in range(1 + self.turn % 4):
            if number == self.turn % 4 == 1:
                self.write("login_failed")
                self.write("login_failed")
            self._logged_in()
            self.writer.wait(days=1)
        if self.turn % 4 == 2:
            self.writer.wait_until(self.person.term + timedelta(days=self.turn % 5, hours=3))
            self._logged_in()
        self.failures = {3: FAILURES_THAT_LOCK, 7: 1}.get(self.turn % 8, 0)
        for _ in range(self.failures):
            self.write("login_failed")
        if self.failures >= FAILURES_THAT_LOCK:
            self.locked_until = self.last.at + LOCKED_FOR

    def _logged_in(self) -> None:
        self.last_login_at = self.write("logged_in").at
        self.logins += 1

    def leave(self) -> None:
        """The account ends: of the person nothing is left, of logins their numbers."""
        self.ended = self.write("user_deleted")

    def expected(self) -> ExpectedDocument:
        """The document that must be there."""
        shown = self._shown() if self.ended is None else self._deleted(self.ended)
        fields = {**self._account(), **self._metadata(), **shown}
        key = ObjectId(self.person.user_id)
        return ExpectedDocument("users", key, fields, after_term=self.person.after_term)

    def _account(self) -> Document:
        deleted = self.ended is not None
        return {
            "account": {
                "status": "deleted" if deleted else self.status,
                "email_verified": self.email_verified and not deleted,
                "phone_verified": self.phone_verified and not deleted,
                "two_factor_enabled": self.two_factor_enabled and not deleted,
                "failed_login_attempts": self.failures,
                "locked_until": self.locked_until,
                "password_changed_at": self.password_changed_at,
                "roles": [] if deleted else self.roles,
            }
        }

    def _metadata(self) -> Document:
        deleted = self.ended is not None
        return {
            "metadata": {
                "created_at": self.registered.at,
                "updated_at": self.last.at,
                "last_login_at": self.last_login_at,
                "login_count": self.logins,
                "referral_source": None if deleted else self.referral_source,
                "utm_params": None if deleted else self.utm_params,
                "shard_key": hashlib.md5(self.person.user_id.encode(), usedforsecurity=False).hexdigest(),
            }
        }

    def _shown(self) -> Document:
        name = self.person.name
        profile: Document = name.profile()
        if self.bio is not None:
            profile |= {"bio": self.bio, "social_links": self.social_links}
        claims = {
            "email": {"value": self.email, **self.registered.claim()},
            "username": {"value": self.username, **(self.renamed or self.registered).claim()},
        }
        return {
            "email": self.email,
            "username": ABSENT if self.person.taken_username is not None else self.username,
            "profile": profile,
            "contact": self.contact,
            "preferences": {**self.preferences, "notifications": self.notifications},
            "search_fields": _search_fields(name.full, self.bio, self.keywords),
            "claims": claims,
            "deleted_at": None,
        }

    def _deleted(self, ended: EventRef) -> Document:
        email = f"deleted_{self.person.user_id}@example.com"
        return {
            "email": email,
            "username": ABSENT,
            "profile": {"firstName": "Deleted", "lastName": "User"},
            "contact": None,
            "preferences": None,
            "search_fields": None,
            "claims": {"email": {"value": email, **ended.claim()}},
            "deleted_at": ended.at,
        }


def _search_fields(full_name: str, bio: str | None, keywords: Sequence[str]) -> Document:
    """What finds an account. No text is left out as said before: none of the simulation's stands in another one."""
    texts = [full_name, *([bio] if bio is not None else []), *keywords]
    return {"full_name": full_name, "keywords": [*keywords], "searchable_text": " ".join(texts)}
