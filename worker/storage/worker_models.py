"""The stored shape of a worker that lives."""

from datetime import datetime

from pydantic import Field

from worker.storage.model_bases import Named, Positive, Text, absent


class Worker(Named):
    """`workers`: a process that works, or did until `seen_at`; `_id` names this run of it.

    `owned` are the shared collections whose documents it makes; a worker of the release before does not say.
    `started_at` and `seen_at` are by the server's time. One that ends in good order takes its document with it.
    """

    host: Text
    pid: Positive
    roles: list[str]
    version: Text
    revision: Text
    python: Text
    owned: list[str] = Field(default_factory=absent)
    started_at: datetime
    seen_at: datetime
