"""Every sample document of the specification is rebuilt from events by a test of this folder, or has a reason."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.spec.compare import SAMPLES

NOT_FROM_THESE_EVENTS: Mapping[str, str] = {
    "user_progress": "a learner's record: docs/projections.md has each field and its formula",
    "user_progress_projections": "what is counted of each record, by `counts`: docs/projections.md",
    "user_sensitive_data": "secrets pass neither through Kafka nor through the event store: the platform's",
    "content_variations": "experiments: no event of the contract is about them",
}


def test_every_sample_is_rebuilt_or_has_a_reason() -> None:
    others = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name]
    named = {name for path in others for name in re.findall(r'"(\w+)"', path.read_text(encoding="utf-8"))}
    rebuilt = named & SAMPLES.keys()
    assert rebuilt | NOT_FROM_THESE_EVENTS.keys() == SAMPLES.keys()
    assert rebuilt.isdisjoint(NOT_FROM_THESE_EVENTS)
