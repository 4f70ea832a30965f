"""Python's collector of cycles, set for a process that makes many small objects and hardly a cycle."""

import gc

from worker.timing import Clock

# Looking for cycles after every 700 new objects, as Python does by itself, took a fifth of the time of decoding.
_YOUNG = 50_000
# Counting objects is not enough: beside a slow MongoDB there are few, and a cycle may keep a reply of megabytes.
# Ten minutes of it took 960 MiB.
_SEARCH_EVERY_S = 5.0


def tune_collector() -> None:
    """Take what the imports made out of every search, and search seldom. Of the whole process: for its start only."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


async def search_now_and_then(clock: Clock) -> None:
    """Search everything for cycles every few seconds, for ever."""
    while True:
        await clock.sleep(_SEARCH_EVERY_S)
        gc.collect()
