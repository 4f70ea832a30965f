"""The event types of `analytics_queue` that are the worker's: items of all others belong to somebody else."""

PROGRESS_FOLD = "progress_fold"
"""A stream whose fold failed."""
PROGRESS_UPDATED = "progress_updated"
"""The platform's own word for analytics work that is pending: compare the learner's documents, and put them right."""
COUNTS_FOLD = "counts_fold"
"""A learner, course or user that counting passes over."""
COUNTS_ROW = "counts_row"
"""A row of outbox or billing that the server refused; its learner is counted."""
NOTIFICATION_SEND = "notification_send"
"""A row of the outbox that cannot be read or changed."""

EVENT_TYPES = (PROGRESS_FOLD, PROGRESS_UPDATED, COUNTS_FOLD, COUNTS_ROW, NOTIFICATION_SEND)
