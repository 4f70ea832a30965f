"""One entry of the schedule: which job, asked what, when, and what to do about firings that could not be kept."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.interval import Interval
from worker.jobs.job import Job, JobArguments
from worker.jobs.schedule.cron import Cron
from worker.mistakes import words_for

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
Misfire = Literal["once", "skip", "all"]
Overlap = Literal["skip", "wait"]


class _Written(BaseModel):
    """An entry as somebody wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)

    job: str
    cron: str
    time_zone: str = "UTC"
    arguments: dict[str, Any] = Field(default_factory=dict)
    misfire: Misfire = "once"
    misfire_limit: int = Field(10, ge=1, le=1_000)
    overlap: Overlap = "skip"
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that can run.

    `misfire` says what becomes of firings that nobody could start in time: `once` has one run make up for all of
    them, `skip` none, `all` one for each of the newest `misfire_limit`. `overlap` says what becomes of those that
    come while the run before goes on: `skip` drops them, `wait` starts the newest of them behind it.
    """

    name: str
    job: Job[Any]
    arguments: JobArguments
    cron: Cron
    misfire: Misfire = "once"
    misfire_limit: int = 10
    overlap: Overlap = "skip"

    @property
    def id(self) -> str:
        """What its position is kept under: with another expression or time zone it begins anew."""
        return f"{self.name}: {self.cron.text} {self.cron.zone.key}"

    def interval(self, firing: datetime) -> str:
        """What the run of a firing is keyed by: from this firing to the next one, in UTC."""
        return str(Interval(firing, self.cron.next(firing)))


@dataclass(frozen=True, slots=True)
class Mistake:
    """An entry that cannot run, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The entries that run, and those that cannot. What is disabled is neither."""

    entries: tuple[Entry, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def read_schedule(written: Sequence[tuple[str, object]], jobs: Sequence[Job[Any]]) -> Schedule:
    """Each entry by itself: what is wrong with one says nothing about the others."""
    names = Counter(name for name, _ in written)
    read = [_entry(name, value, jobs, times=names[name]) for name, value in written]
    mistakes = dict.fromkeys(each for each in read if isinstance(each, Mistake))
    return Schedule(tuple(each for each in read if isinstance(each, Entry)), tuple(mistakes))


def _entry(name: str, value: object, jobs: Sequence[Job[Any]], *, times: int) -> Entry | Mistake | None:
    """What is written under a name, which stands there so many times."""
    if times > 1:
        return Mistake(name, "stands there more than once: none of them runs")
    try:
        return _read(name, value, jobs)
    except ValueError as error:
        return Mistake(name, str(error))


def _read(name: str, value: object, jobs: Sequence[Job[Any]]) -> Entry | None:
    """The entry, or None if it is disabled. Raises ValueError with everything that is wrong with it."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 64 small letters, digits, hyphens and underscores")
    try:
        written = _Written.model_validate(value)
    except ValidationError as error:
        raise ValueError(_told(error)) from None
    cron = Cron.parse(written.cron, written.time_zone)
    job = next((each for each in jobs if each.name == written.job), None)
    if job is None:
        known = ", ".join(sorted(each.name for each in jobs)) or "none at all"
        raise ValueError(f"there is no job '{written.job}'; there is {known}")
    try:
        arguments = job.arguments.model_validate(written.arguments)
    except ValidationError as error:
        raise ValueError(_told(error, "arguments.")) from None
    policies = (written.misfire, written.misfire_limit, written.overlap)
    return Entry(name, job, arguments, cron, *policies) if written.enabled else None


def _told(error: ValidationError, before: str = "") -> str:
    return "; ".join(dict.fromkeys(_sentences(error, before)))


def _sentences(error: ValidationError, before: str) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        path = before + ".".join(map(str, detail["loc"]))
        if detail["type"] == "extra_forbidden":
            yield f"{path} is not known here"
        else:
            yield f"{path.rstrip('.')} {words_for(detail)}".strip()
