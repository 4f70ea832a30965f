"""Headers of a Kafka record as its batch encodes them: exact bytes, whatever a producer wrote as a name.

A count, then of each header the length and bytes of its name and of its value, -1 for no value; numbers are
zigzag varints. Dead letters keep headers in this form where a document has no room for them, or they are no text.
"""

from collections.abc import Sequence
from typing import Final

Header = tuple[str, bytes | None]
RawHeader = tuple[bytes, bytes | None]

# Seven bits a byte: a 64-bit number has at most ten.
_LONGEST_VARINT: Final = 10
_64_BITS: Final = 2**64 - 1


class HeadersBroken(ValueError):
    """The bytes are no headers."""


def read_varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """The zigzag number at `at`, and where it ends. Raises IndexError behind the end, HeadersBroken for no number.

    Of a number of ten bytes what goes beyond 64 bits is dropped, as clients of Kafka do.
    """
    first = content[at]
    if first < 0x80:  # as nearly all of them, one byte or two: several times faster
        return (first >> 1) ^ -(first & 1), at + 1
    second = content[at + 1]
    if second < 0x80:
        value = first & 0x7F | second << 7
        return (value >> 1) ^ -(value & 1), at + 2
    value = shift = 0
    for place in range(at, at + _LONGEST_VARINT):
        byte = content[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= _64_BITS
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
    raise HeadersBroken("a number has more than ten bytes")


def varint(number: int) -> bytes:
    """A 64-bit number as a zigzag varint."""
    left = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def encode_headers(headers: Sequence[Header]) -> bytes:
    """The headers as a record batch has them."""
    encoded = bytearray(varint(len(headers)))
    for text, value in headers:
        name = text.encode()
        encoded += varint(len(name))
        encoded += name
        encoded += varint(-1 if value is None else len(value))
        encoded += value or b""
    return bytes(encoded)


def decode_headers(encoded: bytes) -> list[RawHeader]:
    """The headers, names as bytes. Raises HeadersBroken unless the bytes are exactly a list of headers."""
    try:
        count, at = read_varint(encoded, 0)
        headers: list[RawHeader] = []
        for _ in range(count):
            name, at = _sized(encoded, at)
            value, at = _sized(encoded, at)
            if name is None:
                raise HeadersBroken("a header without a name")
            headers.append((name, value))
    except IndexError as error:
        raise HeadersBroken("the headers end early") from error
    if count < 0 or at != len(encoded):
        raise HeadersBroken("the headers do not end where they should")
    return headers


def _sized(content: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = read_varint(content, at)
    if length < 0:
        return None, at
    if at + length > len(content):
        raise HeadersBroken("the headers end early")
    return content[at : at + length], at + length
