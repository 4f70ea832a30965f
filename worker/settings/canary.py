"""The canary: whether a synthetic learner is sent through Kafka, and how often."""

from pydantic import Field

from worker.settings.role import LeasedRoleSettings


class CanarySettings(LeasedRoleSettings, alias_generator="canary_{}".format):
    """How the canary is sent and looked for; one worker does it, by lease."""

    enabled: bool = False
    """Send a synthetic learner's events through Kafka, and measure when their document shows them."""
    interval_s: float = Field(30.0, ge=1, le=3_600)
    """How often the canary sends an event, in seconds."""
    # An event that waits is looked for this often, later ones in a twentieth of their age: so exact is the latency.
    look_every_s: float = 0.1
    look_per_age: float = 0.05
    longest_look_s: float = 5.0
    # Eight hours at the usual interval. Beyond, the oldest counts as if it were seen now.
    most_waiting: int = 1_000
    # A broker that is away is tried again this often, over a new connection.
    connect_again_s: float = 5.0
