"""A round's events are read by ranges of versions, streams of the same range together: each as far as it is asked."""

from tests.support.progress import histories
from worker.storage.database import Database
from worker.watch.folds.plan import Task
from worker.watch.folds.reading import read_runs


async def versions(database: Database, *tasks: Task) -> dict[str, list[int]]:
    """What is read of each stream, round by round; one that is cut is read once more."""
    found: dict[str, list[int]] = {}
    left = [*tasks]
    while left:
        whole = [run for run in (await read_runs(database, left)).runs if not run.cut]
        assert whole
        found |= {run.task.stream: [event["version"] for event in run.events] for run in whole}
        left = [task for task in left if task.stream not in found]
    return found


async def test_streams_are_read_as_far_as_each_is_asked(database: Database) -> None:
    stored = histories(5, 4)
    await database.course_events.insert_many([event for events in stored.values() for event in events])
    first, second, third, fourth, fifth = stored
    asked = {first: (0, 2), second: (0, 2), third: (1, 3), fourth: (3, 4), fifth: (0, 4)}
    tasks = [Task(stream, None, after, upto) for stream, (after, upto) in asked.items()]
    assert await versions(database, *tasks) == {
        stream: list(range(after + 1, upto + 1)) for stream, (after, upto) in asked.items()
    }


async def test_streams_of_more_than_fits_are_read_some_at_a_time(database: Database) -> None:
    stored = histories(12, 2)
    for events in stored.values():
        for event in events:
            event["event_data"]["details"] = {"certificate_url": "x" * 400_000}
    await database.course_events.insert_many([event for events in stored.values() for event in events])
    tasks = [Task(stream, None, number % 2, 2) for number, stream in enumerate(stored)]
    first = await read_runs(database, tasks)
    assert first.unread
    read = [run for run in first.runs if not run.cut]
    assert sorted(run.task.stream for run in read) == sorted(stored)[: len(read)]
    assert await versions(database, *tasks) == {
        stream: [1, 2][number % 2 :] for number, stream in enumerate(stored)
    }
