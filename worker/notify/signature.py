"""The webhook's signature: who holds the secret can tell that a request is ours, unchanged and not an old one.

`t=<Unix seconds>,v1=<hex of HMAC-SHA256 over "<t>." and the body>`. A receiver ignores parts it does not know.
"""

import hashlib
import hmac

HEADER = "Sevenp-Signature"


def sign(secret: bytes, body: bytes, unix_s: int) -> str:
    """The header's value for a request sent at `unix_s`."""
    digest = hmac.new(secret, f"{unix_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"
