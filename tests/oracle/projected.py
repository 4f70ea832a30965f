"""Documents of streams, held against what follows from the streams' events: one comparison for every collection."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from tests.oracle.finding import miscounted, unequal
from tests.oracle.reported import Event, sha1
from tests.oracle.stored import Document


def document_differences(
    word: str,
    streams: Mapping[str, Sequence[Event]],
    wanted: Mapping[str, Document],
    documents: Sequence[Document],
    *,
    may_be_gone: Collection[str] = (),
) -> Iterator[str]:
    """Each stream that is wanted has one document, which shows what is wanted, at the stream's last version.

    `streams` are the events, voids among them. `may_be_gone` are wanted streams whose document the server removes: it
    may be missing, or stand at an earlier version.
    """
    due = Counter(stream for stream in wanted if stream not in may_be_gone)
    found = Counter(str(each["stream_id"]) for each in documents)
    yield from miscounted(word, due, found, allowed=dict.fromkeys(may_be_gone, 1))
    for document in documents:
        stream, subject = document["stream_id"], f"{word} {document['_id']}"
        if stream not in wanted:
            continue
        if str(document["_id"]) != stream.rpartition("_")[2] or document["slot"] != sha1(stream)[-1]:
            yield f"{subject} is not where one looks for {stream}"
        if document["version"] != len(streams[stream]) and stream not in may_be_gone:
            yield f"{subject} is at version {document['version']} of {len(streams[stream])}"
        yield from unequal(subject, wanted[stream], document)
