"""A producer's kit can check events without MongoDB's driver: the wire models need none of it."""

import subprocess
import sys

_CHECK = """
import sys
sys.modules["bson"] = sys.modules["pymongo"] = None  # an import of either fails
from worker.contract import families, fields, formats, models, personal, rejection, routes, spelling, times, upcasters
from worker.contract import trace_context
from worker.contract.events import interactions
event = interactions.MODELS["course_unenrolled"].model_validate({
    "event_id": "0b6c2f6e-6c1d-4c55-9a53-000000000001",
    "event_type": "course_unenrolled",
    "occurred_at": "2024-01-15T09:30:00Z",
    "user_id": "65A4F0C2E13B7A0001C0FFEE",
    "course_id": "65a4f0c2e13b7a0001aaaaaa",
})
print(event.user_id)
"""


def test_an_event_is_validated_where_the_driver_is_not_installed() -> None:
    command = [sys.executable, "-c", _CHECK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own text
    assert (done.returncode, done.stdout.strip()) == (0, "65a4f0c2e13b7a0001c0ffee"), done.stderr
