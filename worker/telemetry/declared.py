"""How a metric is declared: its help text, and its labels with their closed sets. Each registry gets one of it."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

M = TypeVar("M", bound=MetricWrapperBase)
Values = Iterable[str]
# The values of a label of which nothing exists beforehand, and of one whose closed set the catalogue decides.
ANY: Values = ()
CATALOGUED: Values = ("as the catalogue says",)


class MaybeGauge(Gauge):
    """A gauge without labels that has no series while nobody knows its value: 0 would be a statement."""

    _known = False

    def set(self, value: float) -> None:
        """Show this value."""
        super().set(value)
        self._known = True

    def forget(self) -> None:
        """Show nothing until the value is known again. May be called twice."""
        self._known = False

    def collect(self) -> Iterable[Metric]:
        """What is scraped of it: nothing while the value is not known."""
        return super().collect() if self._known else ()


class Declared(Generic[M]):
    """A metric of `Metrics`, which makes one of it for each registry."""

    def __init__(
        self, prefix: str, kind: type[M], help_text: str, labels: Mapping[str, Values], **options: Any
    ) -> None:
        self.kind, self.help = kind, help_text
        self._prefix, self._labels, self._options = prefix, labels, options

    def __get__(self, metrics: object, owner: type) -> M:
        """What the attribute holds in an instance, which has the metric under the same name."""
        raise AttributeError("only an instance of Metrics has metrics")

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        return tuple(self._labels)

    @property
    def type_name(self) -> str:
        """Its type, as Prometheus calls it."""
        if issubclass(self.kind, Counter):
            return "counter"
        return "histogram" if issubclass(self.kind, Histogram) else "gauge"

    def made(self, name: str, registry: CollectorRegistry, catalogued: Mapping[str, Values]) -> M:
        """The metric, with a series at 0 for every combination of closed sets; `catalogued` are some, by label."""
        metric = self.kind(
            name, self.help, self._labels, namespace=self._prefix, registry=registry, **self._options
        )
        if self._labels:
            sets = (catalogued[label] if of is CATALOGUED else of for label, of in self._labels.items())
            at_zero(metric, *sets)
        return metric


def at_zero(metric: MetricWrapperBase, *label_sets: Iterable[str]) -> None:
    """Create the series of every combination of the closed label sets."""
    for combination in product(*label_sets):
        metric.labels(*combination)
