"""All settings, group by group, and the checks that need more than one group."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from worker.settings.canary import CanarySettings
from worker.settings.control import ControlSettings
from worker.settings.group import Group, refuse
from worker.settings.ingest import IngestSettings
from worker.settings.jobs import JobsSettings
from worker.settings.kafka import KafkaSettings
from worker.settings.mongodb import MongoDBSettings
from worker.settings.names import variable
from worker.settings.notify import NotifySettings
from worker.settings.ownership import OwnershipSettings
from worker.settings.process import ProcessSettings, RoleName
from worker.settings.retention import RetentionSettings
from worker.settings.retry import RetrySettings
from worker.settings.role import RoleSettings
from worker.settings.schedule import ScheduleSettings
from worker.settings.scrub import ScrubSettings
from worker.settings.topics import TopicSettings
from worker.settings.watch import CountsSettings, WatchSettings


class Settings(BaseModel):
    """Every setting. Made by `load_settings`, which says what is wrong in an operator's words.

    A role is handed its own group, and those of the servers it speaks to. A setting may stand in several groups.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    process: ProcessSettings
    control: ControlSettings
    role: RoleSettings
    mongodb: MongoDBSettings
    ownership: OwnershipSettings
    kafka: KafkaSettings
    ingest: IngestSettings
    progress: WatchSettings
    counts: CountsSettings
    notify: NotifySettings
    retry: RetrySettings
    retention: RetentionSettings
    jobs: JobsSettings
    schedule: ScheduleSettings
    scrub: ScrubSettings
    canary: CanarySettings
    topics: TopicSettings

    @classmethod
    def groups(cls) -> Iterator[tuple[str, type[Group]]]:
        """The name and the model of each group."""
        for name, field in cls.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
                yield name, field.annotation

    @property
    def chosen(self) -> dict[str, Any]:
        """What somebody set, by setting."""
        return {
            name: value for group, _ in self.groups() for name, value in getattr(self, group).chosen.items()
        }

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Iterator[str]:
        yield from self.kafka.overtaken(self.role.drain_deadline_s)
        for name in sorted(self.ownership.owned & self.mongodb.external_collections):
            owner, external = variable(f"{name}_owner"), variable("external_collections")
            yield f"{owner} is worker, and {external} names {name}: one of them must go"
        if not self.process.allow_plaintext:
            yield from self.kafka.exposed()
            yield from self.mongodb.exposed()
        if RoleName.NOTIFY in self.process.roles:
            yield from self.notify.unusable(self.role.drain_deadline_s)
