"""The subject of a mail: a course's title is in it, and the course's author may write there whatever they like.

Like an address it is never parsed as a header: Python's would decode an encoded word (`=?utf-8?q?...?=`) in it, and
with it line breaks and headers of its own.
"""

from email.header import Header
from email.policy import Policy


class SubjectHeader(str):
    """The value of `Subject`, written as it is: what is not ASCII, or looks encoded, is encoded whole (RFC 2047)."""

    name = "Subject"

    def fold(self, *, policy: Policy) -> str:
        """The header's lines, as the message's generator asks for them."""
        plain = self.isascii() and "=?" not in self
        header = Header(str(self), "us-ascii" if plain else "utf-8", header_name=self.name)
        return f"{self.name}: {header.encode(linesep=policy.linesep)}{policy.linesep}"
