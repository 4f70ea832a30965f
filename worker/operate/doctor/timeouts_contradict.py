"""Settings that are allowed, and contradict each other or the times that stand in the code."""

from collections.abc import Iterator, Sequence

from worker.operate.doctor.finding import NOWHERE, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import Settings, variable
from worker.storage.database import SERVER_SELECTION_MS, SOCKET_MS

_SELECTION_S, _SOCKET_S = SERVER_SELECTION_MS / 1000, SOCKET_MS / 1000
# One question at start may take so long (see `app.dependencies`).
_PROBE_S = 8.0
# A worker that was killed is back after 1.4 s on an idle machine, after 4.5 s on a busy one (docs/recovery.md).
_RESTART_MS = 5_000


def decide(settings: Settings) -> Iterator[Seen]:
    """What `load_settings` refuses is not looked for again."""
    yield from _leases(settings)
    yield from _deadlines(settings)
    kafka = settings.kafka
    if kafka.group_instance_id and kafka.session_timeout_ms < _RESTART_MS:
        yield Seen(
            variable("session_timeout_ms"),
            f"it is {kafka.session_timeout_ms} ms, and a worker with a fixed name needs up to {_RESTART_MS} ms "
            "for a restart: its name keeps no partition for it",
            f"Set it to {_RESTART_MS} or more, or take {variable('kafka_group_instance_id')} out.",
        )


def _leases(settings: Settings) -> Iterator[Seen]:
    """Leases that are lost while their owner only waits."""
    for name, lease_s in (
        ("watch_lease_s", settings.progress.lease_s),
        ("jobs_lease_s", settings.jobs.lease_s),
    ):
        if lease_s < _SELECTION_S:
            yield Seen(
                variable(name),
                f"it is {lease_s:g} s, and an election of MongoDB is waited for {_SELECTION_S:g} s: "
                "each costs this worker all that it holds",
                f"Set it to {_SELECTION_S:g} or more.",
            )
    if settings.retry.item_lease_s < _SOCKET_S:
        yield Seen(
            variable("retry_lease_s"),
            f"it is {settings.retry.item_lease_s:g} s, and one answer of MongoDB may take {_SOCKET_S:g} s: an "
            "attempt that waits counts as one that was not survived",
            f"Set it to {_SOCKET_S:g} or more.",
        )
    notify = settings.notify
    if notify.lease_s <= notify.send_timeout_s:
        yield Seen(
            variable("notify_lease_s"),
            f"it is {notify.lease_s:g} s, and a receiver has {notify.send_timeout_s:g} s: another worker sends what "
            "this one is still sending",
            f"Set it above {variable('notify_send_timeout_s')}.",
        )


def _deadlines(settings: Settings) -> Iterator[Seen]:
    """Work that is given up while its answer may still come."""
    drain_s, answer_s = settings.role.drain_deadline_s, settings.ingest.answer_deadline_s
    if drain_s < answer_s:
        yield Seen(
            variable("drain_deadline_s"),
            f"it is {drain_s:g} s, and a batch waits {answer_s:g} s for one answer of MongoDB: a stop then ends with "
            "6, and the batch is done again",
            f"Set it to {answer_s:g} or more, and the grace period of the orchestrator above that.",
        )
    if settings.process.start_timeout_s < _PROBE_S:
        yield Seen(
            variable("start_timeout_s"),
            f"it is {settings.process.start_timeout_s:g} s, and one question to a server may take {_PROBE_S:g} s: "
            "the start gives up while an answer is on its way",
            f"Set it to {_PROBE_S:g} or more.",
        )


async def look(setup: Setup) -> Sequence[Seen]:
    return list(decide(setup.settings))


TIMEOUTS_CONTRADICT = Finding(
    name="timeouts_contradict",
    severity=Severity.WARNING,
    needs=NOWHERE,
    means="Two times contradict each other: something is given up, or given away, while its answer may still come.",
    fix="Change one of the two settings.",
    look=look,
)
