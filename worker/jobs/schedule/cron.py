"""When an entry fires: a cron expression in a time zone, and one rule for the two nights a year whose clock jumps.

Whoever fires in every hour of the day fires by time that passes: every 15 minutes stays every 15 minutes, on a day
of 23 hours and on one of 25. Everything else fires once for each time on the wall: what is skipped fires right
after the gap, what is repeated fires the first time only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_EVERY_HOUR = set(range(24))
# Any date: what cannot fire, such as 30 February, is found out from everywhere.
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
# A week of a daily expression: the weekend of one for working days is among them.
_LOOKED_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. `parse` makes one."""

    text: str
    zone: ZoneInfo
    _rule: str = field(repr=False)

    @classmethod
    def parse(cls, text: str, time_zone: str) -> "Cron":
        """Raises ValueError with a sentence for each of what can be wrong."""
        try:
            zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"time_zone '{time_zone}' is no time zone: write Europe/Berlin, or UTC"
            ) from None
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"cron '{text}' must have five fields: {', '.join(_FIELDS)}")
        try:
            cron = cls(text, zone, _by_the_wall(fields))
        except CronSimError as error:
            raise ValueError(f"cron '{text}' cannot be read: {str(error).lower()}") from None
        if next(cron.after(_SOME_DAY), None) is None:
            raise ValueError(f"cron '{text}' never fires")
        return cron

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The firings later than `moment`, in UTC, each later than the one before."""
        last = moment
        for local in CronSim(self._rule, moment.astimezone(self.zone)):
            firing = local.astimezone(UTC)
            # Within a repeated hour the library begins with what fired the first time.
            if firing > last:
                last = firing
                yield firing

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """The firings later than `after`, up to `until`."""
        return list(takewhile(lambda firing: firing <= until, self.after(after)))

    def next(self, moment: datetime) -> datetime:
        """The first firing later than `moment`."""
        return next(self.after(moment))

    def longest_wait(self, moment: datetime) -> timedelta:
        """The longest time between two of the firings that come next: of working days, a weekend."""
        firings = list(islice(self.after(moment), _LOOKED_AHEAD))
        return max(
            (later - earlier for earlier, later in pairwise(firings)), default=self.next(moment) - moment
        )


def _by_the_wall(fields: list[str]) -> str:
    """The expression as the library understands our rule: it goes by the asterisk that minute or hour begin with.

    Debian's cron, which it follows, runs `*/30 2 * * *` four times in one night and not at all in another.
    """
    minute, hour, *days = fields
    if set(CronSim(" ".join(fields), _SOME_DAY).hours) == _EVERY_HOUR:
        return " ".join([minute, "*", *days])
    return " ".join([_spelt_out(minute, "0-59"), _spelt_out(hour, "0-23"), *days])


def _spelt_out(text: str, all_of_them: str) -> str:
    return all_of_them + text[1:] if text.startswith("*") else text
