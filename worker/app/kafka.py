"""How brokers are spoken to: settings as the arguments every aiokafka client takes."""

import ssl
from typing import Any

from worker.errors import Misconfigured
from worker.settings import Settings, variable


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Security arguments for consumer, producer and probe. Raises `Misconfigured` for a bad certificate file."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        password = settings.kafka_sasl_password
        options["sasl_plain_password"] = password.get_secret_value() if password is not None else None
    return options


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.kafka_ca_file)
    except OSError as error:
        raise Misconfigured(
            f"{variable('kafka_ca_file')} {settings.kafka_ca_file} cannot be used: {error.strerror or error}"
        ) from error
