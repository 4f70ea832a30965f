"""Each finding about Kafka, and about where it and MongoDB stand: broken in, named out; what a broker tells, and not.

What takes several brokers, or an authorizer, is in tests/apache/test_doctor.py.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import StackKind
from tests.support.doctor import Doctor, commit, hold, sound_topic, subjects, told
from tests.support.ingest import Sent, event, records, send
from tests.support.kafka import make_topic
from worker.kafka.positions import LogRange
from worker.kafka.record import Partition
from worker.operate.doctor.compacted_topic import COMPACTED_TOPIC
from worker.operate.doctor.few_partitions import FEW_PARTITIONS
from worker.operate.doctor.few_partitions import decide as decide_partitions
from worker.operate.doctor.group_behind import GROUP_BEHIND
from worker.operate.doctor.kafka_away import KAFKA_AWAY
from worker.operate.doctor.large_records import LARGE_RECORDS
from worker.operate.doctor.log_behind import LOG_BEHIND
from worker.operate.doctor.offsets_expire import OFFSETS_EXPIRE
from worker.operate.doctor.one_broker import ONE_BROKER
from worker.operate.doctor.one_broker import decide as decide_brokers
from worker.operate.doctor.records_from_the_future import RECORDS_FROM_THE_FUTURE
from worker.operate.doctor.records_gone import RECORDS_GONE
from worker.operate.doctor.records_gone import decide as decide_gone
from worker.operate.doctor.records_missing import RECORDS_MISSING
from worker.operate.doctor.retention_by_size import RETENTION_BY_SIZE
from worker.operate.doctor.session_timeout_refused import SESSION_TIMEOUT_REFUSED
from worker.operate.doctor.short_retention import SHORT_RETENTION
from worker.operate.doctor.topic_differs import TOPIC_DIFFERS
from worker.operate.doctor.topic_missing import TOPIC_MISSING
from worker.settings import variable


async def test_kafka_away(doctor: Doctor) -> None:
    assert await doctor.sees(KAFKA_AWAY) == []
    findings = [KAFKA_AWAY, TOPIC_MISSING, RECORDS_MISSING]
    report = await doctor.report(findings, kafka_bootstrap_servers="127.0.0.1:1")
    assert [each.finding for each in report.found] == [KAFKA_AWAY]
    assert "127.0.0.1:1" in report.found[0].seen.words
    assert variable("kafka_bootstrap_servers") in report.found[0].fix
    assert {each.reason for each in report.not_looked} == {"kafka cannot be asked"}
    assert report.away == ["kafka"]


async def test_topic_missing(doctor: Doctor) -> None:
    assert await doctor.sees(TOPIC_MISSING) == []
    [found] = await doctor.sees(TOPIC_MISSING, topic="nobody-made-it")
    assert "--create --topic nobody-made-it --partitions 16" in found.fix
    [accounts] = await doctor.sees(TOPIC_MISSING, account_topic="no-accounts-yet")
    assert accounts.seen.subject == "no-accounts-yet"
    assert "topic apply" in accounts.fix
    assert "set SEVENP_ACCOUNT_TOPIC to none" in accounts.fix
    notifies = {"notify_routes": "completion=kafka", "notify_kafka_topic": "no-such-outbox"}
    assert subjects(await doctor.sees(TOPIC_MISSING, **notifies)) == ["no-such-outbox"]


async def test_few_partitions(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(FEW_PARTITIONS) == []
    one = await sound_topic(kafka, 1)
    [found] = await doctor.sees(FEW_PARTITIONS, topic=one)
    assert found.seen.words == "the topic has 1 partition"
    assert "--alter --partitions" in found.fix
    [seen] = decide_partitions("t", 4, 6)
    assert "2 of them read nothing of it" in seen.words


async def test_short_retention(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(SHORT_RETENTION) == []
    hasty = await sound_topic(kafka, retention_ms=20_000)
    [found] = await doctor.sees(SHORT_RETENTION, topic=hasty)
    assert "kept for 20 seconds" in found.seen.words
    assert f"retention.ms of {hasty} to 60000 or more" in found.fix
    for_ever = await sound_topic(kafka, retention_ms=-1)
    assert await doctor.sees(SHORT_RETENTION, topic=for_ever) == []


async def test_retention_by_size(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(RETENTION_BY_SIZE) == []
    cut = await sound_topic(kafka, retention_bytes=1_000_000)
    [found] = await doctor.sees(RETENTION_BY_SIZE, topic=cut)
    assert "1,000,000" in found.seen.words
    assert "retention.bytes of the topic to -1" in found.fix


async def test_compacted_topic(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(COMPACTED_TOPIC) == []
    compacted = await sound_topic(kafka, cleanup_policy="compact,delete")
    [found] = await doctor.sees(COMPACTED_TOPIC, topic=compacted)
    assert found.seen.subject == compacted
    assert "cleanup.policy=delete" in found.fix


async def test_topic_differs(doctor: Doctor, kafka: str) -> None:
    """It is never silent where `topic check` is not, and says what that says, but for what others say of it."""
    as_wanted = {"topic_partitions": 4, "topic_replication": 1, "topic_retention_days": 1}
    kept = await sound_topic(kafka, retention_ms=86_400_000)
    assert await doctor.sees(TOPIC_DIFFERS, topic=kept, **as_wanted) == []
    [found] = await doctor.sees(TOPIC_DIFFERS, topic=kept, **{**as_wanted, "topic_partitions": 5})
    assert found.seen.words == "partitions is 4, and the settings want at least 5"
    assert found.fix == "Run `sevenp-worker topic apply`."
    [found] = await doctor.sees(TOPIC_DIFFERS, topic=kept, **{**as_wanted, "topic_retention_days": 2})
    assert found.seen.words == "retention.ms is 1 day, and the settings want at least 2 days"
    [found] = await doctor.sees(TOPIC_DIFFERS, topic=kept, **{**as_wanted, "topic_replication": 3})
    assert "kafka-reassign-partitions.sh" in found.fix
    # What is below the longest outage is an error, and is said once.
    hasty = await sound_topic(kafka, retention_ms=20_000)
    assert await doctor.sees(TOPIC_DIFFERS, topic=hasty, **as_wanted) == []
    [found] = await doctor.sees(SHORT_RETENTION, topic=hasty, **as_wanted)
    assert "Run `sevenp-worker topic apply`; or set retention.ms" in found.fix
    for finding in (TOPIC_MISSING, FEW_PARTITIONS, SHORT_RETENTION, RETENTION_BY_SIZE):
        assert "`sevenp-worker topic apply`" in finding.fix


async def test_large_records(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(LARGE_RECORDS) == []
    large = await sound_topic(kafka, max_message_bytes=20_000_000)
    [found] = await doctor.sees(LARGE_RECORDS, topic=large)
    assert "20,000,000" in found.seen.words
    assert variable("ingest_max_bytes") in found.fix


async def test_one_broker(doctor: Doctor) -> None:
    [found] = await doctor.sees(ONE_BROKER)
    assert "three brokers" in found.fix
    assert not decide_brokers([1, 2, 3])


async def test_what_a_broker_does_not_tell_is_said_in_words(
    doctor: Doctor, kafka: str, stack: StackKind
) -> None:
    if stack != "embedded":
        pytest.skip("Apache Kafka tells all of it")
    silent = await make_topic(kafka, 4)
    assert "does not tell retention.ms" in await doctor.cannot_tell(SHORT_RETENTION, topic=silent)
    assert "does not tell cleanup.policy" in await doctor.cannot_tell(COMPACTED_TOPIC, topic=silent)
    for finding in (SESSION_TIMEOUT_REFUSED, OFFSETS_EXPIRE):
        assert "the brokers do not tell" in await doctor.cannot_tell(finding)


async def test_records_from_the_future(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(0)], partition=0))
    assert await doctor.sees(RECORDS_FROM_THE_FUTURE) == []
    later = datetime.now(UTC) + timedelta(minutes=50)  # further ahead Apache Kafka takes none
    await send(kafka, topic, [Sent(b"{}", partition=2, timestamp_ms=int(later.timestamp() * 1000))])
    [found] = await doctor.sees(RECORDS_FROM_THE_FUTURE)
    assert found.seen.subject == f"{topic}/2"
    assert "minutes ahead" in found.seen.words
    assert "chrony" in found.fix


async def test_records_missing(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(n) for n in range(10)], partition=1))
    await commit(kafka, topic, {1: 10})
    await hold(doctor.database, topic, {1: 10})
    assert await doctor.sees(RECORDS_MISSING) == []
    await doctor.database.leases.update_one({"_id": f"partition:{topic}:1"}, {"$set": {"durable": 4}})
    [found] = await doctor.sees(RECORDS_MISSING)
    assert found.seen.subject == f"{topic}/1"
    assert found.seen.words.startswith("6 records from 4 to 9")
    assert "reingest --missing" in found.fix


async def test_records_gone(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(n) for n in range(3)], partition=1))
    await commit(kafka, topic, {1: 1})
    assert await doctor.sees(RECORDS_GONE) == []
    partition = Partition(topic, 1)
    [seen] = decide_gone({partition: 5}, {partition: LogRange(12, 40)})
    assert seen.words.startswith("7 records from 5 on were removed")


async def test_group_behind(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(n) for n in range(30)], partition=1))
    await hold(doctor.database, topic, {1: 30})
    [found] = await doctor.sees(GROUP_BEHIND)
    assert "the group has no offset: it reads all of the log again" in found.seen.words
    [found] = await doctor.sees(GROUP_BEHIND, start_policy="latest")
    assert "skips what came since" in found.seen.words
    assert variable("start_policy") in found.fix
    await commit(kafka, topic, {1: 5})
    assert await doctor.sees(GROUP_BEHIND) == []  # two batches may be on their way
    [found] = await doctor.sees(GROUP_BEHIND, ingest_max_records=10)
    assert "below 30, the group stands at 5" in found.seen.words
    await commit(kafka, topic, {1: 30})
    assert await doctor.sees(GROUP_BEHIND, ingest_max_records=10) == []


async def test_log_behind(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(n) for n in range(5)], partition=0))
    await hold(doctor.database, topic, {0: 5, 1: 0})
    assert await doctor.sees(LOG_BEHIND) == []
    await doctor.database.leases.update_many({"kind": "partition"}, {"$set": {"durable": 50}})
    found = await doctor.sees(LOG_BEHIND)
    assert subjects(found) == [f"{topic}/0", f"{topic}/1"]
    assert "holds all below 50, and the log ends at 5" in told(found)
    assert "docs/backup.md" in found[0].fix
