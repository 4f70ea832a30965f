"""Every index of every collection: the spec's thirteen, and those the worker's own queries and promises need.

The spec's options are kept, with two differences (docs/decisions): `background` is gone from the server, and
the unique indexes on optional fields are partial, or a second document without the field would be refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from projections.catalogue import CATALOGUE
from projections.kinds import Catalogue, Index
from worker.settings import RetentionSettings
from worker.storage.control_documents import OURS
from worker.storage.work_items import EVENT_TYPES, further_types
from worker.storage.workers import FORGOTTEN_S

Options = Mapping[str, Any]


def _unique_where_text(path: str) -> Options:
    """Unique among documents that hold a text there. `$gt: ""` lets a query for one value use the index."""
    return {"unique": True, "partialFilterExpression": {path: {"$gt": ""}}}


_SPEC = (
    Index("users", "idx_users_email_unique", (("email", 1),), _unique_where_text("email")),
    Index("users", "idx_users_username_unique", (("username", 1),), _unique_where_text("username")),
    Index("users", "idx_users_login", (("email", 1), ("account.status", 1))),
    Index(
        "users",
        "idx_users_active_display_name",
        (("profile.displayName", 1),),
        {"partialFilterExpression": {"account.status": "active", "deleted_at": None}},
    ),
    Index(
        "users",
        "idx_users_text_search",
        (("search_fields.full_name", "text"), ("search_fields.keywords", "text"), ("profile.bio", "text")),
        {"weights": {"search_fields.full_name": 10, "search_fields.keywords": 5, "profile.bio": 1}},
    ),
    Index("users", "idx_users_phone_sparse", (("contact.phone", 1),), {"sparse": True}),
    Index("courses", "idx_courses_slug_unique", (("slug", 1),), _unique_where_text("slug")),
    Index(
        "courses",
        "idx_courses_browse",
        (
            ("publication.status", 1),
            ("metadata.category", 1),
            ("pricing.type", 1),
            ("stats.ratings.average", -1),
        ),
    ),
    Index("courses", "location_2dsphere", (("location", "2dsphere"),)),
    Index("courses", "idx_courses_tags", (("metadata.tags", 1),)),
    Index("promotions", "idx_promotions_ttl", (("expires_at", 1),), {"expireAfterSeconds": 0}),
    Index(
        "user_interactions",
        "idx_user_interactions_user_time",
        (("metadata.user_id", 1), ("timestamp", -1)),
    ),
    Index("cache", "expires_at_1", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)


def _history(whose: str, event_type: Any, kept_s: int) -> Index:
    """Forgets the completed items of some types in time."""
    completed = {"status": "completed", "event_type": event_type}
    options = {"expireAfterSeconds": kept_s, "partialFilterExpression": completed}
    name = f"idx_analytics_queue_{whose}_completed_ttl"
    return Index("analytics_queue", name, (("processed_at", 1),), options)


_OWN = (
    # The promise "versions 1, 2, 3 ... without holes or twins" rests on this one.
    Index(
        "course_events",
        "idx_course_events_stream_version_unique",
        (("stream_id", 1), ("version", 1)),
        {"unique": True},
    ),
    # When is the next item due? Items of types the worker does not handle are not even passed over.
    Index("analytics_queue", "idx_analytics_queue_due", (("event_type", 1), ("status", 1), ("due_at", 1))),
    # Claiming in turns, stream after stream, the oldest due item of each.
    Index(
        "analytics_queue",
        "idx_analytics_queue_turn",
        (("event_type", 1), ("status", 1), ("stream_id", 1), ("due_at", 1)),
    ),
    # Operators look at one status over time; the metrics ask for the oldest of each.
    Index("analytics_queue", "idx_analytics_queue_status_created", (("status", 1), ("created_at", 1))),
    # Operators look at what nobody has acted upon, at one reason over time, and at equal failures together.
    Index("dead_letters", "idx_dead_letters_open_created", (("redrives", 1), ("created_at", 1))),
    Index("dead_letters", "idx_dead_letters_reason_created", (("reason", 1), ("created_at", 1))),
    Index("dead_letters", "idx_dead_letters_fingerprint", (("fingerprint", 1),)),
    # `trace` asks for the dead letters of one event, and looks through the newest of those that name none.
    Index("dead_letters", "idx_dead_letters_event_created", (("event_id", 1), ("created_at", 1))),
    # The oldest row that still has to be sent, and operators' look at one status over time.
    Index("notifications", "idx_notifications_status_created", (("status", 1), ("created_at", 1))),
    # Claiming what is due of the kinds of one channel, oldest first, past the rows of channels that are away.
    Index("notifications", "idx_notifications_claim", (("status", 1), ("kind", 1), ("due_at", 1))),
    Index(
        "billing_transactions",
        "idx_billing_transactions_transaction_unique",
        (("transaction_id", 1),),
        _unique_where_text("transaction_id"),
    ),
    Index("job_runs", "idx_job_runs_job_started", (("job", 1), ("started_at", -1))),
    # The runs of the same job, interval and arguments; and those that a new owner of a lock shuts out.
    Index("job_runs", "idx_job_runs_key_number", (("key", 1), ("number", -1))),
    Index("job_runs", "idx_job_runs_lock_status", (("lock", 1), ("status", 1))),
    Index("audit", "idx_audit_at", (("at", -1),)),
    # Rows that nobody has ended yet: few, however long the audit is.
    Index("audit", "idx_audit_begun", (("run", 1),), {"partialFilterExpression": {"status": "begun"}}),
    # One document for each thing that is paused or limited, in each environment. The platform's own keys are its own.
    Index(
        "system_settings",
        "idx_system_settings_worker_control_unique",
        (("key", 1), ("environment", 1)),
        {"unique": True, "partialFilterExpression": OURS},
    ),
    # Every transaction of counting asks for all courses of the instructors whose learners moved.
    Index(
        "projection_state",
        "idx_projection_state_instructor",
        (("instructor_id", 1),),
        {"partialFilterExpression": {"instructor_id": {"$type": "objectId"}}},
    ),
    # Every fold asks for the decisions about its streams.
    Index("skipped_versions", "idx_skipped_versions_stream", (("stream_id", 1), ("projection", 1))),
)


def indexes_of(catalogue: Catalogue, retention: RetentionSettings) -> tuple[Index, ...]:
    """Every index: the spec's, the worker's own, and those of what the projections write."""
    return (
        *_SPEC,
        *_OWN,
        *_expiring(catalogue, retention),
        *(index for target in catalogue.targets for index in target.indexes),
    )


def _expiring(catalogue: Catalogue, retention: RetentionSettings) -> Iterator[Index]:
    """By which the server forgets what is history; nothing else expires, but what says so itself (`expires_at`)."""
    # What is completed is history after some days; what is not stays until it is, and so does what is not ours.
    yield _history("ours", {"$in": list(EVENT_TYPES)}, retention.completed_items_s)
    # Items of further projections, too; the filter of the index that stands cannot be changed.
    for event_type in further_types(catalogue):
        yield _history(event_type, event_type, retention.completed_items_s)
    # A run that is under way has no end, and stays.
    ended = {"expireAfterSeconds": retention.job_runs_s}
    yield Index("job_runs", "idx_job_runs_finished_ttl", (("finished_at", 1),), ended)
    # A worker that was killed tells of it for some time.
    yield Index("workers", "idx_workers_seen_ttl", (("seen_at", 1),), {"expireAfterSeconds": FORGOTTEN_S})
    kept = {"expireAfterSeconds": retention.before_images_s}
    yield Index("before_images", "idx_before_images_promoted_ttl", (("promoted_at", 1),), kept)


INDEXES = indexes_of(CATALOGUE, RetentionSettings())


def described(index: Mapping[str, Any]) -> dict[str, Any]:
    """What an index does, in one form for what we ask for and what `listIndexes` says: comparable by `==`.

    Left out: the name, version numbers, defaults the server adds, and the internal key of a text index (its
    fields are the keys of `weights`).
    """
    keys = [(name, direction) for name, direction in index["key"].items() if name not in ("_fts", "_ftsx")]
    weights = index.get("weights")
    if weights:
        keys = [key for key in keys if key[1] != "text"]
    options = {
        name: index[name]
        for name in ("unique", "sparse", "expireAfterSeconds", "partialFilterExpression", "collation")
        if index.get(name) is not None and index[name] is not False
    }
    if weights:
        options["weights"] = dict(weights)
    return {"key": [[name, _direction(value)] for name, value in keys], **options}


def _direction(value: Any) -> Any:
    """1 and 1.0 are the same direction; kinds (`text`, `2dsphere`) stay words."""
    return value if isinstance(value, str) else int(value)
