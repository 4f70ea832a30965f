"""The life of an account: who registers, what they say of themselves, how they log in, and the document of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, ExpectedDocument
from worker.devstack.simulator.lives.writer import PlatformEvent, Said, Writer
from worker.devstack.simulator.platform_documents import FAMILY_NAMES, GIVEN_NAMES

TIME_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Africa/Nairobi")
BIOS = ("Reads on trains.", "Likes small steps.", "Asks first.")
KEYWORDS = ("teaching", "mentoring", "open courses")
CITIES = ("Lisbon", "Porto", "Graz", "Turin")
LOCKED_FOR = timedelta(minutes=15)  # after the last of five failed logins in a row
FAILURES_THAT_LOCK = 5

Document = dict[str, Any]
Life = tuple[list[PlatformEvent], ExpectedDocument]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account; `number` turns through what people do, `term` is when courses begin.

    `username` is asked for instead of a name of their own, which somebody else has: the document has none then.
    `leaves`: the account ends. `afterwards`: all of it is published late.
    """

    user_id: str
    number: int
    role: str
    term: datetime
    username: str | None = None
    leaves: bool = False
    afterwards: bool = False

    @property
    def names(self) -> tuple[str, str]:
        """Given name and family name."""
        return GIVEN_NAMES[self.number % len(GIVEN_NAMES)], FAMILY_NAMES[self.number % len(FAMILY_NAMES)]

    @property
    def own_username(self) -> str:
        """A name that nobody else asks for."""
        return f"{self.names[0].lower()}-{self.user_id[:8]}"

    @property
    def time_zone(self) -> str:
        return TIME_ZONES[self.number % len(TIME_ZONES)]


def live_account(person: Person, random: Random) -> Life:
    """The events of an account, and its document.

    1. registers  2. says more  3. changes how others see it  4. logs in, or fails to  5. leaves, perhaps
    """
    begins_at = person.term - timedelta(days=100 - person.number % 40)
    account = _Account(person, Writer(random, "account-service", begins_at, afterwards=person.afterwards))
    account.register()
    account.describe()
    account.secure()
    account.log_in()
    if person.leaves:
        account.leave()
    return account.writer.events, account.expected()


class _Account:
    """An account while its life is written: what was decided of it so far."""

    def __init__(self, person: Person, writer: Writer) -> None:
        self.person, self.writer, self.turn = person, writer, person.number
        self.ids = {"user_id": person.user_id}
        self.email = f"{person.user_id}@example.org"
        self.username = person.username or person.own_username
        self.roles = [person.role]
        self.status = "active"
        self.verified = False
        self.phone_verified = self.two_factor = False
        self.bio: str | None = None
        self.links: Document | None = None
        self.contact: Document | None = None
        self.keywords: list[str] = []
        self.logins, self.failures = 0, 0
        self.logged_in_at: datetime | None = None
        self.locked_until: datetime | None = None
        self.password_at: datetime | None = None
        self.renamed: Said | None = None
        self.ended: Said | None = None
        self.last_at = writer.at

    def say(self, event_type: str, **details: Any) -> Said:
        said = self.writer.say(event_type, self.ids, details or None)
        self.last_at = said.at
        return said

    def register(self) -> None:
        """Address, names, wishes; two of three say where they come from. Nine of ten confirm the address."""
        given, family = self.person.names
        wanted = self.turn % 7 != 6
        self.wishes = {"email_course_updates": wanted, "push_notifications": wanted}
        self.preferences: Document = {"language": "en", "timezone": self.person.time_zone}
        self.referral = "friend" if self.turn % 3 == 2 else None
        self.campaign = {"source": "newsletter", "campaign": "autumn"} if self.turn % 3 == 1 else None
        profile: Document = {"firstName": given, "lastName": family, "displayName": f"{given} {family}"}
        if self.turn % 3 == 0:
            profile["social_links"] = {"twitter": f"@{given.lower()}"}
        details: Document = {
            "email": self.email,
            "username": self.username,
            "profile": profile,
            "preferences": {**self.preferences, "notifications": self.wishes},
            "roles": [self.person.role],
        }
        if self.referral is not None:
            details["referral_source"] = self.referral
        if self.campaign is not None:
            details["utm_params"] = self.campaign
        self.registered = self.say("user_registered", **details)
        if self.turn % 10 != 9:
            self.say("email_verified", email=self.email)
            self.verified = True
        else:
            self.status = "pending_verification"

    def describe(self) -> None:
        """Some say more of themselves, take it back, and say it again."""
        self.writer.wait(days=1)
        if self.turn % 3 == 0:
            self.bio = BIOS[self.turn % len(BIOS)]
            self.links = {"github": self.person.own_username}
            self.say(
                "profile_changed", profile={"bio": self.bio, "social_links": {"twitter": None, **self.links}}
            )
        if self.turn % 2 == 0:
            phone, city = f"+351 21 {self.turn % 9000 + 1000} 77", CITIES[self.turn % len(CITIES)]
            self.say(
                "contact_changed", contact={"phone": phone, "address": {"city": city, "country": "Portugal"}}
            )
            self.contact = {"phone": phone, "address": {"city": city, "country": "Portugal"}}
        if self.turn % 4 == 0 and self.contact is not None:
            self.say("phone_verified", phone=self.contact["phone"])
            self.say("contact_changed", contact={"address": {"city": "Coimbra"}})
            self.contact = {**self.contact, "address": {"city": "Coimbra", "country": "Portugal"}}
            self.phone_verified = True
        if self.turn % 2 == 1:
            more = {"theme": "dark", "privacy": {"show_progress": False}}
            self.say("preferences_changed", preferences=more)
            self.preferences |= more
        if self.turn % 6 == 5 and self.person.username is None:
            self.username = f"{self.person.own_username}.2"
            self.renamed = self.say("username_changed", username=self.username.upper())

    def secure(self) -> None:
        """What only the account's owner and the platform see; roles of instructors, and what finds them."""
        if self.turn % 5 == 0:
            self.password_at = self.say("password_changed").at
        if self.turn % 7 == 3:
            self.say("two_factor_changed", enabled=True)
            self.two_factor = True
        if self.person.role == "instructor":
            self.say("role_granted", role="content_creator")
            self.say("role_granted", role="reviewer")
            self.say("role_revoked", role="reviewer")
            self.say("keywords_changed", keywords=list(KEYWORDS))
            self.roles, self.keywords = ["instructor", "content_creator"], [*KEYWORDS]
        if self.turn % 12 == 11:
            self.say("account_status_changed", status="suspended")
            self.status = "suspended"

    def log_in(self) -> None:
        """Some logins fail: two before one that does not, one after it, or so many that the account is locked."""
        for number in range(1 + self.turn % 4):
            if number == self.turn % 4 == 1:
                self.say("login_failed")
                self.say("login_failed")
            self.logged_in_at = self.say("logged_in").at
            self.logins += 1
            self.writer.wait(days=1)
        if self.turn % 4 == 2:
            self.writer.wait_until(self.person.term + timedelta(days=self.turn % 5, hours=3))
            self.logged_in_at = self.say("logged_in").at
            self.logins += 1
        self.failures = {3: FAILURES_THAT_LOCK, 7: 1}.get(self.turn % 8, 0)
        for _ in range(self.failures):
            failed_at = self.say("login_failed").at
            if self.failures >= FAILURES_THAT_LOCK:
                self.locked_until = failed_at + LOCKED_FOR

    def leave(self) -> None:
        """The account ends: of the person nothing is left, of logins their numbers."""
        self.ended = self.say("user_deleted")

    def expected(self) -> ExpectedDocument:
        """The document that must be there."""
        fields = {**self._account(), **self._metadata(), **(self._gone() if self.ended else self._shown())}
        key = ObjectId(self.person.user_id)
        return ExpectedDocument("users", key, fields, afterwards=self.person.afterwards)

    def _account(self) -> Document:
        ended = self.ended is not None
        return {
            "account": {
                "status": "deleted" if ended else self.status,
                "email_verified": self.verified and not ended,
                "phone_verified": self.phone_verified and not ended,
                "two_factor_enabled": self.two_factor and not ended,
                "failed_login_attempts": self.failures,
                "locked_until": self.locked_until,
                "password_changed_at": self.password_at,
                "roles": [] if ended else self.roles,
            }
        }

    def _metadata(self) -> Document:
        ended = self.ended is not None
        return {
            "metadata": {
                "created_at": self.registered.at,
                "updated_at": self.last_at,
                "last_login_at": self.logged_in_at,
                "login_count": self.logins,
                "referral_source": None if ended else self.referral,
                "utm_params": None if ended else self.campaign,
                "shard_key": hashlib.md5(self.person.user_id.encode(), usedforsecurity=False).hexdigest(),
            }
        }

    def _shown(self) -> Document:
        given, family = self.person.names
        profile: Document = {"firstName": given, "lastName": family, "displayName": f"{given} {family}"}
        if self.bio is not None:
            profile |= {"bio": self.bio, "social_links": self.links}
        claims = {
            "email": {"value": self.email, **self.registered.moment()},
            "username": {"value": self.username, **(self.renamed or self.registered).moment()},
        }
        return {
            "email": self.email,
            "username": ABSENT if self.person.username is not None else self.username,
            "profile": profile,
            "contact": self.contact,
            "preferences": {**self.preferences, "notifications": self.wishes},
            "search_fields": _search_fields(f"{given} {family}", self.bio, self.keywords),
            "claims": claims,
            "deleted_at": None,
        }

    def _gone(self) -> Document:
        if self.ended is None:
            raise ValueError("the account goes on")
        email = f"deleted_{self.person.user_id}@example.com"
        return {
            "email": email,
            "username": ABSENT,
            "profile": {"firstName": "Deleted", "lastName": "User"},
            "contact": None,
            "preferences": None,
            "search_fields": None,
            "claims": {"email": {"value": email, **self.ended.moment()}},
            "deleted_at": self.ended.at,
        }


def _search_fields(full_name: str, bio: str | None, keywords: Sequence[str]) -> Document:
    """None of the simulation's bios and keywords stands in another one, or in a name."""
    texts = [full_name, *([bio] if bio is not None else []), *keywords]
    return {"full_name": full_name, "keywords": [*keywords], "searchable_text": " ".join(texts)}
