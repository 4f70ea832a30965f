"""How brokers are spoken to: settings as the arguments every aiokafka client takes, and why a broker says no."""

import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn
from pydantic import SecretStr

from worker.errors import Misconfigured, Retryable
from worker.settings import KafkaSettings, variable
from worker.settings.certificates import context, not_accepted
from worker.words import in_words

# One connection with its TLS handshake and login: below the limit of a probe.
_CONNECT_LIMIT_MS = 5_000


def kafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Security arguments for consumer, producer and probe. Raises `Misconfigured` for a file that cannot be used."""
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if kafka.security_protocol.endswith("SSL"):
        password = _plain(kafka.key_password) or ""
        options["ssl_context"] = context("kafka", kafka.ca_file, kafka.cert_file, kafka.key_file, password)
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = _plain(kafka.sasl_password)
    return options


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


async def diagnose_connection(
    bootstrap_servers: str, options: Mapping[str, Any]
) -> Misconfigured | Retryable | None:
    """Why no broker talks to us, asked of each: the first reason that waiting cannot heal, else the last one.

    None when one does talk. For use when a client could not connect: aiokafka's clients log the reason and raise
    an error without it.
    """
    reason: Misconfigured | Retryable | None = None
    for host, port, _ in collect_hosts(bootstrap_servers, randomize=False):
        try:
            connection = await create_conn(host, port, request_timeout_ms=_CONNECT_LIMIT_MS, **options)
        except (errors.KafkaError, OSError) as error:  # TimeoutError is an OSError
            reason = _meaning(error, f"{host}:{port}", options)
            if isinstance(reason, Misconfigured):
                return reason
        else:
            connection.close()
            return None
    return reason


def _meaning(error: Exception, broker: str, options: Mapping[str, Any]) -> Misconfigured | Retryable:
    match error:
        case ssl.SSLCertVerificationError():
            return not_accepted("kafka", broker, error.verify_message)
        case errors.SaslAuthenticationFailed():
            return Misconfigured(
                f"the Kafka broker at {broker} does not let '{options['sasl_plain_username']}' in by "
                f"{options['sasl_mechanism']}: look at {variable('kafka_sasl_username')}, "
                f"{variable('kafka_sasl_password')} and {variable('kafka_sasl_mechanism')}"
            )
        case errors.UnsupportedSaslMechanismError():
            return Misconfigured(
                f"the Kafka broker at {broker} does not offer {options['sasl_mechanism']}: "
                f"look at {variable('kafka_sasl_mechanism')}"
            )
        case errors.IllegalSaslStateError():
            return Misconfigured(
                f"the Kafka broker at {broker} lets nobody log in there: "
                f"look at {variable('kafka_security_protocol')} and {variable('kafka_bootstrap_servers')}"
            )
        case ConnectionRefusedError() | TimeoutError():
            return Retryable(f"no broker answers at {broker} ({in_words(error)})")
    # A broker that is being stopped hangs up as well: only time can tell.
    return Retryable(
        f"{broker} hangs up ({in_words(error)}): does it speak {options['security_protocol']} there, and does "
        f"it accept this worker's certificate? {variable('kafka_security_protocol')}, {variable('kafka_cert_file')}"
    )
