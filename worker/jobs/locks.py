"""Locks that several jobs share: what they do would be in the way of each other."""

WRITES_ROWS = "time-series-rows"
"""Of jobs that are repairers of rows: two at a time would burn each other's sessions again and again."""
