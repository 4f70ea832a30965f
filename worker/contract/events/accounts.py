"""What happens to accounts: the model of each event type, with what it needs.

A partial object is merged field by field: a field that is left out stays, null removes it. No secret passes here: a
password's hash is the platform's own field, and is refused like every other secret.
"""

from typing import Annotated, Literal

from pydantic import Field

from worker.contract.data_class import IDENTIFIER, INTERNAL, PERSONAL, SENSITIVE
from worker.contract.family import Family, Inlet
from worker.contract.fields import Id, Maybe, Name, Url
from worker.contract.models import ClosedDetails, Envelope, by_type
from worker.contract.people import Email, FreeText, Language, Phone, TimeZone, Username

# A role is a word of the platform's own.
Role = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[a-z][a-z0-9_]*$",
        json_schema_extra={"not": {"pattern": r"\n"}},
    ),
]
Keyword = Annotated[str, Field(min_length=1, max_length=64)]
Status = Literal["active", "inactive", "suspended", "pending_verification"]


class AccountEvent(Envelope):
    """Something that happened to a user's account."""

    user_id: Id


class Avatar(ClosedDetails):
    """A picture, and a small one."""

    url: Url | None = None
    thumbnail: Url | None = None


class SocialLinks(ClosedDetails):
    """Where else a person can be found: an address, or a name there."""

    linkedin: Name | None = None
    twitter: Name | None = None
    github: Name | None = None
    youtube: Name | None = None
    facebook: Name | None = None
    instagram: Name | None = None
    website: Name | None = None


class Profile(ClosedDetails):
    """What a person says of themselves. Null removes a field."""

    firstName: Name | None = None  # noqa: N815  # the platform's own spelling
    lastName: Name | None = None  # noqa: N815
    displayName: Name | None = None  # noqa: N815
    avatar: Avatar | None = None
    bio: FreeText | None = None
    social_links: SocialLinks | None = None


class Address(ClosedDetails):
    """A postal address. Null removes a field."""

    street: Name | None = None
    city: Name | None = None
    state: Name | None = None
    zipCode: Name | None = None  # noqa: N815
    country: Name | None = None


class Contact(ClosedDetails):
    """How a person can be reached. Null removes a field."""

    phone: Phone | None = None
    address: Address | None = None


class Notifications(ClosedDetails):
    """Which notifications a person wants. Null: no wish."""

    email_marketing: bool | None = None
    email_course_updates: bool | None = None
    push_notifications: bool | None = None
    sms_notifications: bool | None = None


class Privacy(ClosedDetails):
    """What others may see of a person. Null: no wish."""

    profile_visibility: Literal["public", "private", "friends"] | None = None
    show_progress: bool | None = None
    show_certificates: bool | None = None


class Preferences(ClosedDetails):
    """How a person wants the platform to be. Null removes a field."""

    theme: Name | None = None
    language: Language | None = None
    timezone: TimeZone | None = None
    notifications: Notifications | None = None
    privacy: Privacy | None = None


class UtmParams(ClosedDetails):
    """The campaign that brought a person."""

    source: Maybe[Name] = None
    medium: Maybe[Name] = None
    campaign: Maybe[Name] = None
    term: Maybe[Name] = None
    content: Maybe[Name] = None


class RegistrationDetails(ClosedDetails):
    """Email and name are claimed; everything else may come later."""

    email: Email
    username: Username
    profile: Maybe[Profile] = None
    contact: Maybe[Contact] = None
    preferences: Maybe[Preferences] = None
    roles: Maybe[Annotated[list[Role], Field(max_length=50)]] = None
    status: Maybe[Status] = None
    referral_source: Maybe[Name] = None
    utm_params: Maybe[UtmParams] = None


class ProfileDetails(ClosedDetails):
    """Fields of the profile."""

    profile: Profile


class ContactDetails(ClosedDetails):
    """Fields of the contact."""

    contact: Contact


class PreferencesDetails(ClosedDetails):
    """Fields of the preferences."""

    preferences: Preferences


class EmailDetails(ClosedDetails):
    """The address from now on."""

    email: Email


class UsernameDetails(ClosedDetails):
    """The name from now on."""

    username: Username


class EmailVerifiedDetails(ClosedDetails):
    """Which address it was; left out: whichever the account had then."""

    email: Maybe[Email] = None


class PhoneVerifiedDetails(ClosedDetails):
    """Which number it was; left out: whichever the account had then."""

    phone: Maybe[Phone] = None


class TwoFactorDetails(ClosedDetails):
    """Whether logging in needs a second factor."""

    enabled: bool


class RoleDetails(ClosedDetails):
    """One role."""

    role: Role


class StatusDetails(ClosedDetails):
    """What the account may do."""

    status: Status


class KeywordsDetails(ClosedDetails):
    """All words by which a person is to be found, in their order."""

    keywords: Annotated[list[Keyword], Field(max_length=50)]


class NoDetails(ClosedDetails):
    """Nothing more is said."""


class UserRegistered(AccountEvent):
    """A person has registered: the account begins."""

    event_type: Literal["user_registered"]
    details: RegistrationDetails


class ProfileChanged(AccountEvent):
    """Fields of the profile have changed."""

    event_type: Literal["profile_changed"]
    details: ProfileDetails


class ContactChanged(AccountEvent):
    """Fields of the contact have changed."""

    event_type: Literal["contact_changed"]
    details: ContactDetails


class PreferencesChanged(AccountEvent):
    """Fields of the preferences have changed."""

    event_type: Literal["preferences_changed"]
    details: PreferencesDetails


class EmailChanged(AccountEvent):
    """The account claims another address."""

    event_type: Literal["email_changed"]
    details: EmailDetails


class UsernameChanged(AccountEvent):
    """The account claims another name."""

    event_type: Literal["username_changed"]
    details: UsernameDetails


class EmailVerified(AccountEvent):
    """The address is known to be the person's."""

    event_type: Literal["email_verified"]
    details: Maybe[EmailVerifiedDetails] = None


class PhoneVerified(AccountEvent):
    """The telephone number is known to be the person's."""

    event_type: Literal["phone_verified"]
    details: Maybe[PhoneVerifiedDetails] = None


class TwoFactorChanged(AccountEvent):
    """The second factor was switched on or off."""

    event_type: Literal["two_factor_changed"]
    details: TwoFactorDetails


class RoleChanged(AccountEvent):
    """A role was given, or taken away."""

    event_type: Literal["role_granted", "role_revoked"]
    details: RoleDetails


class AccountStatusChanged(AccountEvent):
    """What the account may do has changed."""

    event_type: Literal["account_status_changed"]
    details: StatusDetails


class AccountUsed(AccountEvent):
    """A login, one that failed, a new password (only that there is one), or the end of the account."""

    event_type: Literal["logged_in", "login_failed", "password_changed", "user_deleted"]
    details: Maybe[NoDetails] = None


class KeywordsChanged(AccountEvent):
    """The words by which a person is to be found."""

    event_type: Literal["keywords_changed"]
    details: KeywordsDetails


_USER = {"user_id": "65a4f0c2e13b7a0001c0ffee"}


def _example(**details: object) -> dict[str, object]:
    return {**_USER, "details": details} if details else dict(_USER)


ACCOUNTS = Family(
    "accounts",
    Inlet.ACCOUNTS,
    ("user",),
    by_type(
        UserRegistered,
        ProfileChanged,
        ContactChanged,
        PreferencesChanged,
        EmailChanged,
        UsernameChanged,
        EmailVerified,
        PhoneVerified,
        TwoFactorChanged,
        RoleChanged,
        AccountStatusChanged,
        AccountUsed,
        KeywordsChanged,
    ),
    classes={
        "user_id": IDENTIFIER,
        "details.status": SENSITIVE,
        "details.preferences": SENSITIVE,
        "details.enabled": SENSITIVE,
        "details.referral_source": SENSITIVE,
        "details.utm_params": SENSITIVE,
        "details.email": PERSONAL,
        "details.username": PERSONAL,
        "details.profile": PERSONAL,
        "details.contact": PERSONAL,
        "details.phone": PERSONAL,
        "details.keywords": PERSONAL,
        "details.role": INTERNAL,
        "details.roles": INTERNAL,
    },
    unsaid=("an `email` to which no mail could be sent",),
    examples={
        "user_registered": _example(
            email="instructor@example.com",
            username="john_instructor",
            profile={"firstName": "John", "lastName": "Smith", "displayName": "Dr. John Smith"},
            contact={"phone": "+1-555-0123"},
            preferences={"language": "en", "timezone": "America/Los_Angeles"},
            roles=["instructor"],
            referral_source="organic_search",
            utm_params={"source": "google", "medium": "organic", "campaign": "brand_search"},
        ),
        "profile_changed": _example(
            profile={
                "bio": "Professor of Computer Science with 15 years of teaching experience",
                "avatar": {
                    "url": "https://cdn.example.com/avatars/instructor123.jpg",
                    "thumbnail": "https://cdn.example.com/avatars/thumb/instructor123.jpg",
                },
                "social_links": {"linkedin": "https://linkedin.com/in/johnsmith", "twitter": None},
            }
        ),
        "contact_changed": _example(
            contact={
                "phone": "+1-555-0123",
                "address": {
                    "street": "123 University Ave",
                    "city": "Education City",
                    "state": "CA",
                    "zipCode": "90210",
                    "country": "USA",
                },
            }
        ),
        "preferences_changed": _example(
            preferences={
                "theme": "light",
                "notifications": {"email_marketing": False, "push_notifications": True},
                "privacy": {"profile_visibility": "public", "show_progress": True},
            }
        ),
        "email_changed": _example(email="john.smith@example.com"),
        "username_changed": _example(username="john_smith"),
        "email_verified": _example(email="john.smith@example.com"),
        "phone_verified": _example(phone="+1-555-0123"),
        "two_factor_changed": _example(enabled=True),
        "role_granted": _example(role="content_creator"),
        "role_revoked": _example(role="content_creator"),
        "account_status_changed": _example(status="suspended"),
        **dict.fromkeys(("logged_in", "login_failed", "password_changed", "user_deleted"), _example()),
        "keywords_changed": _example(keywords=["computer science", "programming"]),
    },
)
