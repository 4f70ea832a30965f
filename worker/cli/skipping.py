"""`queue skip-event` and its like: an event that blocks its learner, left out by the decision of somebody."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli.auditing import audited
from worker.cli.ending import run_to_end, say, say_error
from worker.cli.listing import plain
from worker.cli.options import DryRun, JsonFlag
from worker.cli.tables import print_json, print_table
from worker.retry.skipping import Asked, CannotSkip, Decided, skip_event, skipped_events, unskip_event
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.storage.models import SkippedVersion
from worker.timing import SystemClock

_LONGEST_REASON = 500
_NOTHING_DONE = "nothing was changed, or all of it: the same command again tells"


def _reason(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_REASON:
        raise typer.BadParameter(f"say in 1 to {_LONGEST_REASON} letters why, for whoever asks later")
    return text.strip()


Stream = Annotated[
    str, typer.Argument(metavar="STREAM", help="course_<id>_user_<id>, or the id of its queue item.")
]
Version = Annotated[int, typer.Option(min=1, help="The version of the event, as `queue list` shows it.")]
Reason = Annotated[str, typer.Option(callback=_reason, help="Why; it is kept.")]
Projection = Annotated[str | None, typer.Option(help="Whose fold it is, where several fold the stream.")]
Act = Callable[[Database, Settings, Asked], Awaitable[dict[str, Any]]]


@run_to_end(_NOTHING_DONE)
async def skip(
    stream: Stream,
    version: Version,
    reason: Reason,
    projection: Projection = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Leave out the event at which a stream stands, so that its learner goes on with the next one.

    The event stays in the store. Document, statistics and notifications are as if it had never come, in
    live work, rebuild and verify alike, until `unskip-event`. A running worker with the role `retry` goes on within
    a second.
    """

    async def act(database: Database, settings: Settings, asked: Asked) -> dict[str, Any]:
        decided = await skip_event(
            database, asked, settings.retry.code_version, SystemClock(), dry_run=dry_run
        )
        if not as_json:
            say(_told(decided, dry_run=dry_run))
        return {"skipped": not decided.before, **plain(decided.decision.model_dump(by_alias=True))}

    asked = Asked(stream, version, "", reason, projection)
    return await _act("queue skip-event", asked, act, dry_run=dry_run, as_json=as_json)


@run_to_end(_NOTHING_DONE)
async def unskip(
    stream: Stream,
    version: Version,
    reason: Reason,
    projection: Projection = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Take a decision to skip an event back: its stream is folded again with it, from the first event.

    Deploy the mended fold before: where the fold still fails, the document stays as it is, and the queue says so.
    """

    async def act(database: Database, settings: Settings, asked: Asked) -> dict[str, Any]:
        decision = await unskip_event(
            database, asked, settings.retry.code_version, SystemClock(), dry_run=dry_run
        )
        if not as_json:
            done = "would not be" if dry_run else "is not"
            say(f"version {decision.version} of {decision.stream_id} {done} skipped any more")
        return {"unskipped": True, **plain(decision.model_dump(by_alias=True))}

    asked = Asked(stream, version, "", reason, projection)
    return await _act("queue unskip-event", asked, act, dry_run=dry_run, as_json=as_json)


@run_to_end()
async def show_skipped(
    stream: Annotated[str | None, typer.Option(help="Only this stream: course_<id>_user_<id>.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that were taken back, too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the events that are skipped: of which stream, who decided it, when and why."""
    async with opened_in_use(load_settings()) as database:
        decisions = await skipped_events(database, stream, taken_back=everything)
    if as_json:
        print_json([plain(each.model_dump(by_alias=True)) for each in decisions])
        return
    columns = (
        "stream",
        "version",
        "projection",
        "event",
        "event type",
        "decided",
        "by",
        "taken back",
        "message",
    )
    print_table([_row(each) for each in decisions], columns, empty="No event is skipped.")


async def _act(command: str, asked: Asked, act: Act, *, dry_run: bool, as_json: bool) -> ExitCode:
    """Do it, audited unless nothing is changed; what makes no sense as things stand is told."""
    settings = load_settings()
    asked = replace(asked, who=settings.jobs.who)
    arguments = {name: getattr(asked, name) for name in ("stream", "version", "reason", "projection")}
    async with opened_in_use(settings) as database:
        try:
            async with audited(database, settings, command, arguments, dry_run=dry_run) as outcome:
                outcome |= await act(database, settings, asked)
        except CannotSkip as error:
            say_error(str(error))
            return ExitCode.USAGE
    if as_json:
        print_json({**outcome, "dry_run": dry_run})
    return ExitCode.OK


def _told(decided: Decided, *, dry_run: bool) -> str:
    decision = decided.decision
    place = f"version {decision.version} of {decision.stream_id}"
    if decided.before:
        return (
            f"{place} was skipped already, by {decision.who} at {_moment(decision.decided_at)}: "
            f"{decision.reason}"
        )
    done = "would be skipped" if dry_run else "is skipped"
    then = "" if dry_run else "; the stream is due now, and `queue list` shows it until it has gone on"
    return f"{place} ({decision.event_type} {decision.event_id}) {done} for {decision.projection}{then}"


def _row(decision: SkippedVersion) -> tuple[str, ...]:
    return (
        decision.stream_id,
        str(decision.version),
        decision.projection,
        str(decision.event_id),
        decision.event_type or "",
        _moment(decision.decided_at),
        decision.who,
        _moment(decision.taken_back_at),
        decision.reason,
    )


def _moment(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
