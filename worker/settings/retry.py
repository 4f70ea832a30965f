"""Retry: how often, and how soon, what failed is tried again."""

from pydantic import Field

from worker.settings.role import LeasedRoleSettings


class RetrySettings(LeasedRoleSettings, alias_generator="retry_{}".format):
    """When an item of the queue is tried again, and when it waits for somebody.

    `lease_s` is the lease of the role, `item_lease_s` that of an item in hand.
    """

    max_attempts: int = Field(3, ge=1, le=100)
    """Attempts at what failed, under one code, before it waits for somebody."""
    rate_per_s: int = Field(200, ge=1, le=10_000)
    """Most attempts in any second, of all workers together."""
    backoff_s: float = Field(10.0, gt=0, le=3_600)
    """Longest wait after the first attempt; it doubles with each further one."""
    longest_backoff_s: float = Field(900.0, gt=0, le=86_400)
    """Where the doubling ends. Actual waits are random below the longest."""
    item_lease_s: float = Field(60.0, ge=2, le=3_600, validation_alias="retry_lease_s")
    """Silence after which an attempt counts as one that was not survived."""
    skip_bad_events: bool = False
    """Give an event up at which the fold itself fails in every attempt; without, its stream waits for somebody."""
    poll_every_s: float = 1.0  # how soon an item that became due is seen
    measure_every_s: float = 10.0
    take_back_every_s: float = 1.0
