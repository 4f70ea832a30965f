"""The stored shape of a worker that lives."""

from datetime import datetime

from worker.storage.model_bases import Named, Positive, Text


class Worker(Named):
    """`workers`: a process that works, or did until `seen_at`; `_id` names this run of it.

    `started_at` and `seen_at` are by the server's time. One that ends in good order takes its document with it.
    """

    host: Text
    pid: Positive
    roles: list[str]
    version: Text
    revision: Text
    python: Text
    started_at: datetime
    seen_at: datetime
