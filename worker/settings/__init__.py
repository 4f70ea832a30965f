"""The only reader of the environment: every setting with its default, its unit and its reason.

A setting `name` is the variable `SEVENP_NAME`, or a file `sevenp_name` in the secrets folder if the variable is not
set. Each group has a file of its own, and a stage is handed its group. What cannot work is refused before anything is
connected, in words that name the variable.
"""

from worker.settings.canary import CanarySettings
from worker.settings.control import ControlSettings
from worker.settings.ingest import IngestSettings, MissingRecords, OnGap, StartPolicy
from worker.settings.jobs import JobsSettings
from worker.settings.kafka import KafkaSettings
from worker.settings.loading import load_settings, log_format, setting_lines
from worker.settings.model import Settings
from worker.settings.names import variable
from worker.settings.notify import Channel, NotificationKind, NotifySettings
from worker.settings.ownership import OwnershipSettings
from worker.settings.process import RoleName
from worker.settings.retention import RetentionSettings
from worker.settings.retry import RetrySettings
from worker.settings.schedule import ScheduleSettings
from worker.settings.scrub import ScrubSettings
from worker.settings.topics import TopicSettings
from worker.settings.watch import CoolDownSettings, CountsSettings, WatchSettings

__all__ = [
    "CanarySettings",
    "Channel",
    "ControlSettings",
    "CoolDownSettings",
    "CountsSettings",
    "IngestSettings",
    "JobsSettings",
    "KafkaSettings",
    "MissingRecords",
    "NotificationKind",
    "NotifySettings",
    "OnGap",
    "OwnershipSettings",
    "RetentionSettings",
    "RetrySettings",
    "RoleName",
    "ScheduleSettings",
    "ScrubSettings",
    "Settings",
    "StartPolicy",
    "TopicSettings",
    "WatchSettings",
    "load_settings",
    "log_format",
    "setting_lines",
    "variable",
]
