"""Whom an address reaches: only this machine, or others over a network that somebody may listen to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from worker.settings.addresses import parsed_mongodb_uri

_SRV_SCHEME = "mongodb+srv://"
HIDDEN = "********"
"""What is shown of a secret that somebody set."""
# Hosts with their ports, a database, options: nothing in which a password could stand unnoticed.
_ADDRESS = re.compile(r"(?P<hosts>[\w.\-\[\]:,%]+)(?P<database>/[\w\-]*)?(?P<options>\?.*)?", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[\w.\-%]+)(:[0-9]+)?", re.ASCII)
_SECRET_OPTION = re.compile(r"password|secret|token|authmechanismproperties", re.IGNORECASE)
# These accept any certificate, or any name in it: whoever stands in between reads and writes everything.
_UNCHECKED = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")


def without_password(uri: str) -> str:
    """A MongoDB URI to be shown: who logs in where, without the password; nothing of it where that is unclear."""
    scheme, separator, rest = uri.partition("://")
    login, at, address = rest.rpartition("@")
    found = _ADDRESS.fullmatch(address)
    if not separator or found is None or not all(map(_HOST.fullmatch, found["hosts"].split(","))):
        return HIDDEN
    user, colon, _ = login.partition(":")
    options = "&".join(map(_shown_option, (found["options"] or "").split("&")))
    return f"{scheme}://{user}{colon and f':{HIDDEN}'}{at}{found['hosts']}{found['database'] or ''}{options}"


def _shown_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    return f"{name}{equals}{HIDDEN}" if equals and _SECRET_OPTION.search(name) else option


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
    """What a MongoDB URI says about the wire; `options` have lower-case names and the driver's values."""

    hosts: Sequence[str]
    user: bool
    options: Mapping[str, Any]
    srv: bool

    @property
    def tls(self) -> bool | None:
        """What the URI itself says about TLS; None for nothing."""
        if (named := self.options.get("tls")) is not None:
            return bool(named)
        implied = any(name in self.options for name in ("tlscafile", "tlscertificatekeyfile"))
        return True if implied or self.srv else None

    @property
    def unchecked(self) -> str | None:
        """The option that leaves the server's certificate unchecked, if there is one."""
        return next((name for name in _UNCHECKED if self.options.get(name) is True), None)

    @property
    def elsewhere(self) -> str | None:
        """The first host that is not this machine; a socket in the file system is."""
        return next((host for host in self.hosts if not (host.startswith("/") or is_loopback(host))), None)


def mongo_address(uri: str) -> MongoAddress:
    """The parts of a MongoDB URI as the driver reads them; raises ValueError for one that it cannot use."""
    parsed = parsed_mongodb_uri(uri)
    return MongoAddress(
        hosts=tuple(host for host, _ in parsed["nodelist"]),
        user=parsed["username"] is not None,
        options={name.lower(): value for name, value in parsed["options"].items()},
        srv=uri.startswith(_SRV_SCHEME),
    )
