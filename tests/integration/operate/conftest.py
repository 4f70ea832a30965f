"""The doctor beside the session's servers, on a topic that tells everything of itself."""

import pytest

from tests.support.doctor import Doctor, sound_topic
from worker.settings import variable
from worker.storage.database import Database


@pytest.fixture
async def topic(kafka: str) -> str:
    """A fresh topic with four partitions, whose settings are as they should be."""
    return await sound_topic(kafka)


@pytest.fixture
def doctor(settings: dict[str, str], database: Database) -> Doctor:
    """Looks at this test's own database and topic."""
    assert variable("topic") in settings
    return Doctor(settings, database)
