"""Options that say which streams, or which events, a job is about: the same for every command that takes them."""

import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any

import typer

from worker.cli.foreground import asked
from worker.cli.options import parse_time
from worker.storage.stream_selection import StreamSelection

_TIME = "90m, 12h, 7d ago, or a date and time (UTC)"
# What the options say that leave out streams, or single events of them.
_OF_STREAMS: Mapping[str, str] = {
    "event_type": "Only streams with an event of this type, with all of their events; may be repeated.",
    "since": f"Only streams with an event recorded since then: {_TIME}.",
    "until": "Only streams with an event recorded before then; see --since.",
}
_OF_EVENTS: Mapping[str, str] = {
    "event_type": "Only events of this type; may be repeated.",
    "since": f"Only events recorded since then: {_TIME}.",
    "until": "Only events recorded before then; see --since.",
}


def selected(
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream, course_<id>_user_<id>; may be repeated.")
    ] = None,
    learner: Annotated[str | None, typer.Option(help="Only streams of this learner, by id.")] = None,
    course: Annotated[str | None, typer.Option(help="Only streams of this course, by id.")] = None,
    event_type: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
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
    """The command with the options of `selected`, of which it is given what they select as its first argument.

    It is about whole streams.
    """
    return _with_options(command, _OF_STREAMS)


def selecting_events(command: Callable[..., None]) -> Callable[..., None]:
    """As `selecting`; by type and time it is about single events of the selected streams."""
    return _with_options(command, _OF_EVENTS)


def _with_options(command: Callable[..., None], words: Mapping[str, str]) -> Callable[..., None]:
    names = {"event_type": ("--type",)}
    filters = {
        name: parameter.replace(
            annotation=Annotated[parameter.annotation, typer.Option(*names.get(name, ()), help=words[name])]
        )
        if name in words
        else parameter
        for name, parameter in inspect.signature(selected).parameters.items()
    }
    _, *others = inspect.signature(command).parameters.values()

    @wraps(command)
    def with_selection(**given: Any) -> None:
        chosen = selected(**{name: given.pop(name) for name in filters})
        command(chosen, **given)

    named: Any = with_selection  # what typer reads
    named.__signature__ = inspect.Signature([*filters.values(), *others])
    return with_selection
