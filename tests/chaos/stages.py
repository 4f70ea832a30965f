"""The stages of the worker and the writes by which each is known: a trace that lacks one of them proves nothing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Known(Protocol):
    """A command and what it does, as a trace and a plan have them."""

    @property
    def command(self) -> str: ...

    @property
    def target(self) -> str: ...


# By stage, the commands and the shape (see `shape`) of its write.
STAGES: Mapping[str, tuple[str, str]] = {
    "assignment: burn": ("update", r"leases/partition/inc\.burns"),
    "assignment: lease": ("update", r"leases/partition/(push\.burned\+)?set\.(durable_session\.)?session.*"),
    "assignment: begin": ("update", r"leases/partition/(addToSet\.missing\+)?set\.durable\.durable_session"),
    "ingest: lists of lessons": ("update", r"lesson_lists/.*"),
    "ingest: events": ("insert", r"course_events/event"),
    "ingest: void": ("insert", r"course_events/void"),
    "ingest: payments": ("insert", r"course_events/payment"),
    "ingest: rows": ("insert", r"user_interactions"),
    "ingest: dead letters": ("insert|update", r"dead_letters.*"),
    "ingest: durable offsets": ("update", r"leases/partition/set\.durable"),
    "ingest: offsets": ("commit", r"offsets"),
    "progress: documents": ("insert|update", r"user_progress(/.*)?"),
    "progress: billing": ("insert|update", r"billing_transactions(/.*)?"),
    "progress: users": ("insert|update", r"users(/set\.fold)?"),
    "progress: courses": ("insert|update", r"courses(/set\.fold)?"),
    "progress: versions": ("insert|update", r"version_history(/.*)?"),
    "progress: parts of versions": ("insert|update", r"course_versions(/.*)?"),
    "progress: lesson content": ("insert|update", r"lesson_content(/.*)?"),
    "progress: blocks": ("insert|update", r"content_blocks(/.*)?"),
    "progress: relationships": ("insert|update", r"content_relationships(/set\.fold)?"),
    "progress: workflows": ("insert|update", r"content_workflow(/.*)?"),
    "progress: promotions": ("insert|update", r"promotions(/.*)?"),
    "progress: quarantine": ("update", r"analytics_queue/.*upsert"),
    "progress: token": ("update", r"projection_state/progress/currentDate\.saved_at\+set\.token.*"),
    "counts: projections": ("insert|update", r"user_progress_projections(/.*)?"),
    "counts: statistics": ("update", r"(courses|users)/.*stats.*"),
    "counts: social proof": ("update", r"courses/set\.proof"),
    "counts: slugs": ("update|delete", r"course_claims_contenders/.*"),
    "counts: addresses and names": ("update|delete", r"user_claims_contenders/.*"),
    "counts: cycles": ("update|delete", r"content_cycles_contenders/.*"),
    "counts: decisions": ("update", r"(courses|users|content_relationships)/(un)?set\.decision"),
    "counts: outbox": ("update", r"notifications/setOnInsert.*"),
    "counts: instructors": ("insert|update", r"instructor_statistics(/.*)?"),
    "counts: revenue": ("insert|update", r"(counted_payments|course_revenue)(/.*)?"),
    "counts: commit": ("commitTransaction", r"1"),
    "counts: token": ("update", r"projection_state/counts/currentDate\.saved_at\+set\.token.*"),
    "notify: claim": ("update|findAndModify", r"notifications/set\.(?!.*sent_at).*lease_until.*"),
    "notify: send": ("send", r"webhook"),
    "notify: mark": ("update", r"notifications/set\..*sent_at.*"),
    "retry: claim": ("update", r"analytics_queue/set\..*last_retry.*"),
    "retry: complete": ("update", r"analytics_queue/set\..*processed_at.*"),
}
OTHER = "leases, positions, sessions"
DRAWN = frozenset(
    {
        *(f"progress: {each}" for each in ("users", "courses", "versions", "parts of versions")),
        *(f"progress: {each}" for each in ("lesson content", "blocks", "relationships", "workflows")),
        "progress: promotions",
        "ingest: payments",
        *(f"counts: {each}" for each in ("slugs", "addresses and names", "cycles", "decisions")),
        "counts: social proof",
    }
)
"""Stages that are much alike: of each a short run draws one point by its seed."""
_FOLLOWERS = re.compile(r"(leases|projection_state)/(member/)?(counts|models|progress|retry)(/.*)?")


def alike(stage: str, command: str, target: str) -> str | None:
    """What a short run has one of: the stage that is drawn, or what all followers do to leases and positions."""
    if stage in DRAWN:
        return stage
    named = _FOLLOWERS.fullmatch(target) if stage == OTHER else None
    return None if named is None else f"{command} {named[1]}/{named[2] or ''}{named[4] or ''}"


def stage_of(known: Known) -> str:
    """The stage a write belongs to, or `OTHER` for what keeps a role going."""
    for stage, (commands, shape) in STAGES.items():
        if known.command in commands.split("|") and re.fullmatch(shape, known.target):
            return stage
    return OTHER


def missing(trace: Iterable[Known]) -> Sequence[str]:
    """Stages without a write in the trace."""
    present = {stage_of(write) for write in trace}
    return [stage for stage in STAGES if stage not in present]
