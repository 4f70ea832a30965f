"""The documents that ingest makes of some records, as files of BSON: what the limit inserts."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from bench.records import AnyWorkload
from worker.contract.codec import decode_event
from worker.contract.rejection import Rejected
from worker.contract.source import Source
from worker.errors import Fatal
from worker.kafka.files import OutgoingRecord
from worker.storage.documents import event_document, interaction_row
from worker.storage.encoding import encoded


def write_final_documents(folder: Path, topic: str, records: Iterable[OutgoingRecord]) -> None:
    """`events.bson` and `rows.bson`, in the order of the records."""
    versions: Counter[str] = Counter()
    now = datetime.now(UTC)
    with (folder / "events.bson").open("wb") as events, (folder / "rows.bson").open("wb") as rows:
        for offset, record in enumerate(records):
            event = decode_event(record.value or b"", timestamp=now)
            if isinstance(event, Rejected):
                raise Fatal(f"a record of the benchmark breaks the contract: {event}")
            versions[event.stream_id] += 1
            source = Source(topic, offset % 4, offset // 4)
            document = event_document(event, versions[event.stream_id], source, now, None)
            for file, made in ((events, document), (rows, interaction_row(document))):
                blob = encoded(made)
                if blob is None:
                    raise Fatal("a document of the benchmark has no BSON")
                file.write(blob.raw)


def final_documents(folder: Path, topic: str, workload: AnyWorkload) -> Path:
    """The folder below `folder` with the documents of a topic's records; made once."""
    home = folder / f"final-{topic}"
    if not home.exists():
        home.mkdir()
        write_final_documents(home, topic, workload.records())
    return home
