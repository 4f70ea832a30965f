"""Every address, port and path that a setting can hold, checked in one place and in words that quote no secret.

A check takes the text and returns it, or raises ValueError with a sentence for an operator. MongoDB URIs and URLs may
hold passwords and tokens: of those nothing is repeated but the names of options the driver knows.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, TypeAdapter
from pymongo import uri_parser
from pymongo.errors import PyMongoError

_PLAIN: Final = "mongodb://"
_SCHEMES: Final = (_PLAIN, "mongodb+srv://")
# All that the driver raises for a URI; a file that an option names may be missing.
_UNUSABLE: Final = (PyMongoError, ValueError, TypeError, LookupError, OSError)
_LARGEST_PORT: Final = 65_535
_MOST_QUOTED: Final = 80
# Each role holds a connection for its change stream while others write: with fewer, all would wait for each other.
_SMALLEST_POOL: Final = 10
# A name as DNS and container networks have it; underscores are not DNS, but Compose makes them.
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")
_ZONE: Final = re.compile(r"[A-Za-z0-9_.-]+")
_ESCAPE: Final = (
    "a character of user or password that means something in a URI (: / ? # [ ] @ %) must be percent-encoded"
)
_NO_HOST: Final = "it names no host that can be used"
_HTTP: Final[TypeAdapter[AnyHttpUrl]] = TypeAdapter(AnyHttpUrl)


def mongodb_uri(text: str) -> str:
    """A URI that the driver can use, with a pool that lets all roles move."""
    parsed = parsed_mongodb_uri(text)
    pool = parsed["options"].get("maxPoolSize")
    if pool is not None and 0 < pool < _SMALLEST_POOL:
        raise ValueError(
            f"maxPoolSize={pool} is too small: the roles would wait for each other's connections; "
            f"{_SMALLEST_POOL} is the least, and without the option it is 100"
        )
    return text


def parsed_mongodb_uri(text: str) -> Mapping[str, Any]:
    """The URI's parts as the driver reads them (`nodelist`, `username`, `options` ...); no name server is asked.

    Of `mongodb+srv://` the one host stands in `nodelist`, as if it were a server.
    """
    scheme = next((scheme for scheme in _SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(f"must begin with {' or '.join(_SCHEMES)}")
    before, _, query = text.removeprefix(scheme).partition("?")
    hosts, _, path = before.partition("/")
    if "@" in path + query:
        raise ValueError(_ESCAPE)
    try:
        named = uri_parser.parse_uri(f"{_PLAIN}{hosts}/")
    except _UNUSABLE as error:
        raise ValueError(_about_hosts(str(error))) from None
    _assert_hosts(name for name, _ in named["nodelist"])
    if scheme != _PLAIN and any(mark in hosts.rpartition("@")[2] for mark in ":,"):
        raise ValueError("mongodb+srv:// names one host, without a port")
    pairs = [pair for pair in re.split("[&;]", query) if pair]
    kept = [pair for pair in pairs if scheme == _PLAIN or not pair.lower().startswith("srv")]
    for pair in kept:
        _assert_option(pair)
    try:
        return uri_parser.parse_uri(f"{_PLAIN}{hosts}/{path}?{'&'.join(kept)}")
    except _UNUSABLE:
        raise ValueError("its options contradict each other, or its database's name cannot be one") from None


def _assert_hosts(names: Iterable[str]) -> None:
    for name in names:
        try:
            if not name.startswith("/"):  # a socket in the file system
                host(name)
        except ValueError:
            raise ValueError(_NO_HOST) from None


def _assert_option(pair: str) -> None:
    try:
        uri_parser.parse_uri(f"{_PLAIN}host/?{pair}")
    except _UNUSABLE:
        name = pair.partition("=")[0]
        hint = ": is the file there?" if name.lower().endswith("file") else ""
        raise ValueError(f"the option {_known(name)} cannot be used{hint}") from None


def _about_hosts(sentence: str) -> str:
    """What is wrong with user or hosts, by the driver's sentence and without its quotations."""
    if "escaped" in sentence or "Port" in sentence:
        return f"a port is a number from 1 to {_LARGEST_PORT}, and {_ESCAPE}"
    if "IPv6" in sentence:
        return "an IPv6 address stands in [ and ]"
    return _NO_HOST


def _known(name: str) -> str:
    """The option's name where it can be nothing but that."""
    return name if re.fullmatch("[A-Za-z_]{1,40}", name) else "behind the ?"


def brokers(text: str) -> str:
    """`host:port`, separated by commas."""
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    if not addresses:
        raise ValueError("name at least one broker, host:port")
    for address in addresses:
        name, separator, digits = address.rpartition(":")
        if not separator:
            raise ValueError(f"{_quoted(address)} has no port: write host:port, separated by commas")
        _port(digits, address)
        host(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    return ",".join(addresses)


def _quoted(text: str) -> str:
    """A mistyped value as a message may show it: where a URL was meant, a password may stand before its @."""
    _, at, rest = text.rpartition("@")
    return _visible(f"...{at}{rest}" if at else text)


def _visible(text: str) -> str:
    return ascii(text[:_MOST_QUOTED])[1:-1]


def _port(digits: str, address: str) -> None:
    if not (digits.isascii() and digits.isdecimal() and 1 <= int(digits) <= _LARGEST_PORT):
        raise ValueError(f"the port of {_quoted(address)} is not a number from 1 to {_LARGEST_PORT}")


def host(text: str) -> str:
    """A host's name or IP address, without scheme and port."""
    if not _is_address(text) and (not _HOST_NAME.fullmatch(text) or len(text) > 253):
        raise ValueError(
            f"'{_quoted(text)}' is not the name or address of a host (without scheme, port and spaces)"
        )
    return text


def _is_address(text: str) -> bool:
    address, percent, zone = text.partition("%")
    try:
        ip_address(address)
    except ValueError:
        return False
    return bool(_ZONE.fullmatch(zone)) if percent else True


def http_url(text: str) -> str:
    """An http or https URL with a host."""
    try:
        # The first looks at every part; but it forgives a missing host, and takes the path for one.
        url, parts = _HTTP.validate_python(text), urlsplit(text)
        whole = bool(parts.hostname) and url.port != 0
    except ValueError:  # pydantic's error is one, too
        whole = False
    if not whole:
        raise ValueError(f"is not an http or https URL with a host, and a port from 1 to {_LARGEST_PORT}")
    return text


def mail_address(text: str) -> str:
    """One plain address."""
    if plain_address(text) is None:
        shown = _quoted(text) if ":" in text else _visible(text)
        raise ValueError(f"'{shown}' is not one plain mail address")
    return text


def plain_address(text: str) -> ValidatedEmail | None:
    """The parts of a text that is one mail address and nothing else, or None; no name server is asked."""
    try:
        return validate_email(text, check_deliverability=False, globally_deliverable=False, strict=True)
    except EmailNotValidError:
        return None


def topic(text: str) -> str:
    """A topic's name, its characters aside; Kafka knows no `.` and `..`."""
    if text in {".", ".."}:
        raise ValueError("a topic cannot have this name")
    return text


def file(path: Path) -> Path:
    """A file, not a folder; one that is not there, or may not be read, is told by whoever opens it."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    return path


def of_secret(check: Callable[[str], str]) -> Callable[[SecretStr], SecretStr]:
    """The check for a text that is a secret."""

    def checked(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return checked


File = Annotated[Path, AfterValidator(file)]
Host = Annotated[str, AfterValidator(host)]
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$"), AfterValidator(topic)]
