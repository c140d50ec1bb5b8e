"""Traces for OpenTelemetry, where the operator's OTEL_* variables ask for them. Without those nothing is imported."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from .. import __version__
from ..settings import Environment

log = logging.getLogger(__name__)

PLACES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Either of them says where traces go, and so switches them on."""

PROTOCOL = "http/protobuf"
"""The one that the extra `otel` brings."""

PATIENCE = 3.0
"""Seconds."""

SERVICE = "image-gen-mcp-server"


def is_wanted(environment: Environment) -> bool:
    """Whether the variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return False
    return any(environment.get(name) for name in PLACES)


@contextmanager
def tracing(environment: Environment) -> Iterator[None]:
    """While the block lasts, spans go where the OTEL_* variables say; at its end those that are left are sent. Where nobody asked, nothing happens.

    A tracer provider that somebody else has set up for this process stays as it is.
    """
    provider = _provider(environment) if is_wanted(environment) else None
    try:
        yield
    finally:
        if provider is not None:
            send_what_is_left()


def send_what_is_left() -> None:
    """Sends the spans that are left, for a process that is about to end; a collector that does not answer keeps it no longer than `PATIENCE`."""
    trace = sys.modules.get("opentelemetry.trace")
    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None) if trace is not None else None
    if shutdown is not None:
        sending = threading.Thread(target=shutdown, daemon=True)
        sending.start()
        sending.join(PATIENCE)


def _provider(environment: Environment) -> Any:
    for name, value in environment.items():  # those of the .env file too: the SDK looks at the process alone
        if name.startswith("OTEL_"):
            os.environ.setdefault(name, value)
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL)
    if protocol != PROTOCOL:
        log.warning("No traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL is %s, and only %s is spoken here.", protocol, PROTOCOL)
        return None
    try:
        trace = import_module("opentelemetry.trace")
        sdk = import_module("opentelemetry.sdk.trace")
        exporting = import_module("opentelemetry.sdk.trace.export")
        resources = import_module("opentelemetry.sdk.resources")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        log.warning("No traces are sent, although OTEL_* variables ask for them: install image-gen-mcp-server[otel].")
        return None
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": __version__, **({} if named else {"service.name": SERVICE})}
    provider = sdk.TracerProvider(resource=resources.Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(exporting.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    if trace.get_tracer_provider() is not provider:
        log.warning("Traces go where this process was set up to send them before; what OTEL_* variables say is left alone.")
    return provider
