"""`sevenp-worker topic`: whether the worker's topics are as they are to be, and what makes them so."""

from dataclasses import asdict

from worker.app.exits import ExitCode
from worker.app.topics import TopicsLook, apply_changes, changes_for, look_at_topics
from worker.cli import help as text
from worker.cli.ending import run_to_end, say
from worker.cli.options import Commands, DryRun, JsonFlag
from worker.cli.tables import print_json, print_table
from worker.settings import load_settings

topic_app = Commands(help="The topics that the worker reads.")

_SETTINGS = text.settings("topic", "topic_", *text.KAFKA, "allow_plaintext")
_COLUMNS = ("topic", "what", "expected", "found", "mended by")


@topic_app.command("check", epilog=text.page(_SETTINGS, text.exit_codes()))
@run_to_end()
async def topic_check(as_json: JsonFlag = False) -> ExitCode:
    """Show what differs of partitions, copies, retention and cleanup policy; ends with 1 when something does.

    More than the settings say is no difference. What the broker does not tell is said on stderr. Changes nothing.
    """
    look = await look_at_topics(load_settings())
    _say_undescribed(look)
    if as_json:
        print_json({"differences": [asdict(each) for each in look.differences], "unknown": look.undescribed})
    else:
        print_table(_rows(look), _COLUMNS, empty="No differences.")
    return ExitCode.DIFFERENCE if look.differences else ExitCode.OK


@topic_app.command("apply", epilog=text.page(_SETTINGS, text.exit_codes()))
@run_to_end("what is made stays; run it again, it makes what is missing")
async def topic_apply(dry_run: DryRun = False, as_json: JsonFlag = False) -> ExitCode:
    """Make topics that are missing, add partitions, lengthen retention. Takes nothing away; may be repeated.

    New partitions get the next records of some learners while older ones wait in another: add them while the lag
    is small. What only people can mend is shown, and the command ends with 1 then.
    """
    settings = load_settings()
    look = await look_at_topics(settings)
    changes = changes_for(settings, look)
    if not dry_run:
        await apply_changes(settings, changes)
    left = [each for each in look.differences if not each.mended_by_apply]
    _say_undescribed(look)
    if as_json:
        done = [{"topic": each.topic, "changes": each.words} for each in changes]
        print_json({"dry_run": dry_run, "done": done, "left": [asdict(each) for each in left]})
    else:
        rows = [(each.topic, words) for each in changes for words in each.words]
        print_table(rows, ("topic", "would be" if dry_run else "done"), empty="" if left else _NOTHING)
        print_table(_rows(TopicsLook(left, {})), _COLUMNS)
    return ExitCode.DIFFERENCE if left else ExitCode.OK


_NOTHING = "Nothing to do: all is as it should be."


def _rows(look: TopicsLook) -> list[tuple[str, ...]]:
    return [(each.topic, each.what, each.expected, each.found, each.fix) for each in look.differences]


def _say_undescribed(look: TopicsLook) -> None:
    for topic, why in look.undescribed.items():
        say(
            f"the broker does not describe the settings of {topic} ({why}): retention and cleanup are not known"
        )
