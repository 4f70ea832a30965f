"""Invariant 5, of users: where they are the worker's, each is what happened to the account, worked out a second time.

From docs/projections.md and the contract alone: all events of a user at once, in their order, one after the other,
where the worker keeps a moment for each field; and who has which address and name from all users at once.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.oracle.case import Case
from tests.oracle.claims import claimed
from tests.oracle.projected import document_differences
from tests.oracle.reported import Event, all_details, order
from tests.oracle.stored import OPENING, VOID, Document

_STREAM = re.compile(r"user_[0-9a-f]{24}")
_PARTS = ("profile", "contact", "preferences")
_CALLED = ("email", "username")
_SAID = ("referral_source", "utm_params", "status")
_LOCK_AFTER, _LOCK, _FAILURES = 5, timedelta(minutes=15), 100


def user_documents(case: Case) -> Iterator[str]:
    """Every user who registered has one document, at its last version, which shows what follows from its events."""
    documents = [each for each in case.stored.users if "stream_id" in each]
    streams = case.stored.streams_of("users") if "users" in case.owned else {}
    wanted = {
        stream: expected_user(events)
        for stream, events in streams.items()
        if _STREAM.fullmatch(stream) and any(map(_begins, events))
    }
    yield from document_differences("user", streams, wanted, documents)
    for document in documents:
        if document["stream_id"] in wanted:
            yield from _shape_differences(document, wanted[document["stream_id"]])
    yield from claimed(case.stored.users, _CALLED, "user")


def _shape_differences(document: Document, wanted: Document) -> Iterator[str]:
    """What nobody has said is not there, either."""
    for part in ("claims", *_PARTS):
        if _shape(wanted[part]) != _shape(document.get(part)):
            yield f"user {document['_id']} has other fields in {part} than were said"


def expected_user(events: Sequence[Event]) -> Document:
    """What the document says after these events, as far as it follows from them."""
    told = sorted((each for each in events if each["event_type"] != VOID), key=order)
    user = events[0]["stream_id"].partition("_")[2]
    story = _Story()
    for event in told:
        story.take(event)
    ended = min(story.ends, key=order) if story.ends else None
    since = story.since or (told[0]["occurred_at"] if told else None)
    metadata = {
        "created_at": since,
        "updated_at": max((each["occurred_at"] for each in told), default=None),
        "last_login_at": story.login_at,
        "login_count": story.logins,
        "shard_key": hashlib.md5(user.encode(), usedforsecurity=False).hexdigest() if told else None,
    }
    account = {
        "failed_login_attempts": story.failed_before + len(story.failures[-_FAILURES:]),
        "locked_until": story.locked_until(),
        "password_changed_at": story.password_at,
    }
    if ended is not None:
        value = {"value": f"deleted_{user}@example.com", "at": ended["occurred_at"], "event_id": ended["_id"]}
        return {
            "profile": {"firstName": "Deleted", "lastName": "User"},
            **dict.fromkeys(("contact", "preferences", "search_fields")),
            "account": {
                **account,
                **dict.fromkeys(("email_verified", "phone_verified", "two_factor_enabled"), False),
                "status": "deleted",
                "roles": [],
            },
            "metadata": {**metadata, "referral_source": None, "utm_params": None},
            "claims": {"email": value},
            "deleted_at": ended["occurred_at"],
        }
    said, verified = story.said, story.verified()
    return {
        **{part: said.get(part) for part in _PARTS},
        "account": {
            **account,
            **verified,
            "status": said.get("status", "active" if verified["email_verified"] else "pending_verification"),
            "two_factor_enabled": said.get("two_factor", False),
            "roles": story.roles,
        },
        "metadata": {
            **metadata,
            "referral_source": said.get("referral_source"),
            "utm_params": said.get("utm_params"),
        },
        "search_fields": _search_fields(said.get("profile", {}), said.get("keywords", [])),
        "claims": story.claims,
        "deleted_at": None,
    }


class _Story:
    """An account as its events tell it, one after the other."""

    def __init__(self) -> None:
        self.said: Document = {}
        self.roles: list[str] = []
        self.claims: Document = {}
        self.failures: list[Any] = []
        self.logins = 0
        self.login_at: Any = None
        self.password_at: Any = None
        self.since: Any = None
        self.ends: list[Event] = []
        # Of an adopted account: logins that had failed by then, and until when it was locked.
        self.failed_before = 0
        self.locked_before: Any = None
        # Of an address or a number: which was verified last (None: the one of that moment), and if it was said since.
        self.proofs: dict[str, tuple[str | None, bool]] = {}

    def take(self, event: Event) -> None:
        kind, at, said = event["event_type"], event["occurred_at"], all_details(event)
        if kind == OPENING:
            self._adopt(event)
            return
        if kind == "user_registered":
            self.since = self.since or at
        self._merge({name: said[name] for name in _PARTS if name in said})
        if kind == "user_registered":
            self._merge({name: said[name] for name in _SAID if name in said})
            for role in sorted(said.get("roles", [])):
                self._give(role)
        if kind in ("user_registered", "email_changed", "username_changed"):
            self._call(event, said)
        if "phone" in said.get("contact", {}):
            self._renew("phone")
        self._of_the_account(kind, said)
        self._of_logins(kind, at)
        if kind == "user_deleted":
            self.ends.append(event)

    def locked_until(self) -> Any:
        if not self.failures:
            return self.locked_before if self.failed_before else None
        enough = self.failed_before + len(self.failures) >= _LOCK_AFTER
        return self.failures[-1] + _LOCK if enough else None

    def _adopt(self, event: Event) -> None:
        """The platform's document: all of the account was said now, and counted before; what is not in it is not."""
        content, life = all_details(event)["record"]["content"], all_details(event)["record"]["life"]
        self.since = life["created_at"]
        self.said, self.roles = {}, []
        self._merge({name: content[name] for name in (*_PARTS, *_SAID) if name in content})
        for name, place in (("two_factor_enabled", "two_factor"), ("keywords", "keywords")):
            if name in content:
                self.said[place] = content[name]
        for role in sorted(content.get("roles", [])):
            self._give(role)
        self._call({**event, "occurred_at": life["created_at"]}, content)
        called = {"email": content.get("email"), "phone": content.get("contact", {}).get("phone")}
        self.proofs = {
            name: (value, True) for name, value in called.items() if value and life[f"{name}_verified"]
        }
        self.logins, self.login_at, self.failures = life["login_count"], life["last_login_at"], []
        self.failed_before, self.locked_before = life["attempts"], life["locked_until"]
        self.password_at = life["password_changed_at"]
        if life["deleted_at"] is not None:
            self.ends.append({**event, "occurred_at": life["deleted_at"]})

    def _of_the_account(self, kind: str, said: Mapping[str, Any]) -> None:
        match kind:
            case "email_verified" | "phone_verified":
                name = kind.partition("_")[0]
                self.proofs[name] = said.get(name), True
            case "two_factor_changed":
                self.said["two_factor"] = said["enabled"]
            case "account_status_changed":
                self.said["status"] = said["status"]
            case "role_granted":
                self._give(said["role"])
            case "role_revoked":
                self._take_away(said["role"])
            case "keywords_changed":
                self.said["keywords"] = list(dict.fromkeys(said["keywords"]))

    def _of_logins(self, kind: str, at: Any) -> None:
        match kind:
            case "logged_in":
                self.logins, self.login_at, self.failures = self.logins + 1, at, []
                self.failed_before = 0
            case "login_failed":
                self.failures.append(at)
            case "password_changed":
                self.password_at = at

    def verified(self) -> Document:
        now = {
            "email": self.claims.get("email", {}).get("value"),
            "phone": self.said.get("contact", {}).get("phone"),
        }
        return {f"{name}_verified": self._is_verified(name, value) for name, value in now.items()}

    def _is_verified(self, name: str, value: str | None) -> bool:
        if name not in self.proofs or value is None:
            return False
        proof, still = self.proofs[name]
        if proof is None:
            return still
        return _spelt(proof) == value if name == "email" else _digits(proof) == _digits(value)

    def _call(self, event: Event, said: Mapping[str, Any]) -> None:
        for name in _CALLED:
            if name in said and self.claims.get(name, {}).get("value") != _spelt(said[name]):
                self.claims[name] = {
                    "value": _spelt(said[name]),
                    "at": event["occurred_at"],
                    "event_id": event["_id"],
                }
                self._renew(name)

    def _renew(self, name: str) -> None:
        """What was verified as the one of that moment is another now."""
        if name in self.proofs:
            self.proofs[name] = self.proofs[name][0], False

    def _give(self, role: str) -> None:
        self._take_away(role)
        self.roles.append(role)

    def _take_away(self, role: str) -> None:
        self.roles = [each for each in self.roles if each != role]

    def _merge(self, said: Mapping[str, Any]) -> None:
        self.said = _merged(self.said, said)


def _merged(known: Mapping[str, Any], said: Mapping[str, Any]) -> Document:
    """Field by field; null removes, and what has nothing in it any more is not there."""
    result = dict(known)
    for name, value in said.items():
        if isinstance(value, Mapping):
            inner = _merged(result.get(name, {}), value)
            result[name] = inner or None
        else:
            result[name] = value
    return {name: value for name, value in result.items() if value is not None}


def _search_fields(profile: Mapping[str, Any], keywords: Sequence[str]) -> Document | None:
    """Names, what is said of oneself, and the words to be found by, each unless it stands there already."""
    texts = {name: " ".join(text.split()) for name, text in profile.items() if isinstance(text, str)}
    full = f"{texts.get('firstName', '')} {texts.get('lastName', '')}".strip()
    words: list[str] = []
    for text in (full, texts.get("displayName", ""), texts.get("bio", ""), *keywords):
        if text and not _within(text.casefold().split(" "), " ".join(words).casefold().split(" ")):
            words.append(text)
    if not words:
        return None
    return {"full_name": full, "keywords": list(keywords), "searchable_text": " ".join(words)}


def _within(some: Sequence[str], all_words: Sequence[str]) -> bool:
    return any(list(all_words[at : at + len(some)]) == list(some) for at in range(len(all_words)))


def _begins(event: Event) -> bool:
    return event["event_type"] in ("user_registered", "user_deleted", OPENING)


def _shape(value: Any) -> Any:
    return {name: _shape(each) for name, each in value.items()} if isinstance(value, Mapping) else None


def _spelt(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def _digits(number: str) -> str:
    return re.sub(r"[^0-9]", "", number)
