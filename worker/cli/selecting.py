"""Options that say which streams a job is about: the same for every command that takes them."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any

import typer

from worker.cli.foreground import asked
from worker.cli.options import parse_time
from worker.storage.stream_selection import StreamSelection

_TIME = "90m, 12h, 7d ago, or a date and time (UTC)"


def selected(
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream, course_<id>_user_<id>; may be repeated.")
    ] = None,
    learner: Annotated[str | None, typer.Option(help="Only streams of this learner, by id.")] = None,
    course: Annotated[str | None, typer.Option(help="Only streams of this course, by id.")] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only streams with an event of this type; may be repeated."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Only streams with an event recorded since then: {_TIME}.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only streams with an event recorded before then; see --since.")
    ] = None,
) -> StreamSelection:
    """The streams that meet all of what is given; raises typer.BadParameter in words for people."""
    now = datetime.now(UTC)
    return asked(
        StreamSelection,
        streams=tuple(stream or ()),
        learner=learner,
        course=course,
        event_types=tuple(event_type or ()),
        since=parse_time(since, now) if since else None,
        until=parse_time(until, now) if until else None,
    )


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `selected`, of which it is given what they select as its first argument."""
    filters = inspect.signature(selected).parameters
    _, *others = inspect.signature(command).parameters.values()

    @wraps(command)
    def with_selection(**given: Any) -> None:
        chosen = selected(**{name: given.pop(name) for name in filters})
        command(chosen, **given)

    named: Any = with_selection  # what typer reads
    named.__signature__ = inspect.Signature([*filters.values(), *others])
    return with_selection
