"""What is sent to Kafka and MongoDB is encrypted and addressed to the right one, or somebody decided otherwise.

A half of a pair (a user without a password, a key without its certificate, a login on a connection that does not
log in) is refused: the other half was meant, and the worker would run less protected than its operator believes.
"""

from typing import TYPE_CHECKING

from worker.settings.hosts import MongoAddress, hosts_of, is_loopback, mongo_address
from worker.settings.names import variable

if TYPE_CHECKING:  # the model calls these checks while it is made
    from worker.settings.model import Settings

_TLS_ONLY = ("kafka_ca_file", "kafka_cert_file", "kafka_key_file", "kafka_key_password")
_LOGIN_ONLY = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")


def assert_wire_is_secured(settings: "Settings") -> None:
    """Raise ValueError, which names the variables, for half a configuration or plaintext that leaves the machine."""
    address = mongo_address(settings.mongodb_uri.get_secret_value())
    _assert_kafka_is_whole(settings)
    _assert_mongodb_is_whole(settings, address)
    if not settings.allow_plaintext:
        _assert_kafka_is_private(settings)
        _assert_mongodb_is_private(settings, address)


def _assert_kafka_is_whole(settings: "Settings") -> None:
    protocol = settings.kafka_security_protocol
    said = f"{variable('kafka_security_protocol')} {protocol}"
    if protocol.startswith("SASL"):
        missing = [
            name for name in ("kafka_sasl_username", "kafka_sasl_password") if not _given(settings, name)
        ]
        if missing:
            raise ValueError(f"{said} needs {_all(missing)}")
    elif idle := [name for name in _LOGIN_ONLY if _given(settings, name)]:
        other = "SASL_SSL" if protocol == "SSL" else "SASL_SSL, or SASL_PLAINTEXT"
        raise ValueError(f"{_all(idle)} would not be used: {said} does not log in; {other} does")
    if not protocol.endswith("SSL"):
        if idle := [name for name in _TLS_ONLY if _given(settings, name)]:
            other = "SASL_SSL" if protocol.startswith("SASL") else "SSL or SASL_SSL"
            raise ValueError(f"{_all(idle)} would not be used: {said} has no TLS; {other} has")
        return
    for name, other in (
        ("kafka_cert_file", "kafka_key_file"),
        ("kafka_key_file", "kafka_cert_file"),
        ("kafka_key_password", "kafka_key_file"),
    ):
        _assert_both(settings, name, other)


def _assert_mongodb_is_whole(settings: "Settings", address: MongoAddress) -> None:
    _assert_both(settings, "mongodb_username", "mongodb_password")
    _assert_both(settings, "mongodb_password", "mongodb_username")
    _assert_both(settings, "mongodb_auth_source", "mongodb_username")
    uri = variable("mongodb_uri")
    if _given(settings, "mongodb_username") and address.user:
        raise ValueError(
            f"{uri} names a user, and {variable('mongodb_username')} does, too: one of them must go"
        )
    if not _given(settings, "mongodb_ca_file"):
        return
    ca_file = variable("mongodb_ca_file")
    if address.tls is False:
        raise ValueError(f"{ca_file} turns TLS on, {uri} turns it off: one of them must go")
    if "tlscafile" in address.options:
        raise ValueError(f"{uri} has tlsCAFile, and {ca_file} is set, too: one of them must go")


def _assert_kafka_is_private(settings: "Settings") -> None:
    if settings.kafka_security_protocol.endswith("SSL"):
        return
    elsewhere = [host for host in hosts_of(settings.kafka_bootstrap_servers) if not is_loopback(host)]
    if elsewhere:
        raise ValueError(
            f"{variable('kafka_bootstrap_servers')} names {elsewhere[0]}, which is not this machine, and "
            f"{variable('kafka_security_protocol')} {settings.kafka_security_protocol} would send everything to it "
            f"unencrypted: set it to SSL or SASL_SSL, or {_switch()}"
        )


def _assert_mongodb_is_private(settings: "Settings", address: MongoAddress) -> None:
    if address.elsewhere is None:
        return
    uri = variable("mongodb_uri")
    if not (address.tls or _given(settings, "mongodb_ca_file")):
        raise ValueError(
            f"{uri} names {address.elsewhere}, which is not this machine, and everything would be sent to it "
            f"unencrypted: add tls=true to it or set {variable('mongodb_ca_file')}, or {_switch()}"
        )
    if address.unchecked is not None:
        raise ValueError(
            f"{uri} has {address.unchecked}: whoever answers for {address.elsewhere} would be believed; "
            f"take it out and set {variable('mongodb_ca_file')}, or {_switch()}"
        )


def _switch() -> str:
    return f"allow it by {variable('allow_plaintext')}=true"


def _assert_both(settings: "Settings", name: str, other: str) -> None:
    if _given(settings, name) and not _given(settings, other):
        raise ValueError(f"{variable(name)} needs {variable(other)}")


def _given(settings: "Settings", name: str) -> bool:
    """True for a setting that somebody set, and not to nothing."""
    return name in settings.model_fields_set and bool(getattr(settings, name))


def _all(names: list[str]) -> str:
    return " and ".join(variable(name) for name in names)
