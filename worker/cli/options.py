"""Options that several commands share, and what people write in them."""

import inspect
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from worker.kafka.lines import STANDARD_INPUT
from worker.retry.selection import Selection
from worker.storage.reading import LAST_DATE

Format = Literal["native", "xapi"]
Commands = partial(typer.Typer, no_args_is_help=True, rich_markup_mode=None)
"""Commands under one name, which lists them when it is called alone."""
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Grouped = Annotated[bool, typer.Option("--group", help="One line per kind of failure.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
All = Annotated[bool, typer.Option("--all", help="Needed to act on everything, without any filter.")]


def input_file(path: Path | None) -> Path | None:
    """A file, a pipe, or `-` for standard input. Raises typer.BadParameter for anything else."""
    if path is None or path == STANDARD_INPUT:
        return path
    if not path.exists():
        raise typer.BadParameter(f"{path} does not exist")
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder")
    return path


def output_file(path: Path | None) -> Path | None:
    """A file that can be written when there is something to write. Raises typer.BadParameter at once otherwise."""
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}")
    if path is not None and not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written")
    return path


def object_id(text: str) -> str:
    """An id of the platform, in small letters. Raises typer.BadParameter for anything else."""
    if not re.fullmatch(r"[0-9a-fA-F]{24}", text):
        raise typer.BadParameter(f"'{text}' is no id: it has 24 hexadecimal digits")
    return text.lower()


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str, now: datetime, option: str = "--since") -> datetime:
    """`90m` ago, or a date and time of ISO 8601, UTC unless it says otherwise. Raises typer.BadParameter."""
    ago = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return _utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"'{text}' is no time: write 90m, 12h, 7d or 2026-03-01T12:00", param_hint=option
        ) from None


def parse_duration(text: str, now: datetime, option: str) -> float:
    """`90m`, `12h`, `7d` in seconds. Raises typer.BadParameter for anything else, none at all, and a far end."""
    written = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if written is None or not int(written[1]):
        raise typer.BadParameter(
            f"'{text}' is no length of time: write 90s, 30m, 12h or 7d", param_hint=option
        )
    length = timedelta(**{_UNITS[written[2]]: int(written[1])})
    if length > LAST_DATE - now:
        raise _too_far(text, option)
    return length.total_seconds()


def parse_end(text: str, now: datetime, option: str) -> datetime:
    """A date and time of ISO 8601 that is still to come, UTC unless it says otherwise. Raises typer.BadParameter.

    So does one that is further away than what is stored can be read.
    """
    try:
        end = _utc(datetime.fromisoformat(text.strip()))
    except OverflowError:
        raise _too_far(text, option) from None
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is no time: write 2026-03-01T12:00, or use --for 30m", param_hint=option
        ) from None
    if end <= now:
        raise typer.BadParameter(f"{end:%Y-%m-%d %H:%M} UTC has passed", param_hint=option)
    if end > LAST_DATE:
        raise _too_far(text, option)
    return end


def _utc(read: datetime) -> datetime:
    """The same moment in UTC, as which a time without a zone is taken. Raises OverflowError at the ends of time."""
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _too_far(text: str, option: str) -> typer.BadParameter:
    return typer.BadParameter(
        f"'{text}' is too far away: {LAST_DATE:%Y-%m-%d} is the last end that can be read; leave {option} out to "
        "have no end",
        param_hint=option,
    )


def selection(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only what was made since then: 90m, 12h, 7d, or a date and time (UTC)."),
    ] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream: course_<id>_user_<id>.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Only this kind of failure (see list --group).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")] = None,
) -> Selection:
    """The filters as they were given."""
    return Selection(
        ids=tuple(ids or ()),
        reason=reason,
        since=parse_time(since, datetime.now(UTC)) if since else None,
        stream=stream,
        fingerprint=fingerprint,
        limit=limit,
    )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the arguments of `selection`, of which it is given what they select as its first."""
    filters = inspect.signature(selection).parameters
    _, *others = inspect.signature(command).parameters.values()

    @wraps(command)
    def with_filters(**given: Any) -> None:
        chosen = selection(**{name: given.pop(name) for name in filters})
        command(chosen, **given)

    named: Any = with_filters  # what typer reads
    named.__signature__ = inspect.Signature([*filters.values(), *others])
    return with_filters


def require_intent(chosen: Selection, *, everything: bool) -> None:
    """Refuse to act on everything by accident."""
    if chosen.everything and not everything:
        raise typer.BadParameter("name ids or a filter, or say --all")
