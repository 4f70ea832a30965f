"""From what happens to an account to the user's document: the same set of events gives the same in any order.

Of each field the latest word by (occurred_at, event_id) counts. The end of an account is final: whatever else is said
of it, before or after, only its times and counts remain. Rules: docs/projections.md.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from bson import ObjectId

from projections.account.login import after_login, locked_until, order_of
from projections.account.search import search_fields
from projections.claims import told_apart
from projections.event import OPENING, StoredEvent
from projections.merging import closed, merge, opened, opened_stamps
from projections.streams import StreamFold
from worker.contract.identity import parse_stream_id
from worker.contract.people import one_spelling

PROJECTION_VERSION = 2
"""Goes up with every change of a rule or of the state: documents of an older version are folded anew."""

State = dict[str, Any]

_PARTS = ("profile", "contact", "preferences")
# All that is said of an account, but for what it is called.
_SAID = (*_PARTS, "status", "two_factor_enabled", "roles", "keywords", "referral_source", "utm_params")
_DIGEST_BYTES = 8
# Of the state, as it is stored.
_KEPT = ("registered_at", "first_at", "last_login", "failures", "deleted", "opened")
_CLAIMED = ("email", "username")
# Verified as the address of a record that had none verified.
_NOTHING = ""
# What an account that has ended is called, by the platform's own rule: nobody else is.
_ENDED_EMAIL = "deleted_{}@example.com"
_ENDED_PROFILE = {"firstName": "Deleted", "lastName": "User"}


def opened_state(current: Mapping[str, Any] | None) -> State:
    """The state to fold on: what the document keeps for it, and what it shows."""
    if current is None:
        return {
            "user_id": None,
            "stamps": {},
            "values": {},
            "registered_at": None,
            "first_at": None,
            "last_at": None,
            "last_login": None,
            "login_count": 0,
            "failures": [],
            "asked": {},
            "verified": {},
            "password_changed_at": None,
            "deleted": None,
            "opened": None,
        }
    state, account, metadata = current["state"], current["account"], current["metadata"]
    ended = state["deleted"] is not None
    return {
        **{name: state[name] for name in _KEPT},
        "user_id": _user_id(current["stream_id"]),
        "stamps": opened_stamps(state["stamps"]),
        "values": {} if ended else _values(current),
        "last_at": metadata["updated_at"],
        "login_count": metadata["login_count"],
        "verified": dict(state["verified"]),
        "asked": dict(state["asked"]),
        "password_changed_at": account["password_changed_at"],
    }


def _values(current: Mapping[str, Any]) -> dict[str, Any]:
    """What has been said, by its path, from where the document shows it."""
    account, metadata, search = current["account"], current["metadata"], current["search_fields"] or {}
    stamps = current["state"]["stamps"]
    said = {
        **{part: opened(current[part]) for part in _PARTS},
        **{name: claim["value"] for name, claim in current["claims"].items()},
        "status": account["status"] if _has_said_status(current["state"]) else None,
        "two_factor_enabled": account["two_factor_enabled"] if "two_factor_enabled" in stamps else None,
        "roles": dict.fromkeys(account["roles"], True),
        "referral_source": metadata["referral_source"],
        "utm_params": opened(metadata["utm_params"]),
        "keywords": search.get("keywords"),
    }
    return {name: value for name, value in said.items() if value not in (None, {})}


def _has_said_status(state: Mapping[str, Any]) -> bool:
    """Whether the status is what somebody said last: a record that was adopted may have had none."""
    stamp, opened_by = state["stamps"].get("status"), state["opened"]
    if stamp is None or opened_by is None or opened_by["has_status"]:
        return stamp is not None
    return _order(stamp) != order_of(opened_by)


def apply(state: State, event: StoredEvent) -> None:
    """Take one event into the state, exactly once. A type not in `EFFECTS` is activity, and nothing else."""
    at = event.occurred_at
    state["user_id"] = event.user_id
    state["first_at"] = at if state["first_at"] is None else min(state["first_at"], at)
    state["last_at"] = at if state["last_at"] is None else max(state["last_at"], at)
    effect = EFFECTS.get(event.event_type)
    if effect is not None and not (event.event_type in _COUNTED and _is_contained(state, event)):
        effect(state, event)


def _is_contained(state: State, event: StoredEvent) -> bool:
    """Whether the record that was adopted has it already."""
    return state["opened"] is not None and order_of(_moment(event)) <= order_of(state["opened"])


def _opened(state: State, event: StoredEvent) -> None:
    """The record that the platform kept until then: all of it was said at that moment, or counted before it.

    So was what it has not: no role comes back that was given before, and taken away by the platform itself.
    """
    content, life = event.details["record"]["content"], event.details["record"]["life"]
    moment, roles = _moment(event), content.get("roles", ())
    kept = {name: life[name] for name in ("created_at", "attempts", "locked_until")}
    state["opened"] = {**moment, **kept, "has_status": "status" in content}
    state["registered_at"] = life["created_at"]
    state["first_at"] = min(state["first_at"], life["created_at"])
    said = {name: value for name, value in content.items() if name not in ("roles", *_CLAIMED)}
    named = {name: one_spelling(content[name]) for name in _CLAIMED if name in content}
    _say(state, event, dict.fromkeys(_SAID))
    _say(state, event, {**said, **({"roles": dict.fromkeys(roles, True)} if roles else {})})
    _ask(state, event, named)
    state["login_count"] = life["login_count"]
    state["last_login"] = None if life["last_login_at"] is None else {**moment, "at": life["last_login_at"]}
    state["failures"] = [each for each in state["failures"] if order_of(each) > order_of(moment)]
    state["password_changed_at"] = life["password_changed_at"]
    phone = content.get("contact", {}).get("phone")
    for name, value in (("email", content.get("email")), ("phone", phone)):
        is_verified = life[f"{name}_verified"] and value is not None
        _verify(state, name, moment, _verifiable(name, value) if is_verified else _NOTHING)
    if life["deleted_at"] is not None:
        _end(state, {**moment, "at": life["deleted_at"]})


def _registered(state: State, event: StoredEvent) -> None:
    """The account begins; what was said of it later stays."""
    state["registered_at"] = _earlier(state["registered_at"], event.occurred_at)
    details = event.details
    said = {
        name: details[name]
        for name in (*_PARTS, "status", "referral_source", "utm_params")
        if name in details
    }
    roles = {"roles": dict.fromkeys(details["roles"], True)} if details.get("roles") else {}
    _say(state, event, {**said, **roles})
    _ask(state, event, {name: one_spelling(details[name]) for name in _CLAIMED})


def _part_changed(state: State, event: StoredEvent) -> None:
    """Fields that are named change, null removes them, the others stay."""
    _say(state, event, {name: event.details[name] for name in _PARTS if name in event.details})


def _claim_changed(state: State, event: StoredEvent) -> None:
    """The account claims this address or name from now on; who says the same again loses nothing by it."""
    _ask(
        state, event, {name: one_spelling(event.details[name]) for name in _CLAIMED if name in event.details}
    )


def _verified(state: State, event: StoredEvent) -> None:
    """The latest one counts: of the address or number that it names, or of the one that the account had then."""
    name = "phone" if event.event_type == "phone_verified" else "email"
    value = event.details.get(name)
    _verify(state, name, _moment(event), None if value is None else _verifiable(name, value))


def _verify(state: State, name: str, moment: dict[str, Any], value: str | None) -> None:
    known = state["verified"].get(name)
    if state["deleted"] is None and (known is None or order_of(moment) > order_of(known)):
        state["verified"][name] = {**moment, "value": value}


def _two_factor(state: State, event: StoredEvent) -> None:
    """Switched on, or off."""
    _say(state, event, {"two_factor_enabled": event.details["enabled"]})


def _role_changed(state: State, event: StoredEvent) -> None:
    """Of each role the latest word counts."""
    granted = True if event.event_type == "role_granted" else None
    _say(state, event, {"roles": {event.details["role"]: granted}})


def _status_changed(state: State, event: StoredEvent) -> None:
    """The latest word counts."""
    _say(state, event, {"status": event.details["status"]})


def _keywords_changed(state: State, event: StoredEvent) -> None:
    """All words at once, each once; an empty list removes them."""
    _say(state, event, {"keywords": list(dict.fromkeys(event.details["keywords"])) or None})


def _logged_in(state: State, event: StoredEvent) -> None:
    """Counts, and undoes the logins that failed before it."""
    state["login_count"] += 1
    moment = _moment(event)
    if state["last_login"] is None or order_of(moment) > order_of(state["last_login"]):
        state["last_login"] = moment
    state["failures"] = after_login(state["failures"], state["last_login"])


def _login_failed(state: State, event: StoredEvent) -> None:
    """Counts until a login; see `login`."""
    state["failures"] = after_login([*state["failures"], _moment(event)], state["last_login"])


def _password_changed(state: State, event: StoredEvent) -> None:
    """Only when: the password itself, and its hash, are nowhere here."""
    known = state["password_changed_at"]
    state["password_changed_at"] = event.occurred_at if known is None else max(known, event.occurred_at)


def _deleted(state: State, event: StoredEvent) -> None:
    """The account ends, for good: of the person nothing remains, whatever comes."""
    _end(state, _moment(event))


def _end(state: State, moment: dict[str, Any]) -> None:
    if state["deleted"] is None or order_of(moment) < order_of(state["deleted"]):
        state["deleted"] = moment
    for name in ("stamps", "values", "verified", "asked"):
        state[name] = {}


EFFECTS: Mapping[str, Callable[[State, StoredEvent], None]] = MappingProxyType(
    {
        "user_registered": _registered,
        "profile_changed": _part_changed,
        "contact_changed": _part_changed,
        "preferences_changed": _part_changed,
        "email_changed": _claim_changed,
        "username_changed": _claim_changed,
        "email_verified": _verified,
        "phone_verified": _verified,
        "two_factor_changed": _two_factor,
        "role_granted": _role_changed,
        "role_revoked": _role_changed,
        "account_status_changed": _status_changed,
        "logged_in": _logged_in,
        "login_failed": _login_failed,
        "password_changed": _password_changed,
        "keywords_changed": _keywords_changed,
        "user_deleted": _deleted,
        OPENING: _opened,
    }
)
_COUNTED = frozenset({"logged_in", "login_failed", "password_changed"})
"""What a record that was adopted has counted already, if it happened before."""


def has_begun(fields: Mapping[str, Any]) -> bool:
    """A user is one who has registered; until then what is said of somebody waits in the event store."""
    return fields["state"]["registered_at"] is not None or fields["deleted_at"] is not None


def adopted_at(fields: Mapping[str, Any]) -> datetime | None:
    """When an event said last what the platform's document was."""
    opened_by = fields["state"]["opened"]
    return None if opened_by is None else opened_by["at"]


def shown(state: State) -> dict[str, Any]:
    """All fields of the document but those of its identity."""
    values, ended, login = state["values"], state["deleted"], state["last_login"]
    parts = {part: closed(values.get(part)) for part in _PARTS}
    search = search_fields(values.get("profile", {}), values.get("keywords", []))
    if ended is not None:
        parts["profile"] = dict(_ENDED_PROFILE)
    return {
        "state": {
            "stamps": _closed_stamps(state["stamps"]),
            "verified": closed(state["verified"]),
            "asked": closed(state["asked"]),
            **{name: state[name] for name in _KEPT},
        },
        **parts,
        "account": _account(state),
        "metadata": {
            "created_at": state["registered_at"] or state["first_at"],
            "updated_at": state["last_at"],
            "last_login_at": None if login is None else login["at"],
            "login_count": state["login_count"],
            "referral_source": values.get("referral_source"),
            "utm_params": closed(values.get("utm_params")),
            "shard_key": None if state["user_id"] is None else shard_key(state["user_id"]),
        },
        "search_fields": search,
        "claims": _claims(state),
        "deleted_at": None if ended is None else ended["at"],
    }


def shard_key(user_id: ObjectId) -> str:
    """By which a sharded collection spreads its users; the spec's own rule."""
    return hashlib.md5(str(user_id).encode(), usedforsecurity=False).hexdigest()


def _account(state: State) -> dict[str, Any]:
    values, ended = state["values"], state["deleted"] is not None
    since = _since(state, "email") if "email" in values else None
    called = None if since is None else (since["at"], since["id"])
    email_verified = _is_verified(state, "email", values.get("email"), called)
    contact = state["stamps"].get("contact")
    phone_stamp = None if contact is None else _stamp_below(contact, "phone")
    standing = "active" if email_verified else "pending_verification"
    return {
        "status": "deleted" if ended else values.get("status", standing),
        "email_verified": email_verified,
        "phone_verified": _is_verified(state, "phone", values.get("contact", {}).get("phone"), phone_stamp),
        "two_factor_enabled": values.get("two_factor_enabled", False),
        "failed_login_attempts": _attempts_before(state) + len(state["failures"]),
        "locked_until": _locked_until(state),
        "password_changed_at": state["password_changed_at"],
        "roles": _roles(values.get("roles", {}), state["stamps"].get("roles")),
    }


def _roles(granted: Mapping[str, Any], stamp: Any) -> list[str]:
    """In the order in which they were given; of those that were given at once by their names."""
    return sorted(granted, key=lambda role: (*_order(_stamp_below(stamp, role)), role))


def _order(stamp: Any) -> tuple[datetime, bytes]:
    return stamp[0], stamp[1].bytes


def _attempts_before(state: State) -> int:
    """Logins that had failed when the record was adopted; none once there was a login."""
    opened, login = state["opened"], state["last_login"]
    if opened is None or (login is not None and login["at"] > opened["at"]):
        return 0
    return int(opened["attempts"])


def _locked_until(state: State) -> datetime | None:
    before = _attempts_before(state)
    if before and not state["failures"]:
        until: datetime | None = state["opened"]["locked_until"]
        return until
    return locked_until(state["failures"], before)


def _claims(state: State) -> dict[str, Any]:
    ended = state["deleted"]
    if ended is not None:
        value = _ENDED_EMAIL.format(state["user_id"])
        return {"email": {"value": value, "at": ended["at"], "event_id": ended["id"]}}
    since = {name: _since(state, name) for name in _CLAIMED if name in state["values"]}
    return {
        name: {"value": state["values"][name], "at": _claimed_at(state, asked), "event_id": asked["id"]}
        for name, asked in since.items()
    }


def _since(state: State, name: str) -> dict[str, Any]:
    """The first claim in the unbroken row of equal ones that the latest ends."""
    asked: list[dict[str, Any]] = state["asked"][name]
    *before, first = asked
    for each in reversed(before):
        if each["of"] != first["of"]:
            break
        first = each
    return first


def _claimed_at(state: State, asked: Mapping[str, Any]) -> datetime:
    """What an adopted record is called it was called since it was made: nobody takes it who came later."""
    opened = state["opened"]
    at: datetime = opened["created_at"] if opened is not None and asked["id"] == opened["id"] else asked["at"]
    return at


def _is_verified(state: State, name: str, value: str | None, stamp: Any) -> bool:
    known = state["verified"].get(name)
    if known is None or value is None:
        return False
    if known["value"] is not None:
        return bool(known["value"] == _verifiable(name, value))
    return stamp is not None and order_of(known) > _order(stamp)


def _verifiable(name: str, value: str) -> str:
    """A number is the same however it is grouped."""
    return (
        one_spelling(value) if name == "email" else "".join(each for each in value if each in "+0123456789")
    )


def _stamp_below(stamp: Any, name: str) -> Any:
    """When a field of an object was said last, if it has a value."""
    return stamp[2].get(name) if len(stamp) > 2 else None


def _closed_stamps(stamps: Mapping[str, Any]) -> dict[str, Any]:
    """By their names, whatever the order in which they came."""
    return {
        name: [*stamps[name][:2], *(_closed_stamps(below) for below in stamps[name][2:])]
        for name in sorted(stamps)
    }


def _say(state: State, event: StoredEvent, patch: Mapping[str, Any]) -> None:
    """Take in what an event says, unless the account has ended."""
    if state["deleted"] is None and patch:
        merge(state["stamps"], state["values"], patch, (event.occurred_at, event.event_id))


def _ask(state: State, event: StoredEvent, named: Mapping[str, str]) -> None:
    """Claim values, unless the account has ended."""
    if state["deleted"] is not None:
        return
    _say(state, event, named)
    for name, value in named.items():
        asked = {**_moment(event), "of": hashlib.sha256(value.encode()).digest()[:_DIGEST_BYTES]}
        every = sorted([*state["asked"].get(name, []), asked], key=order_of)
        state["asked"][name] = told_apart(every, lambda each: each["of"])


def _moment(event: StoredEvent) -> dict[str, Any]:
    return {"at": event.occurred_at, "id": event.event_id}


def _earlier(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else min(known, at)


def _user_id(stream: str) -> Any:
    return (parse_stream_id(stream) or {}).get("user_id")


USER_FOLD = StreamFold(PROJECTION_VERSION, opened_state, apply, shown)
