"""The specification's user: events that rebuild it, and where each field of it comes from."""

from collections.abc import Iterator
from typing import Any

from projections.account.projection import USERS
from projections.event import StoredEvent
from tests.spec.compare import sample, unexplained
from tests.spec.extract import paths
from tests.support.accounts import USER, happened
from tests.unit.projections.events import arrive
from worker.storage.models import User
from worker.verify.shapes import misfits_of

NOT_OF_THE_FOLD = {
    "email": "the fold claims it (`claims.email`); the earliest claim has it, by `user_claims`",
    "username": "the fold claims it (`claims.username`); the earliest claim has it, by `user_claims`",
    "password_hash": "the platform's own field: no hash passes through Kafka or the event store",
    "stats": "sums over what the user learns and teaches, by `counts`",
    "search_fields.searchable_text": "names, `bio` and keywords, each once; the sample leaves words of `bio` out",
}
"""Of a user's sample what others write or compute otherwise, with the reason."""


def events_of(wanted: Any) -> Iterator[StoredEvent]:
    """What producers send to make this user."""
    metadata, account = wanted["metadata"], wanted["account"]
    first, *further = account["roles"]
    yield happened(
        "user_registered",
        0,
        **{name: wanted[name] for name in ("email", "username", "profile", "contact", "preferences")},
        roles=[first],
        **{name: metadata[name] for name in ("referral_source", "utm_params")},
    )
    yield happened("email_verified", 10, email=wanted["email"])
    for place, role in enumerate(further):
        yield happened("role_granted", 20 + place, role=role)
    yield happened("two_factor_changed", 30, enabled=account["two_factor_enabled"])
    yield happened("password_changed", 40)
    yield happened("keywords_changed", 50, keywords=wanted["search_fields"]["keywords"])
    yield happened("login_failed", 60)
    for place in range(metadata["login_count"]):
        yield happened("logged_in", 100 + place)


def test_events_rebuild_the_user_of_the_specification() -> None:
    wanted = sample("users")
    document = {"_id": USER, "rev": 1, **USERS.refold(arrive(events_of(wanted)), None, "live")}

    assert unexplained(wanted, document, NOT_OF_THE_FOLD) == []
    assert set(NOT_OF_THE_FOLD) <= set(paths(wanted)), "each exception is a field of the specification"
    for name in ("email", "username"):
        assert document["claims"][name]["value"] == wanted[name]
    assert document["search_fields"]["searchable_text"] == (
        "John Smith Dr. John Smith Professor of Computer Science with 15 years of teaching experience "
        "programming javascript python"
    )
    called = {**document, "email": wanted["email"], "username": wanted["username"], "stats": {}}
    for shapes in ((User,), USERS.target.shapes):
        assert misfits_of(shapes, called) == []
