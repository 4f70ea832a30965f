"""A certificate authority of the tests' own: certificates that are right, foreign, expired or for another name."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Issued:
    """Files of one certificate: with its chain, its key, and both in one."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates into `folder`; `file` is its own, by which others know it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ca.pem"
        self._folder = folder
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self, name: str, *hosts: str, ends_in: timedelta = timedelta(days=1), key_password: str = ""
    ) -> Issued:
        """A certificate for `hosts` (this machine if none) that ends in, or ended before, so long."""
        now = datetime.now(UTC)
        made = self._ca.issue_cert(
            *(hosts or (HERE,)),
            not_before=min(now, now + ends_in) - timedelta(days=1),
            not_after=now + ends_in,
        )
        files = Issued(*(self._folder / f"{name}-{part}.pem" for part in ("cert", "key", "both")))
        cert = b"".join(each.bytes() for each in made.cert_chain_pems)
        key = _pkcs8(made.private_key_pem.bytes(), key_password)
        files.cert.write_bytes(cert)
        files.key.write_bytes(key)
        files.both.write_bytes(key + cert)
        return files


def _pkcs8(key: bytes, password: str) -> bytes:
    """The key in the one form that Kafka reads, too."""
    encryption: KeySerializationEncryption = (
        BestAvailableEncryption(password.encode()) if password else NoEncryption()
    )
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
