"""Legal BSON of every type the server stores, as bytes: much of it no Python value can hold."""

import struct
from collections.abc import Iterable

from hypothesis import strategies as st

Part = tuple[int, bytes, bytes]

# Names and texts without NUL; some are no UTF-8, as the server takes them.
_TEXT = st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b"."))
_NAME = st.one_of(
    _TEXT, st.sampled_from([b"_id", b"a", b"timestamp", b"course_id", b"action", b"$ref", b"$id"])
)


def raw_document(*parts: Part) -> bytes:
    """A document of these elements: type, name, bytes of the value."""
    body = b"".join(bytes([kind]) + name + b"\0" + value for kind, name, value in parts) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def raw_array(values: Iterable[tuple[int, bytes]]) -> bytes:
    """An array of these values: type, bytes."""
    return raw_document(*((kind, b"%d" % place, value) for place, (kind, value) in enumerate(values)))


def raw_text(text: bytes) -> bytes:
    """The value of a string."""
    return struct.pack("<i", len(text) + 1) + text + b"\0"


def _binary(subtype: int, content: bytes) -> bytes:
    if subtype == 2:  # the old form says its length twice
        content = struct.pack("<i", len(content)) + content
    return struct.pack("<i", len(content)) + bytes([subtype]) + content


def _scoped(code: bytes, scope: bytes) -> bytes:
    body = raw_text(code) + scope
    return struct.pack("<i", len(body) + 4) + body


def _bytes(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


_FAR = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([253_402_300_800_000, -62_135_596_800_001, 2**63 - 1])
)
_LEAVES: st.SearchStrategy[tuple[int, bytes]] = st.one_of(
    st.floats(width=64).map(lambda value: (0x01, struct.pack("<d", value))),
    _TEXT.map(lambda text: (0x02, raw_text(text))),
    st.tuples(st.integers(0, 9), st.binary(max_size=20)).map(lambda it: (0x05, _binary(*it))),
    st.binary(min_size=16, max_size=16).map(lambda content: (0x05, _binary(4, content))),
    st.just((0x06, b"")),
    _bytes(12).map(lambda value: (0x07, value)),
    st.sampled_from([b"\0", b"\1"]).map(lambda value: (0x08, value)),
    _FAR.map(lambda value: (0x09, struct.pack("<q", value))),
    st.just((0x0A, b"")),
    st.tuples(_TEXT, st.sampled_from([b"", b"i", b"imsux"])).map(
        lambda it: (0x0B, it[0] + b"\0" + it[1] + b"\0")
    ),
    st.tuples(_TEXT, _bytes(12)).map(lambda it: (0x0C, raw_text(it[0]) + it[1])),
    _TEXT.map(lambda text: (0x0D, raw_text(text))),
    _TEXT.map(lambda text: (0x0E, raw_text(text))),
    _TEXT.map(lambda text: (0x0F, _scoped(text, raw_document()))),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: (0x10, struct.pack("<i", value))),
    _bytes(8).map(lambda value: (0x11, value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (0x12, struct.pack("<q", value))),
    _bytes(16).map(lambda value: (0x13, value)),
    st.sampled_from([(0x7F, b""), (0xFF, b"")]),
)


def _grown(inner: st.SearchStrategy[tuple[int, bytes]]) -> st.SearchStrategy[tuple[int, bytes]]:
    return st.one_of(
        st.lists(inner, max_size=4).map(lambda values: (0x04, raw_array(values))),
        st.lists(st.tuples(_NAME, inner), max_size=4).map(
            lambda fields: (0x03, raw_document(*((kind, name, value) for name, (kind, value) in fields)))
        ),
    )


def _deep(depth: int) -> tuple[int, bytes]:
    value = (0x10, b"\1\0\0\0")
    for level in range(depth):
        value = (0x03, raw_document((value[0], b"d", value[1]))) if level % 2 else (0x04, raw_array([value]))
    return value


def values() -> st.SearchStrategy[tuple[int, bytes]]:
    """Type and bytes of one value of any type, nested now and then."""
    return st.one_of(st.recursive(_LEAVES, _grown, max_leaves=12), st.integers(20, 90).map(_deep))


def documents(*first: Part) -> st.SearchStrategy[bytes]:
    """Documents that begin with the given elements; the names of the others are any text, and may repeat."""
    return st.lists(st.tuples(_NAME, values()), max_size=6).map(
        lambda fields: raw_document(*first, *((kind, name, value) for name, (kind, value) in fields))
    )
