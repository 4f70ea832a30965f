"""A webhook's signatures: who holds the secret can tell that a request is ours, unchanged and not an old one.

One of the two ways is that of Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`),
which libraries for most languages verify. The other is the worker's own of before: `t=<Unix seconds>,v1=<hex>`, where
the digits are HMAC-SHA256 over "<t>." and the body; a receiver ignores parts it does not know.
"""

import base64
import hashlib
import hmac
from datetime import datetime

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from worker.errors import Misconfigured
from worker.notify.delivery import Message

HEADER = "Sevenp-Signature"
# The specification's prefix of a secret that is written in base64.
_ENCODED = "whsec_"


def signer(secret: str) -> Webhook:
    """What signs by the Standard Webhooks specification: `whsec_` and base64, or any other text as its own bytes.

    Raises `Misconfigured` for a `whsec_` that is not followed by base64.
    """
    if not secret.startswith(_ENCODED):
        return Webhook(secret.encode())
    encoded = secret.removeprefix(_ENCODED)
    try:
        # The library's own reading passes over what is not base64.
        return Webhook(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
    except (ValueError, EmptyWebhookSecretError) as error:  # binascii.Error is a ValueError
        raise Misconfigured(f"the webhook's secret begins with {_ENCODED}, but no base64 follows") from error


def standard_headers(webhook: Webhook, message: Message, sent_at: datetime) -> dict[str, str]:
    """The three headers for a request sent at `sent_at`; `webhook-id` is the notification's key."""
    return {
        "webhook-id": message.key,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": webhook.sign(message.key, sent_at, message.body.decode()),
    }


def sign(secret: bytes, body: bytes, unix_s: int) -> str:
    """The value of `Sevenp-Signature` for a request sent at `unix_s`."""
    digest = hmac.new(secret, f"{unix_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"
