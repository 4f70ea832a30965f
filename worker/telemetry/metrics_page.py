"""The page docs/metrics.md, made of the declarations: `python -m worker.telemetry.metrics_page > docs/metrics.md`."""

import sys

from worker.telemetry.metrics import PREFIX, declared_metrics

_HEAD = f"""# Metrics

Made from `worker/telemetry/metrics.py` by `python -m worker.telemetry.metrics_page > docs/metrics.md`; a
test holds it against the code.

All begin with `{PREFIX}_`. Units are seconds and bytes. Label values come from closed sets; there is
never a learner, stream, event, course or lesson. A counter exists at 0 from the start for every value that
is known beforehand.

What is not known has no series, and is not 0:

- **Lag.** A partition has none before Kafka has told where its log ends, and none on a worker that does
  not own it. A client of its own asks every three seconds, also while ingest waits for MongoDB. While Kafka
  is silent the last numbers stay, `kafka_consumer_lag_seconds` grows by the clock, and
  `kafka_lag_updated_timestamp_seconds` stands still.
- **What is of the whole platform**: queue, dead letters, outbox, refused rows, what has drifted, rebuilds.
  The one worker that holds the lease of `retry` shows it, and `depths_updated_timestamp_seconds` says when
  it was measured last. Without a worker that has the role `retry` nobody shows it.
- **Dependencies.** `dependency_up` has a series for each that the process has, and says what `/readyz` says.
- **Change streams.** A watcher that holds no group shows no age, heartbeat or headroom.

Ask accordingly: `max by (topic) ({PREFIX}_kafka_topic_partitions)`, which every worker tells,
`sum by (topic) ({PREFIX}_kafka_scalable_lag_records)`, of which each has its part. A label `job` of ours is
called `exported_job` after a scrape: `job` is the target's own.

How old the oldest record is that is not durable: if it is in hand, by its time in Kafka; else since its
offset was first seen to be there; behind records that were there before the worker came, by the time of
the last durable one.

A worker with all roles and default settings exports at most 600 series, whatever is published, where it
owns all 16 partitions of the learners' topic and no other topic is there. Each further topic that is there
has 14, and two for each of its partitions that the worker owns. No worker exports more than 1,500, with
everything on and 64 partitions of each of five topics.

"""

_TABLE = """| metric | type | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page: a row for each metric, in the order of their declarations."""
    rows = [
        f"| `{name}` | {each.type_name} | {', '.join(each.labels)} | {each.help} |\n"
        for name, each in declared_metrics().items()
    ]
    return _HEAD + _TABLE + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
