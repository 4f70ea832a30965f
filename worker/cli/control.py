"""`sevenp-worker control`: what is paused, limited and logged while the workers run, by somebody and for a reason."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from worker.app.control import known_of, partitions_of
from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.auditing import audited
from worker.cli.ending import run_to_end, say, say_error
from worker.cli.listing import LONGEST_TABLE, plain
from worker.cli.options import Commands, JsonFlag, parse_duration, parse_end
from worker.cli.output import one_line
from worker.cli.tables import print_json, print_table
from worker.errors import WorkerError
from worker.operate.control import commands
from worker.operate.control.commands import Before
from worker.operate.control.controls import Controls, Said, moment
from worker.operate.control.limits import KNOBS, knob_of
from worker.operate.control.targets import Target, target_from
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.words import counted

_LONGEST_REASON = 500
_CHANGED = "nothing was changed, or all of it: `sevenp-worker control show` tells"
_SETTINGS = text.settings(*text.MONGODB, "environment", "operator")
_SETTINGS_OF_PAUSE = text.settings(*text.MONGODB, "environment", "operator", "topic", *text.KAFKA)
_WHAT = "ingest, progress, counts, notify, retry, partition TOPIC N, projection NAME, kind NAME or stream ID."


def _reason(given: str) -> str:
    if not given.strip() or len(given) > _LONGEST_REASON:
        raise typer.BadParameter(f"say in 1 to {_LONGEST_REASON} letters why, for whoever asks later")
    return given.strip()


What = Annotated[list[str], typer.Argument(metavar="WHAT...", help=_WHAT)]
Name = Annotated[str, typer.Argument(help=", ".join(each.name for each in KNOBS) + ".")]
Reason = Annotated[str, typer.Option(callback=_reason, help="Why; it is kept.")]
For = Annotated[str | None, typer.Option("--for", help="End by itself after so long: 90s, 30m, 12h, 7d.")]
Until = Annotated[str | None, typer.Option(help="End by itself then: a date and time (UTC).")]

control_app = Commands(
    help="What is paused, limited and logged, while the workers run: every worker follows within seconds.",
    epilog=text.examples(
        "sevenp-worker control show",
        "sevenp-worker control pause ingest --for 30m --reason 'index build'",
        "sevenp-worker control pause partition interaction-events 3 --reason '...'",
        "sevenp-worker control pause kind welcome --reason 'wrong text'",
        "sevenp-worker control resume ingest --reason 'index is built'",
        "sevenp-worker control set log_level debug --for 30m --reason '...'",
        "sevenp-worker control set ingest_per_s 500 --reason 'MongoDB is busy'",
        "sevenp-worker control unset ingest_per_s --reason '...'",
    ),
)


@control_app.command(
    "show",
    epilog=text.page(
        text.examples(
            "sevenp-worker control show",
            "SEVENP_ENVIRONMENT=staging sevenp-worker control show",
            "sevenp-worker control show --json | jq '.pauses[].target'",
        ),
        _SETTINGS,
    ),
)
@run_to_end()
async def show(as_json: JsonFlag = False) -> None:
    """Show what is paused and set in the environment of SEVENP_ENVIRONMENT, by whom, until when and why.

    Documents of system_settings that are ours and make no sense are named, the first of very many: the workers ignore
    them. `--json` has all that is paused, in the shape that `status --json` has it in.
    """
    settings = load_settings()
    async with opened_in_use(settings) as database:
        environment = settings.control.environment
        found = await commands.in_force(database, environment, known_of(settings))
    if as_json:
        print_json({"environment": environment, **controls_as_json(found)})
        return
    rows = [(f"{each.target} is paused", *_cells(each.said)) for each in found.pauses]
    rows += [(f"{each.name} = {_shown(each.value)}", *_cells(each.said)) for each in found.settings]
    columns = ("in force", "since", "until", "by", "message")
    print_table(rows, columns, empty=f"Nothing is paused or set in {environment}.", most=LONGEST_TABLE)
    for each in found.ignored:
        say_error(one_line(f"{each.key} is ignored: {each.reason}"))
    if more := found.ignored_in_all - len(found.ignored):
        say_error(f"{counted(more, 'more document')} make no sense, and are ignored")


def controls_as_json(found: Controls) -> Any:
    """What is paused and set, as scripts read it: of each command that shows it the same."""
    return plain(asdict(found))


@control_app.command(
    "pause",
    epilog=text.page(
        text.examples(
            "sevenp-worker control pause ingest --for 30m --reason 'index build'",
            "sevenp-worker control pause partition interaction-events 3 --reason 'ticket 4711'",
            "sevenp-worker control pause projection counts --until 2026-03-01T06:00 --reason '...'",
            "sevenp-worker control pause kind welcome --reason 'wrong text'",
            "sevenp-worker control pause stream course_ID_user_ID --reason 'ticket 4711'",
        ),
        _SETTINGS_OF_PAUSE,
    ),
)
@run_to_end(_CHANGED)
async def pause(
    what: What, reason: Reason, for_: For = None, until: Until = None, as_json: JsonFlag = False
) -> ExitCode:
    """Pause a role or a part of its work, in every worker of the environment, until it is resumed.

    What has begun is finished; nothing is lost and nothing is done twice. What is paused already gets the new reason
    and end, and whose pause it was is said. A partition that its topic does not have is refused; where Kafka does not
    answer, that is said.
    """
    settings = load_settings()
    end = _end(for_, until)
    asked = commands.Asked(settings.control.environment, settings.jobs.who, reason, end)
    arguments = {"reason": reason, **_ending(for_, until)}

    async def change(database: Database, target: Target) -> tuple[dict[str, Any], str]:
        before = await commands.pause(database, target, asked)
        how = "is paused" if before is None else "was paused already, and has the new reason and end"
        told = {"paused": True, "changed": before is None, "before": _as_told(before)}
        return told, f"{target} {how} in {asked.environment}{_until(end)}{_in_words(before)}"

    target = _target(settings, what)
    await _require_partition(settings, target)
    await _with_target("control pause", settings, target, arguments, change, as_json=as_json)
    return ExitCode.OK


@control_app.command(
    "resume",
    epilog=text.page(
        text.examples(
            "sevenp-worker control resume ingest --reason 'index is built'",
            "sevenp-worker control resume partition interaction-events 3 --reason 'gap is looked into'",
            "sevenp-worker control resume stream course_ID_user_ID --reason 'mended'",
        ),
        _SETTINGS,
    ),
)
@run_to_end(_CHANGED)
async def resume(what: What, reason: Reason, as_json: JsonFlag = False) -> ExitCode:
    """End a pause, whoever began it: what waits is done. Ends with 1 where nothing of this name was paused."""
    settings = load_settings()
    environment = settings.control.environment

    async def change(database: Database, target: Target) -> tuple[dict[str, Any], str]:
        before = await commands.resume(database, target, environment)
        how = "was not paused" if before is None else "is resumed"
        told = {"paused": False, "changed": before is not None, "before": _as_told(before)}
        return told, f"{target} {how} in {environment}{_in_words(before)}"

    outcome = await _with_target(
        "control resume", settings, _target(settings, what), {"reason": reason}, change, as_json=as_json
    )
    return ExitCode.OK if outcome["changed"] else ExitCode.DIFFERENCE


@control_app.command(
    "set",
    epilog=text.page(
        text.examples(
            "sevenp-worker control set log_level debug --for 30m --reason 'slow batches'",
            "sevenp-worker control set ingest_per_s 500 --reason 'MongoDB is busy'",
        ),
        _SETTINGS,
    ),
)
@run_to_end(_CHANGED)
async def set_value(
    name: Name,
    value: Annotated[str, typer.Argument(help="A number a second, or a level.")],
    reason: Reason,
    for_: For = None,
    until: Until = None,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Set a limit or the log level, in every worker of the environment, until it is unset."""
    settings = load_settings()
    end = _end(for_, until)
    try:
        knob = knob_of(name)
        chosen = knob.check(value)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}") from None
    asked = commands.Asked(settings.control.environment, settings.jobs.who, reason, end)
    arguments = {"name": name, "value": chosen, "reason": reason, **_ending(for_, until)}
    async with (
        opened_in_use(settings) as database,
        audited(database, settings, "control set", _in(asked.environment, arguments)) as outcome,
    ):
        before = await commands.set_value(database, knob, chosen, asked)
        outcome |= {"changed": before is None, "before": _as_told(before)}
    _tell(
        f"{name} is {_shown(chosen)} in {asked.environment}{_until(end)}{_in_words(before)}",
        {"name": name, "value": chosen, **outcome},
        as_json=as_json,
    )
    return ExitCode.OK


@control_app.command(
    "unset",
    epilog=text.page(
        text.examples("sevenp-worker control unset ingest_per_s --reason 'MongoDB is idle again'"), _SETTINGS
    ),
)
@run_to_end(_CHANGED)
async def unset(name: Name, reason: Reason, as_json: JsonFlag = False) -> ExitCode:
    """Let the setting of each process hold again. Ends with 1 where nothing of this name was set."""
    settings = load_settings()
    environment = settings.control.environment
    try:
        knob = knob_of(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    arguments = _in(environment, {"name": name, "reason": reason})
    async with (
        opened_in_use(settings) as database,
        audited(database, settings, "control unset", arguments) as outcome,
    ):
        before = await commands.unset(database, knob, environment)
        outcome |= {"changed": before is not None, "before": _as_told(before)}
    how = "was not set" if before is None else "is not set any more"
    _tell(f"{name} {how} in {environment}{_in_words(before)}", {"name": name, **outcome}, as_json=as_json)
    return ExitCode.OK if outcome["changed"] else ExitCode.DIFFERENCE


def _target(settings: Settings, words: list[str]) -> Target:
    """What the words name. Raises typer.BadParameter where that is nothing."""
    try:
        return target_from(words, known_of(settings))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="WHAT") from None


async def _require_partition(settings: Settings, target: Target) -> None:
    """Raise typer.BadParameter for a partition that there is not; say so where nobody can be asked."""
    if target.number is None:
        return
    topic, number = target.name, target.number
    try:
        there = await partitions_of(settings, topic)
    except WorkerError as error:
        say(one_line(f"warning: whether {topic} has a partition {number} is not known ({error})"))
        return
    if number >= there:
        has = f"has {counted(there, 'partition')}, from 0 on" if there else "does not exist"
        raise typer.BadParameter(f"there is no partition {number}: {topic} {has}", param_hint="WHAT")


async def _with_target(
    command: str,
    settings: Settings,
    target: Target,
    arguments: Mapping[str, Any],
    change: Callable[[Database, Target], Awaitable[tuple[dict[str, Any], str]]],
    *,
    as_json: bool,
) -> Mapping[str, Any]:
    """Do it to the target, audited, and say what came of it."""
    asked = _in(settings.control.environment, {"what": str(target), **arguments})
    async with opened_in_use(settings) as database, audited(database, settings, command, asked) as outcome:
        done, sentence = await change(database, target)
        outcome |= done
    _tell(sentence, {"what": str(target), **outcome}, as_json=as_json)
    return outcome


def _in(environment: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"environment": environment, **arguments}


def _tell(sentence: str, outcome: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plain(dict(outcome)))
    else:
        say(sentence)


def _end(for_: str | None, until: str | None) -> datetime | float | None:
    if for_ is not None and until is not None:
        raise typer.BadParameter("say --for or --until, not both")
    now = datetime.now(UTC)
    if for_ is not None:
        return parse_duration(for_, now, "--for")
    return None if until is None else parse_end(until, now, "--until")


def _ending(for_: str | None, until: str | None) -> dict[str, str]:
    return {name: given for name, given in (("for", for_), ("until", until)) if given is not None}


def _until(end: datetime | float | None) -> str:
    if end is None:
        return ", until somebody ends it"
    return f", until {moment(end)}" if isinstance(end, datetime) else f", for {end:g} s"


def _cells(said: Said) -> tuple[str, str, str, str]:
    return moment(said.since), moment(said.until), said.who or "", said.reason or ""


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_words(before: Before | None) -> str:
    """Whose word it was that does not hold any more; nothing where there was none."""
    if before is None:
        return ""
    said = before.said
    told = [
        *([] if before.value is None else [_shown(before.value)]),
        *([f"by {said.who}"] if said.who else []),
        *([f"since {moment(said.since)}"] if said.since else []),
        *([f"until {moment(said.until)}"] if said.until else []),
        *([f"because: {said.reason}"] if said.reason else []),
    ]
    return one_line(f" (before: {', '.join(told)})") if told else ""


def _as_told(before: Before | None) -> dict[str, Any] | None:
    """The same for the audit, and for scripts."""
    if before is None:
        return None
    value = {} if before.value is None else {"value": before.value}
    said = asdict(before.said)
    return {**value, **{name: said[name] for name in ("who", "reason", "since", "until")}}
