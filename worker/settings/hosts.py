"""Whom an address reaches: only this machine, or others over a network that somebody may listen to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

_SRV_SCHEME = "mongodb+srv://"
# A path in a MongoDB URI is percent-encoded: its first slash.
_SOCKET_PREFIX = "%2f"
# These accept any certificate, or any name in it: whoever stands in between reads and writes everything.
_UNCHECKED = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")


def is_loopback(host: str) -> bool:
    """True for `localhost`, 127.0.0.0/8 and ::1. No name is looked up: a name server would decide what is safe."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def hosts_of(addresses: str) -> tuple[str, ...]:
    """The hosts of `host:port,[::1]:port,host`, in their order."""
    parts = (part.strip() for part in addresses.split(","))
    return tuple(_host(part) for part in parts if part)


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    name, _, port = address.rpartition(":")
    # More than one colon and no bracket: an IPv6 address without a port.
    return name if name and ":" not in name and port.isdecimal() else address


@dataclass(frozen=True, slots=True)
class MongoAddress:
    """What a MongoDB URI says about the wire; `options` have lower-case names."""

    hosts: Sequence[str]
    user: bool
    options: Mapping[str, str]
    srv: bool

    @property
    def tls(self) -> bool | None:
        """What the URI itself says about TLS; None for nothing."""
        named = self.options.get("tls", self.options.get("ssl"))
        if named is not None:
            return named.lower() == "true"
        implied = any(name in self.options for name in ("tlscafile", "tlscertificatekeyfile"))
        return True if implied or self.srv else None

    @property
    def unchecked(self) -> str | None:
        """The option that leaves the server's certificate unchecked, if there is one."""
        return next((name for name in _UNCHECKED if self.options.get(name, "").lower() == "true"), None)

    @property
    def elsewhere(self) -> str | None:
        """The first host that is not this machine."""
        return next((host for host in self.hosts if not _is_local(host)), None)


def mongo_address(uri: str) -> MongoAddress:
    """The parts of a MongoDB URI, divided as the driver does; whether it is right in full is the driver's to say."""
    rest = uri.partition("://")[2]
    before, _, query = rest.partition("?")
    authority = before.partition("/")[0]
    user, _, addresses = authority.rpartition("@")
    pairs = (part.partition("=") for part in re.split("[&;]", query) if part)
    return MongoAddress(
        hosts=hosts_of(addresses),
        user=bool(user),
        options={name.lower(): value for name, _, value in pairs},
        srv=uri.startswith(_SRV_SCHEME),
    )


def _is_local(host: str) -> bool:
    return host.lower().startswith(_SOCKET_PREFIX) or is_loopback(host)
