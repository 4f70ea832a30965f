"""The only reader of the environment: every setting with its default, its unit and its reason.

A setting `name` is the variable `SEVENP_NAME`, or a file `sevenp_name` in the secrets folder
if the variable is not set.
What cannot work is refused before anything is connected, in words that name the variable.
"""

from worker.settings.consistency import HEARTBEATS_PER_SESSION
from worker.settings.loading import SettingLine, load_settings, setting_lines
from worker.settings.model import Settings
from worker.settings.names import Channel, NotificationKind, RoleName, StartPolicy, variable

__all__ = [
    "HEARTBEATS_PER_SESSION",
    "Channel",
    "NotificationKind",
    "RoleName",
    "SettingLine",
    "Settings",
    "StartPolicy",
    "load_settings",
    "setting_lines",
    "variable",
]
