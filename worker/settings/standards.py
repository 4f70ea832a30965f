"""Variables of the environment that are not ours, but standards that every program heeds."""

import os
from collections.abc import Mapping
from typing import Final, Literal

from worker.errors import Misconfigured

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

SpanProtocol = Literal["http/protobuf", "grpc"]
"""How spans travel to a collector."""


def colours_allowed(environment: Mapping[str, str] | None = None) -> bool:
    """False where `NO_COLOR` holds anything (no-color.org), or the terminal can show none."""
    variables = os.environ if environment is None else environment
    return not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def traces_asked_for(environment: Mapping[str, str] | None = None) -> SpanProtocol | None:
    """How to send spans, where the variables of OpenTelemetry ask for any; None where they do not.

    They do by `OTEL_TRACES_EXPORTER=otlp`, or by an endpoint; not by anything else, and never with
    `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`. Raises Misconfigured for a way that there is not.
    """
    variables = os.environ if environment is None else environment
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    disabled = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporter == "none" or not (exporter or any(map(variables.get, _ENDPOINTS))):
        return None
    if exporter not in ("", "otlp"):
        raise Misconfigured(f"OTEL_TRACES_EXPORTER={exporter} is not supported: use otlp, or none")
    match next(filter(None, map(variables.get, _PROTOCOLS)), "http/protobuf").strip().lower():
        case "http/protobuf":
            return "http/protobuf"
        case "grpc":
            return "grpc"
        case other:
            raise Misconfigured(
                f"spans do not travel by {other!r}: use http/protobuf or grpc ({_PROTOCOLS[1]})"
            )
