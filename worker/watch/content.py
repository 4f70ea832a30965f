"""Sums, or read models and contests, as a follower drives them: whatever moved is brought up to date."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from worker.chunks import split_by_name
from worker.errors import Retryable
from worker.storage.database import Document
from worker.storage.leases import Token
from worker.watch.contests.contenders import Contenders
from worker.watch.follower import Page
from worker.watch.models.views import Views
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.stream.resume_token import smallest
from worker.watch.sums.attempt import Keys
from worker.watch.sums.changes import what_moved
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import Counter
from worker.watch.sums.runner import Dependencies

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved, by projection, and the token of the change stream before it, if that told of it."""

    keys: Mapping[str, Keys] = field(default_factory=dict)
    before: Token = field(default_factory=dict)


class ContentExecutor:
    """Keeps projections over one change stream of the content database, whose token is as far as the slowest of them.

    `noted` is where the session is noted that counts; read models and contests, which lock nothing of the platform's
    for long, have none.
    """

    def __init__(
        self,
        name: str,
        given: Dependencies,
        kept: Iterable[Counter | Views | Contenders],
        *,
        noted: WriteConflictMarkers | None = None,
        forget_every_s: float = 0.0,
    ) -> None:
        self.name = name
        self._kept = {each.name: each for each in kept}
        self.versions: Mapping[str, int] = {each.name: each.version for each in self._kept.values()}
        self._given = given
        self._noted = noted
        self._forget_every_s = forget_every_s
        self._forget_at = 0.0
        self._left_out: frozenset[str] = frozenset()

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        """1. end what a former holder left open  2. take over its items  3. open the stream.

        What waits for its turn lies behind the saved token: the stream tells of it again.
        """
        own = await self._end_former()  # 1
        for each in self._kept.values():
            each.cool_down.forget_waiting()
            await each.quarantine.adopt()  # 2
        sources: Set[str] = frozenset().union(*(each.sources for each in self._kept.values()))
        shown: Set[str] = frozenset().union(*(each.shown for each in self._kept.values()))
        rules = [rule for each in self._kept.values() for rule in each.rules(own)]
        home = self._given.database.content.name
        pipeline = what_moved(home, after, sources, shown, rules)
        anchor = self._given.database.user_progress
        return await ChangeStream.open(anchor, pipeline, after=after, whole_database=True)  # 3

    def keys(self, changes: Sequence[Document], before: Token) -> Moved:
        return Moved({name: each.keys(changes) for name, each in self._kept.items()}, before)

    def leave_out(self, projections: frozenset[str]) -> None:
        self._left_out = projections

    def joined(self, first: Moved, second: Moved) -> Moved:
        return Moved({name: keys | second.keys[name] for name, keys in first.keys.items()}, first.before)

    def parts(self, keys: Moved) -> Sequence[Moved]:
        """One: of all that moved each projection is brought up to date, whatever becomes of the others."""
        return (keys,)

    def size(self, keys: Moved) -> int:
        return sum(map(len, keys.keys.values()))

    def split(self, keys: Moved, most: int) -> tuple[Moved, Moved | None]:
        if self.size(keys) <= most:
            return keys, None
        first, others = (
            {name: frozenset(some) for name, some in part.items()} for part in split_by_name(keys.keys, most)
        )
        return Moved(first, keys.before), Moved(others, keys.before)

    async def apply(self, keys: Moved, *, live: bool) -> None:
        """Bring each projection up to date, whatever becomes of the others. May run twice (see `Counter.count`)."""
        failed: Retryable | None = None
        for name, each in self._kept.items():
            if name in self._left_out:
                continue
            some = keys.keys.get(name, frozenset())
            try:
                await each.bring(some, keys.before if live else None)
            except Retryable as error:
                failed = _without_frames(error)
        if failed is not None:
            raise failed

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Moved], None]:
        """Everything of the projections named; it starts over after an interruption."""
        for name in sorted({name for projections in stale.values() for name in projections}):
            async for page in self._kept[name].missed():
                yield Page([Moved({name: page})])

    def covered(self, token: Token) -> Token:
        """It stays before documents that wait for their turn."""
        return smallest([each.cool_down.token_up_to(token) for each in self._kept.values()]) or token

    def holds(self, groups: Mapping[int, int]) -> None:
        if not groups:
            for each in self._kept.values():
                each.stand_by()

    async def tidy(self) -> None:
        """Delete the markers that no transaction can still need."""
        if self._noted is not None and self._given.clock.monotonic() >= self._forget_at:
            await self._noted.forget()
            self._forget_at = self._given.clock.monotonic() + self._forget_every_s

    async def leave(self) -> None:
        """Say that the session ended in good order, and end it."""
        if self._noted is not None:
            await self._noted.release_session(await self._given.transactions.session_id())
        await self._given.transactions.close()

    async def _end_former(self) -> set[UUID]:
        """A killed process leaves its transaction open, and the documents in it locked for up to a minute.

        Returns the sessions that wrote, or will write, what is counted.
        """
        if self._noted is None:
            return set()
        ours = await self._given.transactions.session_id()
        former = await self._noted.exchange_session(ours)
        if former is None:
            return {ours}
        if (refused := await self._given.transactions.end_elsewhere(former)) is not None:
            log.warning("counts_transaction_left_to_expire", reason=refused)
        return {ours, former}


def _without_frames(error: Retryable) -> Retryable:
    """The error without whatever its transaction had read, which its frames would keep alive."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__, one = None, one.__context__
    return error
