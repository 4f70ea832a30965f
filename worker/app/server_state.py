"""What MongoDB last said about its own state: nobody is ready while it refuses what the roles wait for."""

import structlog

from worker.storage.server_codes import code_class, code_name, told_by_the_server
from worker.timing import Clock

log = structlog.get_logger(__name__)

# Whoever waits asks again within 5 s: a refusal this old is over.
_LASTS_S = 15.0
# An unknown code is told again this often, while it goes on.
_TELL_AGAIN_S = 60.0
_REMEMBERED = 100


class ServerState:
    """Hears every refusal's code (see `CommandTimer`) and knows which of them still stands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._code: int | None = None
        self._heard_at = 0.0
        self._told_at: dict[int, float] = {}

    def heard(self, code: int) -> None:
        """Note a refusal, if it is about the server itself or nobody knows what it is about."""
        if not told_by_the_server(code):
            return
        self._code, self._heard_at = code, self._clock.monotonic()
        if code_class(code) is None:
            self._tell(code)

    @property
    def refusal(self) -> str | None:
        """The refusal that stands, with its number; None while there is none."""
        if self._code is None or self._clock.monotonic() - self._heard_at > _LASTS_S:
            return None
        return f"MongoDB answers, but refuses work: {code_name(self._code)} ({self._code})"

    def _tell(self, code: int) -> None:
        """Say the number of an unknown code: somebody has to find out what it means."""
        now = self._clock.monotonic()
        if now - self._told_at.get(code, float("-inf")) < _TELL_AGAIN_S:
            return
        if len(self._told_at) >= _REMEMBERED:
            self._told_at.clear()
        self._told_at[code] = now
        log.error("mongodb_answered_with_an_unknown_code", code=code)
