"""The worker as `ours`, but its events carry nothing of courses and learners: none of these is read for them."""

import runpy
from collections.abc import Iterable

from worker.ingest.enrich.stamps import NO_STAMPS, Enricher, Stamps
from worker.ingest.record import Candidate


def stamp_nothing() -> None:
    """Have every batch stamped with nothing, at no cost."""

    async def stamps(_self: Enricher, _candidates: Iterable[Candidate]) -> Stamps:
        return NO_STAMPS

    Enricher.stamps = stamps  # type: ignore[method-assign, assignment]  # as ingest was before there were stamps


if __name__ == "__main__":
    stamp_nothing()
    runpy.run_module("bench.contestants.ours", run_name="__main__")
