"""What an opening event says of a user: the document as the platform kept it until then, in the fold's own words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from projections.account.document import CLAIMED, Contact, Count, Preferences, Profile, Status
from projections.paths import ABSENT, at
from projections.unfit import Unfit
from worker.mistakes import words_for

Document = dict[str, Any]


class UserLife(BaseModel):
    """What had happened to the account. `attempts` are logins that failed since the last one that did not."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    created_at: datetime
    updated_at: datetime | None
    deleted_at: datetime | None
    last_login_at: datetime | None
    login_count: Count
    attempts: Count
    locked_until: datetime | None
    password_changed_at: datetime | None
    email_verified: bool
    phone_verified: bool


class UserContent(BaseModel):
    """What had been said of the account; what nobody had said is not there."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    profile: Profile | None = None
    contact: Contact | None = None
    preferences: Preferences | None = None
    email: str | None = None
    username: str | None = None
    status: Status | None = None
    two_factor_enabled: bool | None = None
    roles: list[str] | None = None
    keywords: list[str] | None = None
    referral_source: str | None = None
    utm_params: dict[str, str] | None = None


class UserOpening(BaseModel):
    """`personal.details.record` of an opening event of a user."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    content: UserContent
    life: UserLife


_CONTENT: Mapping[str, str] = {
    **{name: name for name in ("profile", "contact", "preferences", "email", "username")},
    "status": "account.status",
    "two_factor_enabled": "account.two_factor_enabled",
    "roles": "account.roles",
    "keywords": "search_fields.keywords",
    "referral_source": "metadata.referral_source",
    "utm_params": "metadata.utm_params",
}
_LIFE: Mapping[str, tuple[str, Any]] = {
    "updated_at": ("metadata.updated_at", None),
    "deleted_at": ("deleted_at", None),
    "last_login_at": ("metadata.last_login_at", None),
    "login_count": ("metadata.login_count", 0),
    "attempts": ("account.failed_login_attempts", 0),
    "locked_until": ("account.locked_until", None),
    "password_changed_at": ("account.password_changed_at", None),
    "email_verified": ("account.email_verified", False),
    "phone_verified": ("account.phone_verified", False),
}
"""Of each field where the document has it; of the latter what it is where there is nothing."""


def opening_record(document: Mapping[str, Any]) -> Document:
    """The record of a document that the platform kept. Raises `Unfit` where it makes no sense as a user."""
    created_at = _at(document, "metadata.created_at", None) or document.get("created_at")
    if created_at is None:
        identity = document["_id"]
        created_at = identity.generation_time
    said = {name: _at(document, path, None) for name, path in _CONTENT.items()}
    nobody = {name for name in CLAIMED if said[name] == ""}  # an empty text is no name
    content = {name: value for name, value in said.items() if value is not None and name not in nobody}
    life = {name: _at(document, path, otherwise) for name, (path, otherwise) in _LIFE.items()}
    record = {"content": content, "life": {**life, "created_at": created_at}}
    try:
        UserOpening.model_validate(record)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        raise Unfit(f"{_named(mistake['loc'])} {words_for(mistake)}") from None
    return record


def _at(document: Mapping[str, Any], path: str, otherwise: Any) -> Any:
    found = at(document, path)
    return otherwise if found is ABSENT or found is None else found


def _named(loc: tuple[int | str, ...]) -> str:
    """The path in the document of what is wrong in the record."""
    part, name, *below = (*map(str, loc), "")
    path = _CONTENT.get(name) if part == "content" else _LIFE.get(name, ("metadata.created_at",))[0]
    return ".".join([path or name, *filter(None, below)])
