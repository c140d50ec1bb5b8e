"""What is counted, timed and traced, and what a line of the log is about. Nobody here knows who listens; while nobody does, nothing costs anything.

Names and units are those of Prometheus: seconds, bytes, `_total`. Labels take few values: never a prompt, a path, an id or a principal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from .errors import ImageServerError

# ---------------------------------------------------------------------- counting


class Counter:
    """Something that only grows."""

    def __init__(self, name: str, words: str, *labels: str) -> None:
        self.name, self.words, self.labels = name, words, labels

    def add(self, amount: float = 1, **labels: str) -> None:
        """So much more of it."""
        for listener in _listeners:
            listener.added(self, amount, labels)


class Histogram:
    """Something that takes time.

    Args:
        buckets: upper bounds in seconds.
    """

    def __init__(self, name: str, words: str, *labels: str, buckets: tuple[float, ...]) -> None:
        self.name, self.words, self.labels, self.buckets = name, words, labels, buckets

    def observe(self, seconds: float, **labels: str) -> None:
        """It took so long, once."""
        for listener in _listeners:
            listener.observed(self, seconds, labels)


class Listener(Protocol):
    """Who wants to know the numbers."""

    def added(self, counter: Counter, amount: float, labels: Mapping[str, str]) -> None:
        """So much more."""
        ...

    def observed(self, histogram: Histogram, seconds: float, labels: Mapping[str, str]) -> None:
        """So long, once."""
        ...


_listeners: tuple[Listener, ...] = ()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While the block lasts, the listener is told of everything that is counted in this process."""
    global _listeners
    _listeners = (*_listeners, listener)
    try:
        yield
    finally:
        _listeners = tuple(each for each in _listeners if each is not listener)


_DRAWING = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_ANSWERING = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

JOBS_ENDED = Counter(
    "mcp_image_jobs_ended_total",
    "Jobs that ended in this process, by what became of them: succeeded, cancelled, or the code of the failure.",
    "provider",
    "model",
    "outcome",
)
JOBS_PUT_BACK = Counter("mcp_image_jobs_put_back_total", "Times that a job went back in line because its service surely did not take it.", "provider")
JOB_SECONDS = Histogram(
    "mcp_image_job_duration_seconds", "Time from when a job was let out of line until its end.", "provider", "outcome", buckets=_DRAWING
)
QUEUE_SECONDS = Histogram("mcp_image_job_queue_seconds", "Time that a job stood in line before it was begun.", "provider", buckets=(0.1, *_DRAWING))
IMAGES = Counter("mcp_image_images_total", "Pictures that were drawn and stored.", "provider", "model")
STORED_BYTES = Counter("mcp_image_stored_bytes_total", "Bytes of pictures and thumbnails written to the store.", "provider")
COST = Counter(
    "mcp_image_cost_total",
    "Money in units of its currency. The source tells how it is known: reported, list_price, or possible where a failure may have been billed.",
    "provider",
    "currency",
    "source",
)
REFUSALS = Counter("mcp_image_refusals_total", "Requests that a limit of this server refused, by error code.", "code")
UPSTREAM_SECONDS = Histogram(
    "mcp_image_upstream_request_duration_seconds",
    "Time of single calls to services until the whole answer was there. draw: may cost money; ask: free; download: a picture; listen: a WebSocket. "
    "The status is that of HTTP, or none where no answer came.",
    "provider",
    "operation",
    "status",
    buckets=_ANSWERING,
)
HTTP_SECONDS = Histogram(
    "mcp_image_http_request_duration_seconds",
    "Time of HTTP requests to this server until the whole answer was sent, by route template; route is `none` where the gate or the router refused.",
    "route",
    "method",
    "status",
    buckets=_ANSWERING,
)
HTTP_SENT_BYTES = Counter("mcp_image_http_response_bytes_total", "Bytes of bodies sent over HTTP, by route template.", "route")
TOOL_SECONDS = Histogram(
    "mcp_image_tool_duration_seconds",
    "Time of calls to MCP tools. The outcome is ok, the code of an error, failed where there is none, question where a person is asked first, or broken_off.",
    "tool",
    "outcome",
    buckets=_ANSWERING,
)

MEASURES: tuple[Counter | Histogram, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Counter | Histogram))
"""Everything that is counted or timed."""


# ---------------------------------------------------------------------- what is going on


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is going on: stands in each line of the log, and can be gone on with later and elsewhere."""

    request_id: str = ""
    """Of the HTTP request."""
    job_id: str = ""
    principal: str = ""
    trace: Any = field(default=None, repr=False, compare=False)
    """OpenTelemetry's own context, where it is used."""


_scene: ContextVar[Scene] = ContextVar("scene", default=Scene())  # noqa: B039 - frozen


def scene() -> Scene:
    """What is going on now."""
    context = _loaded("opentelemetry.context")
    return replace(_scene.get(), trace=context.get_current() if context is not None else None)


@contextmanager
def within(now: Scene) -> Iterator[None]:
    """While the block lasts, this is what is going on, and spans belong to its trace. `within(Scene())`: nothing in particular."""
    context = _loaded("opentelemetry.context")
    before, trace = _scene.set(now), context.attach(now.trace or context.Context()) if context is not None else None
    try:
        yield
    finally:
        if context is not None:
            context.detach(trace)
        _scene.reset(before)


@contextmanager
def about(**changes: str) -> Iterator[None]:
    """While the block lasts, lines of the log say this as well."""
    before = _scene.set(replace(_scene.get(), **changes))
    try:
        yield
    finally:
        _scene.reset(before)


# ---------------------------------------------------------------------- spans

Attributes = Mapping[str, str | int | float | bool]


class Span:
    """A piece of work on its way into a trace, or, where nobody traces, nothing."""

    def __init__(self, own: Any = None) -> None:
        self._own = own

    def note(self, attributes: Attributes) -> None:
        """What is known of it by now."""
        if self._own is not None:
            self._own.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """It is called that after all."""
        if self._own is not None:
            self._own.update_name(name)

    def fail(self, code: str) -> None:
        """It went wrong in that way. Words are left out: they may speak of what was asked for."""
        if self._own is not None:
            self._own.set_attribute("error.type", code)
            self._own.set_status(_loaded("opentelemetry.trace").StatusCode.ERROR)


@contextmanager
def span(
    name: str,
    *,
    kind: Literal["internal", "client", "server"] = "internal",
    attributes: Attributes | None = None,
    carrier: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """A span while the block lasts, wherever the process has an OpenTelemetry tracer provider, whoever set it up.

    Args:
        carrier: headers from elsewhere (`traceparent`) whose trace it belongs to.
    """
    trace = _loaded("opentelemetry.trace")
    if trace is None:
        yield Span()
        return
    propagate = _loaded("opentelemetry.propagate")
    options = {
        "kind": trace.SpanKind[kind.upper()],
        "attributes": attributes,
        "context": propagate.extract(carrier) if carrier and propagate is not None else None,
        "record_exception": False,
        "set_status_on_exception": False,
    }
    with trace.get_tracer("mcp_image_server").start_as_current_span(name, **options) as own:
        begun = Span(own)
        try:
            yield begun
        except ImageServerError as error:
            begun.fail(error.code)
            raise
        except Exception as error:
            begun.fail(type(error).__qualname__)
            raise


@contextmanager
def no_span() -> Iterator[Span]:
    """In place of a span, for what is not worth one."""
    yield Span()


def trace_ids() -> tuple[str, str] | None:
    """The ids of the trace and of the span under way, in hexadecimal; None outside of any."""
    trace = _loaded("opentelemetry.trace")
    found = trace.get_current_span().get_span_context() if trace is not None else None
    return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found is not None and found.is_valid else None


def _loaded(module: str) -> Any:
    """The module, if anybody has imported it: without that nobody can have set up a tracer, and importing it for nothing would take a start's time."""
    return sys.modules.get(module)
