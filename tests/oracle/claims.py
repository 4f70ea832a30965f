"""Values that only one document may have: who has what follows from all documents that claim one, at once."""

from collections.abc import Iterator, Sequence

from tests.oracle.stored import Document


def claimed(documents: Sequence[Document], names: Sequence[str], word: str) -> Iterator[str]:
    """Of all that ask for a value the earliest has it, unless the platform's own document does."""
    for name in names:
        kept = {each[name] for each in documents if "claims" not in each and isinstance(each.get(name), str)}
        asking = [each for each in documents if name in each.get("claims", {})]
        asking.sort(key=lambda each: (each["claims"][name]["at"], each["claims"][name]["event_id"].bytes))
        for each in asking:
            value = each["claims"][name]["value"]
            wanted = None if value in kept else value
            kept.add(value)
            if each.get(name) != wanted:
                yield f"{word} {each['_id']} has {'no' if wanted else 'a'} {name}, and must not"
        for each in documents:
            if "claims" in each and name in each and name not in each["claims"]:
                yield f"{word} {each['_id']} has a {name} that it does not claim"
