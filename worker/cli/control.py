"""`sevenp-worker control`: what is paused, limited and logged while the workers run, by somebody and for a reason."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from worker.app.control import known_of
from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.auditing import audited
from worker.cli.ending import run_to_end, say, say_error
from worker.cli.listing import plain
from worker.cli.options import Commands, JsonFlag, parse_duration, parse_end
from worker.cli.tables import print_json, print_table
from worker.operate.control import commands
from worker.operate.control.controls import Controls, Said, moment
from worker.operate.control.limits import KNOBS, knob_of
from worker.operate.control.targets import Target, target_from
from worker.settings import Settings, load_settings
from worker.storage.database import Database

_LONGEST_REASON = 500
_CHANGED = "nothing was changed, or all of it: `sevenp-worker control show` tells"
_SETTINGS = text.settings(*text.MONGODB, "environment", "operator")
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


@control_app.command("show", epilog=_SETTINGS)
@run_to_end()
async def show(as_json: JsonFlag = False) -> None:
    """Show what is paused and set in the environment of SEVENP_ENVIRONMENT, by whom, until when and why.

    Documents of system_settings that are ours and make no sense are named: the workers ignore them.
    """
    settings = load_settings()
    async with opened_in_use(settings) as database:
        environment = settings.control.environment
        found = await commands.in_force(database, environment, known_of(settings))
    if as_json:
        print_json(_as_json(environment, found))
        return
    rows = [(f"{each.target} is paused", *_cells(each.said)) for each in found.pauses]
    rows += [(f"{each.name} = {_shown(each.value)}", *_cells(each.said)) for each in found.settings]
    columns = ("in force", "since", "until", "by", "message")
    print_table(rows, columns, empty=f"Nothing is paused or set in {environment}.")
    for each in found.ignored:
        say_error(f"{each.key} is ignored: {each.reason}")


@control_app.command("pause", epilog=_SETTINGS)
@run_to_end(_CHANGED)
async def pause(
    what: What, reason: Reason, for_: For = None, until: Until = None, as_json: JsonFlag = False
) -> ExitCode:
    """Pause a role or a part of its work, in every worker of the environment, until it is resumed.

    What has begun is finished; nothing is lost and nothing is done twice. What is paused already gets the new reason
    and end.
    """
    settings = load_settings()
    end = _end(for_, until)
    asked = commands.Asked(settings.control.environment, settings.jobs.who, reason, end)
    arguments = {"reason": reason, **_ending(for_, until)}

    async def change(database: Database, target: Target) -> tuple[dict[str, Any], str]:
        new = await commands.pause(database, target, asked)
        how = "is paused" if new else "was paused already, and has the new reason and end"
        return {"paused": True, "changed": new}, f"{target} {how} in {asked.environment}{_until(end)}"

    await _with_target("control pause", settings, what, arguments, change, as_json=as_json)
    return ExitCode.OK


@control_app.command("resume", epilog=_SETTINGS)
@run_to_end(_CHANGED)
async def resume(what: What, reason: Reason, as_json: JsonFlag = False) -> ExitCode:
    """End a pause: what waits is done. Ends with 1 where nothing of this name was paused."""
    settings = load_settings()
    environment = settings.control.environment

    async def change(database: Database, target: Target) -> tuple[dict[str, Any], str]:
        was_paused = await commands.resume(database, target, environment)
        how = "is resumed" if was_paused else "was not paused"
        return {"paused": False, "changed": was_paused}, f"{target} {how} in {environment}"

    outcome = await _with_target(
        "control resume", settings, what, {"reason": reason}, change, as_json=as_json
    )
    return ExitCode.OK if outcome["changed"] else ExitCode.DIFFERENCE


@control_app.command("set", epilog=_SETTINGS)
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
        outcome["changed"] = await commands.set_value(database, knob, chosen, asked)
    _tell(
        f"{name} is {_shown(chosen)} in {asked.environment}{_until(end)}",
        {"name": name, "value": chosen, **outcome},
        as_json=as_json,
    )
    return ExitCode.OK


@control_app.command("unset", epilog=_SETTINGS)
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
        outcome["changed"] = await commands.unset(database, knob, environment)
    how = "is not set any more" if outcome["changed"] else "was not set"
    _tell(f"{name} {how} in {environment}", {"name": name, **outcome}, as_json=as_json)
    return ExitCode.OK if outcome["changed"] else ExitCode.DIFFERENCE


async def _with_target(
    command: str,
    settings: Settings,
    words: list[str],
    arguments: Mapping[str, Any],
    change: Callable[[Database, Target], Awaitable[tuple[dict[str, Any], str]]],
    *,
    as_json: bool,
) -> Mapping[str, Any]:
    """Do it to what the words name, audited, and say what came of it."""
    try:
        target = target_from(words, known_of(settings))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="WHAT") from None
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
    if for_ is not None:
        return parse_duration(for_, "--for")
    return None if until is None else parse_end(until, datetime.now(UTC), "--until")


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


def _as_json(environment: str, found: Controls) -> dict[str, Any]:
    def told(said: Said) -> dict[str, Any]:
        since, until = (None if each is None else each.isoformat() for each in (said.since, said.until))
        return {"since": since, "until": until, "who": said.who, "reason": said.reason}

    return {
        "environment": environment,
        "paused": [{"what": str(each.target), **told(each.said)} for each in found.pauses],
        "set": [{"name": each.name, "value": each.value, **told(each.said)} for each in found.settings],
        "ignored": [{"key": each.key, "reason": each.reason} for each in found.ignored],
    }
