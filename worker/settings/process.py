"""The process: which roles it runs, how long it may start, how it logs and where it is watched from."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from worker.settings.addresses import Host
from worker.settings.group import Group, listed
from worker.settings.names import SECRETS_DIR


class RoleName(StrEnum):
    """The long-running services of the worker."""

    INGEST = "ingest"
    PROGRESS = "progress"
    COUNTS = "counts"
    NOTIFY = "notify"
    RETRY = "retry"


LogFormat = Literal["auto", "console", "json"]


def _names(value: Any) -> Any:
    return listed(value.lower() if isinstance(value, str) else value)


def _at_least_one(roles: tuple[RoleName, ...]) -> tuple[RoleName, ...]:
    if not roles:
        raise ValueError(f"name at least one of {', '.join(RoleName)}")
    return tuple(dict.fromkeys(roles))


class ProcessSettings(Group):
    """What concerns the whole process."""

    roles: Annotated[tuple[RoleName, ...], BeforeValidator(_names), AfterValidator(_at_least_one)] = tuple(
        RoleName
    )
    """Services this process runs, separated by commas: ingest, progress, counts, notify, retry."""
    allow_plaintext: bool = False
    """Let events and passwords leave this machine unencrypted, to Kafka and to MongoDB."""
    start_timeout_s: float = Field(30.0, gt=0, le=3_600)
    """How long MongoDB and Kafka may stay silent at start."""
    http_host: Host = "127.0.0.1"
    """Address of /metrics, /livez, /readyz. In a container: 0.0.0.0."""
    http_port: int = Field(9464, ge=0, le=65_535)
    """Port of the same; 0 picks a free one and logs it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """debug, info, warning or error. Batches are logged at debug."""
    log_format: LogFormat = "auto"
    """console (columns, for people), json, or auto: console on a terminal and json everywhere else."""
    secrets_dir: Path = SECRETS_DIR
    """Folder of secret files, one setting per file (sevenp_mongodb_uri). May be absent."""
