"""Foreign formats: each is recognised by a record's headers and value, and translated into events of the contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.contract.rejection import Rejected

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write events other than the contract's own.

    `translate` gives the record's events, each as the JSON of the contract, or why there is none in its place;
    nothing for a record that says nothing to us. Both are pure and never raise, whatever the bytes.
    """

    name: str
    recognises: Callable[[Headers, bytes], bool]
    translate: Callable[[bytes], Sequence[bytes | Rejected]]
