"""Brokers that tests may stop, kill and damage: started once per session, whole again after each test."""

import asyncio
from collections.abc import Iterator

import pytest

from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache

# Leaders go back to the first node of a partition's copies soon after it has returned; 5 minutes by default.
QUICK_LEADERS = {
    "leader.imbalance.check.interval.seconds": "1",
    "leader.imbalance.per.broker.percentage": "0",
}


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """One node."""
    kafka = asyncio.run(start_apache(tmp_path_factory.mktemp("own-broker")))
    yield kafka
    kafka.stop()


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Three nodes."""
    folder = tmp_path_factory.mktemp("three-nodes")
    kafka = asyncio.run(start_apache(folder, nodes=3, properties=QUICK_LEADERS))
    yield kafka
    kafka.stop()
