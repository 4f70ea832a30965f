"""A webhook: one signed POST per notification, and little trust in whoever answers.

Redirects are not followed, replies are read up to a bound and never unpacked, cookies are not kept, proxies and
credentials are not taken from the surroundings, and everything has to happen within one deadline.
"""

import asyncio
import ssl
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx

from worker import __version__
from worker.errors import Misconfigured
from worker.notify.delivery import Accepted, Delivery, Message, Recipient, Refused, Unavailable
from worker.notify.signature import HEADER, sign, signer, standard_headers
from worker.settings import NotifySettings
from worker.timing import Clock

# Nothing of a reply is used; reading a usual one to its end lets the connection be used again.
LONGEST_REPLY_BYTES = 64 * 1024
_READING_S = 1.0
# Answers that say "not this message"; all others say "not now", or that the address or the secret is wrong.
_ABOUT_THE_MESSAGE: Final = frozenset({400, 405, 406, 409, 411, 412, 413, 414, 415, 416, 422, 431})
_ASKS_TO_WAIT: Final = frozenset({429, 503})


class WebhookSender:
    """Accepted by any 2xx; the header `webhook-id` lets the receiver know a repeat."""

    def __init__(self, settings: NotifySettings, clock: Clock) -> None:
        if settings.webhook_url is None or settings.webhook_secret is None:
            raise Misconfigured(
                f"{settings.variable('webhook_url')} and {settings.variable('webhook_secret')} are needed"
            )
        self._settings = settings
        self._url = settings.webhook_url.get_secret_value()
        self._secret = settings.webhook_secret.get_secret_value()
        self._clock = clock
        self._client = _client(settings, self._url)
        self._signer = signer(self._secret)

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """POST the body; never raises for what the receiver or the network does."""
        now = self._clock.now()
        headers = {"Content-Type": "application/json", **standard_headers(self._signer, message, now)}
        if self._settings.webhook_legacy_headers:
            secret = self._secret.encode()
            headers |= {
                "Idempotency-Key": message.key,
                HEADER: sign(secret, message.body, int(now.timestamp())),
            }
        request = self._client.build_request("POST", self._url, content=message.body, headers=headers)
        try:
            async with asyncio.timeout(self._settings.send_timeout_s):
                reply = await self._client.send(request, stream=True)
        except TimeoutError:
            return Unavailable("no answer in time")
        except (httpx.HTTPError, OSError) as error:
            return Unavailable(f"no answer ({type(error).__name__})")
        await _finish(reply)
        return delivery_of(reply.status_code, reply.headers.get("Retry-After"), now)

    async def close(self) -> None:
        await self._client.aclose()


def delivery_of(status: int, retry_after: str | None, now: datetime) -> Delivery:
    """What a status means to the message. Without its text: it is the receiver's and may be anything."""
    if 200 <= status < 300:
        return Accepted()
    if status in _ABOUT_THE_MESSAGE:
        return Refused(f"HTTP {status}")
    if 300 <= status < 400:
        return Unavailable(f"HTTP {status}: redirects are not followed")
    return Unavailable(f"HTTP {status}", retry_after_s(retry_after, now) if status in _ASKS_TO_WAIT else None)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds asked for by the header `Retry-After`, in digits or as a date; None for anything else."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


async def _finish(reply: httpx.Response) -> None:
    """Read to the end or the bound and close; the status has said everything, an unread rest ends the connection."""
    size_bytes = 0
    with suppress(httpx.HTTPError, OSError, TimeoutError):
        async with asyncio.timeout(_READING_S):
            async for part in reply.aiter_raw():
                size_bytes += len(part)
                if size_bytes > LONGEST_REPLY_BYTES:
                    break
    with suppress(httpx.HTTPError, OSError):
        await reply.aclose()


def _client(settings: NotifySettings, text: str) -> httpx.AsyncClient:
    try:
        url = httpx.URL(text)
        client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=settings.send_timeout_s,
            limits=httpx.Limits(max_connections=settings.concurrency),
            headers={"User-Agent": f"sevenp-worker/{__version__}", "Accept-Encoding": "identity"},
            # Making a context reads all the system's certificates: plain http, never redirected, needs none.
            verify=ssl.create_default_context() if url.scheme == "https" else False,
        )
    except (httpx.InvalidURL, ValueError) as error:
        raise Misconfigured(f"the webhook's URL cannot be used ({type(error).__name__})") from error
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client
