"""Addresses of learners: which text is one, and how it goes onto the wire and into a header, byte by byte.

An address comes from a user document, and a user may write there whatever they like. It is never parsed as a header:
Python's would decode an encoded word (`=?utf-8?q?...?=`) in it, and with it line breaks and headers of its own.
"""

from dataclasses import dataclass
from email.policy import Policy

from worker.settings.addresses import plain_address


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address a mail can be sent to. `needs_utf8`: only by a server that has the extension SMTPUTF8."""

    address: str
    needs_utf8: bool

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def mailbox(text: str | None) -> Mailbox | None:
    """The mailbox a text names, or None for what is not one plain address.

    The domain is in ASCII (punycode, RFC 5891), so that SMTPUTF8 (RFC 6531) is only needed for a name before the @
    that is not.
    """
    valid = plain_address(text) if text is not None else None
    if valid is None:
        return None
    return Mailbox(f"{valid.local_part}@{valid.ascii_domain}", needs_utf8=valid.ascii_email is None)


class AddressHeader(str):
    """The value of a header that holds one mailbox and is written as it is, without being parsed or folded."""

    name: str

    def __new__(cls, name: str, box: Mailbox) -> "AddressHeader":
        header = super().__new__(cls, box.address)
        header.name = name
        return header

    def fold(self, *, policy: Policy) -> str:
        """The header's line, as the message's generator asks for it."""
        return f"{self.name}: {self}{policy.linesep}"
