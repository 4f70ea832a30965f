"""An operator is told the fault, and not beside it what follows from it."""

from tests.drill.inhibition import inhibitions, told

KAFKA_DOWN = {"alertname": "DependencyDown", "dependency": "kafka"}
MONGODB_DOWN = {"alertname": "DependencyDown", "dependency": "mongodb"}
SILENT = {"alertname": "ChangeStreamSilent", "watcher": "progress"}
LAG = {"alertname": "KafkaLagHigh", "topic": "events"}
UNOWNED = {"alertname": "PartitionUnowned", "topic": "events"}
STORM = {"alertname": "RebalanceStorm"}


def test_what_follows_from_a_server_that_is_away_is_not_told_beside_it() -> None:
    assert told([MONGODB_DOWN, SILENT, LAG, UNOWNED, STORM], inhibitions()) == [MONGODB_DOWN]
    assert told([KAFKA_DOWN, LAG, UNOWNED, STORM], inhibitions()) == [KAFKA_DOWN]


def test_what_does_not_follow_from_it_is_told() -> None:
    assert told([KAFKA_DOWN, SILENT], inhibitions()) == [KAFKA_DOWN, SILENT]
    assert told([SILENT, LAG], inhibitions()) == [SILENT, LAG]
