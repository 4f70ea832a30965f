"""The stored shape of one `users` document, where the worker owns them: what the fold writes, with its exact types.

`email` and `username` stand beside it: they are given by the contest over `claims`. All else is the platform's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.claims import Claim

Count = Annotated[int, Field(ge=0)]
Status = Literal["active", "inactive", "suspended", "pending_verification", "deleted"]


def absent() -> Any:
    """Default of a field that is left out where nobody has said anything; it is never null."""
    return None


class _Shape(BaseModel):
    """A sub-document that belongs to the fold alone: exact types, no further fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Avatar(_Shape):
    """A picture, and a small one."""

    url: str = Field(default_factory=absent)
    thumbnail: str = Field(default_factory=absent)


class Profile(_Shape):
    """What a person says of themselves."""

    firstName: str = Field(default_factory=absent)  # noqa: N815  # the platform's own spelling
    lastName: str = Field(default_factory=absent)  # noqa: N815
    displayName: str = Field(default_factory=absent)  # noqa: N815
    avatar: Avatar = Field(default_factory=absent)
    bio: str = Field(default_factory=absent)
    social_links: dict[str, str] = Field(default_factory=absent)


class Address(_Shape):
    """A postal address."""

    street: str = Field(default_factory=absent)
    city: str = Field(default_factory=absent)
    state: str = Field(default_factory=absent)
    zipCode: str = Field(default_factory=absent)  # noqa: N815
    country: str = Field(default_factory=absent)


class Contact(_Shape):
    """How a person can be reached."""

    phone: str = Field(default_factory=absent)
    address: Address = Field(default_factory=absent)


class Privacy(_Shape):
    """What others may see of a person."""

    profile_visibility: Literal["public", "private", "friends"] = Field(default_factory=absent)
    show_progress: bool = Field(default_factory=absent)
    show_certificates: bool = Field(default_factory=absent)


class Preferences(_Shape):
    """How a person wants the platform to be."""

    theme: str = Field(default_factory=absent)
    language: str = Field(default_factory=absent)
    timezone: str = Field(default_factory=absent)
    notifications: dict[str, bool] = Field(default_factory=absent)
    privacy: Privacy = Field(default_factory=absent)


class _Shared(BaseModel):
    """A sub-document in which the platform may keep more."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)


class Account(_Shared):
    """State and security of the account. Logins that failed are counted up to `login.FAILURES_KEPT`."""

    status: Status
    email_verified: bool
    phone_verified: bool
    two_factor_enabled: bool
    failed_login_attempts: Count
    locked_until: datetime | None
    password_changed_at: datetime | None
    roles: list[str]


class Metadata(_Shared):
    """When what happened, and how the person came here; `shard_key` is the hexadecimal MD5 of the id."""

    created_at: datetime | None
    updated_at: datetime | None
    last_login_at: datetime | None
    login_count: Count
    referral_source: str | None
    utm_params: dict[str, str] | None
    shard_key: str | None


class SearchFields(_Shape):
    """By what a person is found."""

    full_name: str
    keywords: list[str]
    searchable_text: str


class Claims(_Shape):
    """What the account would be called; one that nobody has named, or that has ended, claims nothing."""

    email: Claim = Field(default_factory=absent)
    username: Claim = Field(default_factory=absent)


class Moment(_Shape):
    """An event by which others are ordered."""

    at: datetime
    id: UUID


class Verified(_Shape):
    """The latest event by which an address or number was verified; `value` is the one that it named.

    It is empty where a record was adopted in which none was.
    """

    at: datetime
    id: UUID
    value: str | None


class Asked(_Shape):
    """An event that claimed a value, of which only a digest is kept: whether it is the same one can be told."""

    at: datetime
    id: UUID
    of: bytes


class Opened(_Shape):
    """What an adopted document said that events do not say; see `opening`."""

    at: datetime
    id: UUID
    created_at: datetime
    attempts: Count
    locked_until: datetime | None
    has_status: bool


class State(_Shape):
    """What later events need, beside what the document shows; not for readers.

    `stamps` say when each path was said last (`projections.merging`); `asked` are claims of an address and of a name,
    in their order, as far as they are told apart; `failures` are the logins that failed since the last one that did
    not.
    """

    stamps: dict[str, Any]
    registered_at: datetime | None
    first_at: datetime | None
    last_login: Moment | None
    asked: dict[str, list[Asked]]
    failures: list[Moment]
    verified: dict[str, Verified]
    deleted: Moment | None
    opened: Opened | None


class UserDocument(BaseModel):
    """One user. Top-level fields not named here belong to the platform, `stats` to the sums."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: Annotated[int, Field(ge=0, le=255)]
    version: Count
    projection_version: int
    recorded_at: datetime
    state: State

    profile: Profile | None
    contact: Contact | None
    account: Account
    preferences: Preferences | None
    metadata: Metadata
    search_fields: SearchFields | None
    claims: Claims
    deleted_at: datetime | None

    email: str = Field(default_factory=absent)
    username: str = Field(default_factory=absent)
    stats: dict[str, Any] = Field(default_factory=absent)


CLAIMED = ("email", "username")
"""What the contest writes."""

_PARTS: Mapping[str, type[BaseModel]] = {"account": Account, "metadata": Metadata}
"""Of these the platform may keep more, as the secret of a second factor: only what stands here is the fold's."""

FOLDED_PATHS: tuple[str, ...] = (
    *(name for name in UserDocument.model_fields if name not in ("id", "rev", "stats", *CLAIMED, *_PARTS)),
    *(f"{name}.{field}" for name, part in _PARTS.items() for field in part.model_fields),
)
