"""Runs the worker's command line as the next release would be: both folds have another version and another formula.

No hooks in the worker: the folds' own functions are replaced before the worker is imported.
"""

import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from projections import counts, progress
from projections.counts import Counted, vector
from projections.event import StoredEvent

PROJECTION_VERSION = progress.PROJECTION_VERSION + 1
COUNTS_VERSION = counts.COUNTS_VERSION + 1

# What the new fold adds to every longest session: it shows in every document.
_MORE_S = 60.0

# The package's `fold` is the function.
_FOLD = import_module("projections.progress.fold")
_LEARNER = import_module("projections.counts.learner")
_COUNTED = import_module("projections.counts.counted")
_visible_fields = _FOLD.visible_fields


def new_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the new fold shows where the old one shows `fields`."""
    times = fields["time_tracking"]
    return {**fields, "time_tracking": {**times, "longest_session": times["longest_session"] + _MORE_S}}


def new_vector(document: Mapping[str, Any]) -> Counted:
    """What the new release counts of a learner: posts twice, and one more for being there."""
    counted = vector(document)
    return counted._replace(discussion_posts=2 * counted.discussion_posts + counted.enrolled)


def refolded(events: Sequence[StoredEvent], keep: Mapping[str, Any]) -> dict[str, Any]:
    """The new release's document of a whole stream, folded in one piece by a process of the old one."""
    return {**new_fields(progress.refold(events, keep, "live")), "projection_version": PROJECTION_VERSION}


def upgrade() -> None:
    """Make this process the new release."""
    replaced: Sequence[tuple[ModuleType, str, object]] = (
        (_FOLD, "PROJECTION_VERSION", PROJECTION_VERSION),
        (_FOLD, "visible_fields", lambda state: new_fields(_visible_fields(state))),
        (progress, "PROJECTION_VERSION", PROJECTION_VERSION),
        (_LEARNER, "COUNTS_VERSION", COUNTS_VERSION),
        (_LEARNER, "vector", new_vector),
        (_COUNTED, "vector", new_vector),
        (counts, "COUNTS_VERSION", COUNTS_VERSION),
        (counts, "vector", new_vector),
    )
    for module, name, value in replaced:
        getattr(module, name)  # what is replaced must be there
        setattr(module, name, value)


if __name__ == "__main__":
    if "projections.catalogue" in sys.modules:
        raise RuntimeError("the worker has read the versions already")
    upgrade()
    sys.argv[0] = "sevenp-worker"
    runpy.run_module("worker", run_name="__main__", alter_sys=True)
