"""Why records of a topic could not be read: the closed set that gap records and metrics name."""

from enum import StrEnum


class GapReason(StrEnum):
    """Why offsets were passed over without being read."""

    RETENTION = "retention"  # the log begins after our position
    LOG_RESTARTED = "log_restarted"  # our position lies beyond the log's end
    UNDECODABLE = "undecodable"  # codec, checksum or size of a whole record batch
