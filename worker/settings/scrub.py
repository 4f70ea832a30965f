"""The scrubber: how much of the CPU it may take, and whether it mends what it finds."""

from pydantic import Field

from worker.settings.group import Group


class ScrubSettings(Group, alias_generator="scrub_{}".format):
    """How everything that is stored is checked, all day long and beside everything else."""

    cpu_percent: float = Field(2.0, gt=0, le=100)
    """Most of the cores it may run on that the scrubber takes on average, in percent."""
    repair: bool = False
    """Mend what the scrubber finds, as `verify --fix` does; else it is only reported."""
