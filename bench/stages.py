"""Samples of a process's stacks as CPU time by stage, and by function: pure reading of what `sampling` wrote."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The first line with a name that is in the stack decides; what no line claims is the event loop and the rest.
STAGES: Sequence[tuple[str, str]] = (
    ("worker/ingest/pipeline.py:Pipeline._decode", "decode and validate"),
    ("worker/ingest/event_store.py:EventStore.known", "look up ids"),
    ("worker/ingest/plan.py:sort_candidates", "look up ids"),
    ("worker/ingest/event_store.py:EventStore.append", "event store"),
    ("worker/ingest/time_series.py:SeriesRows.write", "time series"),
    ("worker/ingest/time_series.py:SeriesRows._write_partition", "time series"),
    ("worker/ingest/accounting.py:count_outcome", "metrics of a batch"),
    ("worker/ingest/pipeline.py:", "rest of the pipeline"),
    ("aiokafka/", "Kafka client"),
    ("worker/kafka/consumer.py:", "Kafka client"),
    ("worker/ingest/", "rest of ingest"),
    ("worker/watch/folds/projector.py:", "progress: read, fold, write"),
    ("worker/watch/sums/", "counts"),
    ("worker/watch/", "change streams and leases"),
    ("worker/notify/", "notifications"),
    ("worker/retry/", "retry"),
    ("pymongo/", "MongoDB driver outside a stage"),
)
REST = "event loop and the rest"
# Python's way to start, before anything is asked of the worker.
_START = ("importlib._bootstrap", "<frozen importlib")


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack, outermost frame first, and how often it was met."""

    stack: Sequence[str]
    count: int


def read_samples(document: Sequence[Mapping[str, Any]]) -> list[Sample]:
    """What `sampling` wrote, without what was met while modules were imported."""
    samples = [Sample(each["stack"], each["count"]) for each in document]
    return [each for each in samples if not any(frame.startswith(_START) for frame in each.stack)]


def stage_of(stack: Sequence[str]) -> str:
    """The stage a stack belongs to."""
    for name, stage in STAGES:
        if any(name in frame for frame in stack):
            return stage
    return REST


def by_stage(samples: Sequence[Sample], cpu_us_per_event: float) -> list[tuple[str, float]]:
    """CPU time an event, split in the proportion of the samples; largest first."""
    counts: Counter[str] = Counter()
    for sample in samples:
        counts[stage_of(sample.stack)] += sample.count
    whole = counts.total()
    return [(stage, cpu_us_per_event * count / whole) for stage, count in counts.most_common()]


def by_function(samples: Sequence[Sample], top: int) -> list[tuple[str, float, float]]:
    """The functions with most samples of their own: name, share in it alone, share with all it calls."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for sample in samples:
        own[sample.stack[-1]] += sample.count
        for frame in set(sample.stack):
            within[frame] += sample.count
    whole = own.total()
    return [(name, count / whole, within[name] / whole) for name, count in own.most_common(top)]
