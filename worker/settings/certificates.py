"""Certificates from files, and what it means when the other side's is not accepted: with the setting's name."""

import ssl
from pathlib import Path

from worker.errors import Misconfigured
from worker.settings.names import variable

# Where a server's name stands in the settings.
_ADDRESS = {"kafka": "kafka_bootstrap_servers", "mongodb": "mongodb_uri"}


def context(
    server: str, ca: Path | None, cert: Path | None = None, key: Path | None = None, key_password: str = ""
) -> ssl.SSLContext:
    """A context that checks the server's certificate and name. Raises `Misconfigured` for a file that cannot be used.

    `server` is the prefix of its settings: kafka or mongodb. Without `ca` the system's authorities count; `cert` and
    `key` come together.
    """
    try:
        made = ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = _reason(error, "it holds no certificate")
        raise Misconfigured(f"{variable(f'{server}_ca_file')} {ca} cannot be used: {why}") from error
    if cert is not None:
        try:
            # An empty password, not None: OpenSSL would ask for one at the terminal.
            made.load_cert_chain(cert, key, password=key_password)
        except OSError as error:
            why = _reason(error, "the password does not open the key, or the key is not the certificate's")
            raise Misconfigured(
                f"{variable(f'{server}_cert_file')} {cert} and {variable(f'{server}_key_file')} {key} "
                f"cannot be used: {why} ({variable(f'{server}_key_password')})"
            ) from error
    return made


def not_accepted(server: str, address: str, reason: str) -> Misconfigured:
    """What to do about a server's certificate, by OpenSSL's sentence about it."""
    if "expired" in reason:
        advice = "the server needs a new one"
    elif "not yet valid" in reason:
        advice = "does one of the two clocks run wrong?"
    elif "mismatch" in reason:
        advice = (
            f"use a name that stands in it, in {variable(_ADDRESS[server])} and in what the server announces"
        )
    else:
        advice = f"{variable(f'{server}_ca_file')} must hold the authority that signed it"
    return Misconfigured(
        f"the certificate of {server} at {address} is not accepted: {reason.rstrip('.')}; {advice}"
    )


def _reason(error: OSError, if_unreadable: str) -> str:
    """The system's words for a file it cannot read; OpenSSL's are numbers and names of its functions."""
    return if_unreadable if isinstance(error, ssl.SSLError) else error.strerror or str(error)
