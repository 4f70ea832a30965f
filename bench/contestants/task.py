"""The task of a contestant, and how it reports that it begins. Standard library only: every environment has it."""

import json
import os
import time
from dataclasses import asdict, dataclass, replace

VARIABLE = "BENCH_TASK"
FETCHING = "FETCHING"


@dataclass(frozen=True, slots=True)
class Task:
    """Read `topic` from its begin as `group` and fill `course_events` and `user_interactions` of the databases."""

    bootstrap_servers: str
    topic: str
    group: str
    mongodb_uri: str
    content: str
    analytics: str

    def on(self, topic: str, number: int) -> "Task":
        """The same databases, another topic, and a group of its own."""
        return replace(self, topic=topic, group=f"{self.group}-{number}")

    def environment(self) -> dict[str, str]:
        """For the contestant's process."""
        return {VARIABLE: json.dumps(asdict(self))}


def given() -> Task:
    """The task of this process."""
    return Task(**json.loads(os.environ[VARIABLE]))


def say_fetching() -> None:
    """The clock starts: monotonic time is the same for all processes of a machine."""
    print(f"{FETCHING} {time.monotonic()}", flush=True)  # noqa: T201 - the measuring process reads it
