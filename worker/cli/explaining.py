"""`sevenp-worker explain`: which events changed a field of a stream's documents, and whether these say the same."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import run_to_end, say_error
from worker.cli.listing import LONGEST_TABLE, cell, plain
from worker.cli.options import JsonFlag, object_id
from worker.cli.tables import print_json, print_table
from worker.contract.identity import stream_id, stream_kind
from worker.queries.explain import Change, Explanation
from worker.queries.explain import explain as explained
from worker.queries.explained import Difference
from worker.settings import load_settings
from worker.words import counted

EPILOG = text.page(
    text.examples(
        "sevenp-worker explain USER COURSE progress.percentage",
        "sevenp-worker explain USER COURSE lesson_progress.<lesson id>",
        "sevenp-worker explain USER COURSE counted.completed   what the counters take of it",
        "sevenp-worker explain course_<id> publication.status   of a course's own document, or of any other stream's",
    ),
    text.settings(*text.MONGODB),
)
_WITHHELD = "(personal: events show --payload)"
_GONE = "(gone)"


@run_to_end()
async def explain(
    user: Annotated[str, typer.Argument(help="The learner's id; or the name of any stream, as course_<id>.")],
    course: Annotated[str | None, typer.Argument(help="The course's id, of a learner.")] = None,
    field: Annotated[
        str | None,
        typer.Argument(
            help="A dotted path: progress.percentage, lesson_progress.<id>.status, counted. All, if left out."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Show which events changed a field of a stream's documents, with its value after each, and by which rule.

    The stored events are folded one by one with the worker's own fold: what is shown is what they say. Voids, skipped
    versions, and a stored document that is not what its events say are named below. Only reads.
    """
    stream, asked, what = _about(user, course, field)
    async with opened_in_use(load_settings()) as database:
        found = await explained(database, stream, asked)
    if not (found.events or found.remarks or any(each.exists for each in found.documents)):
        say_error(f"nothing is stored of {what}")
        return ExitCode.USAGE
    if as_json:
        print_json(explanation_as_json(found))
    else:
        _print(found)
    return ExitCode.OK


def _about(first: str, second: str | None, third: str | None) -> tuple[str, str | None, str]:
    """The stream, the field, and both in words: of a learner in a course, or of a stream by its name."""
    if stream_kind(first) is not None:
        if third is not None:
            raise typer.BadParameter(
                "is one too many: after the name of a stream comes a field", param_hint="FIELD"
            )
        return first, second, f"the stream {first}"
    user = object_id(first)
    if second is None:
        raise typer.BadParameter(
            "is missing: a learner's documents are those in a course", param_hint="COURSE"
        )
    course = object_id(second)
    return stream_id(course, user), third, f"learner {user} in course {course}"


def explanation_as_json(found: Explanation) -> Any:
    """Everything of it, as scripts read it."""
    return plain({**asdict(found), "changes": [asdict(each) for each in found.changes]})


def _print(found: Explanation) -> None:
    console, several = Console(highlight=False), len(found.documents) > 1
    changes = list(islice(found.changes, max(0, len(found.changes) - LONGEST_TABLE), None))
    if earlier := found.earlier_changes + len(found.changes) - len(changes):
        console.print(f"{counted(earlier, 'earlier change')} left out: name a field, or use --json.")
    print_table(
        [_row(each, several=several) for each in changes],
        ("version", "recorded", "event", "type", "field", "value", "rule"),
        empty=f"No event changed {found.asked or 'anything'}.",
    )
    print_table(_rules(changes), ("rule", "what"))
    remarks = [(str(each.version), each.kind.replace("_", " "), each.detail) for each in found.remarks]
    print_table(remarks, ("version", "remark", "detail"))
    print_table(
        [(each.collection, str(each.id), each.detail) for each in found.documents],
        ("collection", "stored document", "detail"),
    )
    for each in found.documents:
        print_table(
            [(each.collection, one.field, *_differing(one)) for one in each.differing],
            ("collection", "field", "expected", "found"),
        )
        if (more := each.differences - len(each.differing)) > 0:
            console.print(f"... and {counted(more, 'more difference')} in {each.collection}.")


def _row(change: Change, *, several: bool) -> tuple[str, ...]:
    value = _WITHHELD if change.personal else _GONE if change.gone else cell(change.value)
    name = f"{change.collection}.{change.field}" if several else change.field
    event = (str(change.version), change.recorded_at.isoformat(), str(change.event_id), change.event_type)
    return (*event, name, value, change.rule.name)


def _differing(one: Difference) -> tuple[str, str]:
    return (_WITHHELD, _WITHHELD) if one.personal else (cell(one.folded), cell(one.stored))


def _rules(changes: Sequence[Change]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((each.rule.name, each.rule.says) for each in changes))
