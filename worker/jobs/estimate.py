"""About how long a run takes, as its dry run went: for whoever decides when to start it."""

import math

from pydantic import JsonValue

from worker.jobs.context import JobContext


class Estimate:
    """Begins with an attempt at a run, before its first step."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._began, self._done_before = context.clock.monotonic(), context.progress.done

    def told(self, writes: int, writes_per_s: float) -> dict[str, JsonValue]:
        """Of a dry run `estimate_s`, for its outcome; of any other run nothing.

        The run looks at all that the dry run looked at, as fast as this attempt did, and writes besides. In tenths
        of a second, rounded up: no run takes none.
        """
        context = self._context
        if not context.dry_run:
            return {}
        elapsed_s = context.clock.monotonic() - self._began
        steps = max(1, context.progress.done - self._done_before)
        looking_s = elapsed_s / steps * context.progress.done
        return {"estimate_s": math.ceil(10 * (looking_s + writes / writes_per_s)) / 10}
