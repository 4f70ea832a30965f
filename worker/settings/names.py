"""What things are called: the variable of a setting, the folder of secret files, and every closed set of words."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

PREFIX = "SEVENP_"
# Where Docker and Kubernetes mount secrets by habit.
SECRETS_DIR = Path("/run/secrets")


class RoleName(StrEnum):
    """The long-running services of the worker."""

    INGEST = "ingest"
    PROGRESS = "progress"
    COUNTS = "counts"
    NOTIFY = "notify"
    RETRY = "retry"


class StartPolicy(StrEnum):
    """Where a consumer group begins that has no committed offset."""

    EARLIEST = "earliest"
    LATEST = "latest"


class NotificationKind(StrEnum):
    """What a learner, or another system, is notified of."""

    WELCOME = "welcome"
    COMPLETION = "completion"


class Channel(StrEnum):
    """Where a notification can go."""

    LOG = "log"
    KAFKA = "kafka"
    WEBHOOK = "webhook"
    MAIL = "mail"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name}".upper()


def secrets_dir(environment: Mapping[str, str]) -> Path:
    """The folder of secret files; it need not exist. An empty variable means the default, as everywhere."""
    return Path(environment.get(variable("secrets_dir"), "").strip() or SECRETS_DIR)
