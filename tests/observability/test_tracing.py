"""A picture's way as a trace: from the caller's own span over the call and the job to the service, and what is not told on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_image_server import telemetry
from mcp_image_server.surfaces.tracing import is_wanted, tracing
from tests.fakes.openai import FakeOpenAI
from tests.fakes.server import Server
from tests.transports.server_process import Piped, Served

TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = "a most unusual walrus"


class Collector(Server):
    """A server that takes spans over OTLP, and says nothing."""

    def __init__(self) -> None:
        async def take(_: Request) -> Response:
            return Response(b"", media_type="application/x-protobuf")

        super().__init__(Starlette(routes=[Route("/v1/traces", take, methods=["POST"])]))

    @property
    def spans(self) -> list[dict[str, Any]]:
        """What came in, in plain values."""
        proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        bodies = [proto.ExportTraceServiceRequest.FromString(seen.body) for seen in self.seen]
        resources = [resource for body in bodies for resource in body.resource_spans]
        return [
            plain(span, values(each.resource.attributes)["service.name"]) for each in resources for scope in each.scope_spans for span in scope.spans
        ]


def plain(span: Any, service: str) -> dict[str, Any]:
    ids = {"trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex()}
    return {"service": service, "name": span.name, **ids, "kind": span.kind, "failed": span.status.code == 2, **values(span.attributes)}


def values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no signal that ends a server in order")
def test_a_picture_is_one_trace_from_the_caller_to_the_service(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is not installed")
    with Collector() as collector, FakeOpenAI() as fake:
        assert fake.key is not None
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OPENAI_API_KEY": fake.key, "OPENAI_BASE_URL": fake.base_url}
        with Served(tmp_path, **settings) as server:
            first = called(server.url, {"prompt": PROMPT, "provider": "openai", "wait_seconds": 30})
            assert first.status_code == 200
            assert '"state": "succeeded"' in first.text.replace("\\", "")
            called(server.url, {"prompt": PROMPT, "resolution": "huge"})
            assert httpx2.get(f"{server.url}/ready", trust_env=False, timeout=60).status_code == 200
            server.process.terminate()
            assert (server.process.communicate(timeout=60)[1].count(b"Traceback"), server.process.returncode) == (0, 0)
    spans = collector.spans
    (asked, asked_badly), (tool, bad_tool), (job,), (call,) = (
        [span for span in spans if span["name"] == name]
        for name in ("POST /mcp", "tools/call generate_image", f"generate_content {model_in(spans)}", "POST")
    )
    assert {(span["service"], span["trace"]) for span in spans} == {("image-gen-mcp-server", TRACE)}
    assert [span["parent"] for span in (asked, tool, job, call)] == [CALLER_SPAN, asked["id"], tool["id"], job["id"]]
    assert [span["kind"] for span in (asked, tool, job, call)] == [2, 2, 3, 3]
    assert (job["gen_ai.provider.name"], job["gen_ai.output.type"], job["gen_ai.request.choice.count"]) == ("openai", "image", 1)
    assert (call["server.address"], call["url.full"]) == ("127.0.0.1", f"{fake.base_url}/images/generations")
    assert (call["http.response.status_code"], asked["http.route"], asked["http.response.status_code"]) == (200, "/mcp", 200)
    assert [span["failed"] for span in (tool, bad_tool, job, asked_badly)] == [False, True, False, False]
    told = repr(spans)
    assert PROMPT not in told
    assert fake.key not in told
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for seen in fake.seen for name in seen.headers}


def called(url: str, arguments: Mapping[str, Any]) -> httpx2.Response:
    """The answer to a call of generate_image, in a trace of the caller's own."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    return httpx2.post(
        f"{url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate_image", "arguments": arguments, "_meta": meta}},
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "generate_image",
            "traceparent": f"00-{TRACE}-{CALLER_SPAN}-01",
        },
        trust_env=False,
        timeout=60,
    )


def model_in(spans: list[dict[str, Any]]) -> str:
    return str(next(span["gen_ai.request.model"] for span in spans if "gen_ai.request.model" in span))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no signal that ends a server in order")
def test_a_server_on_a_pipe_sends_its_spans_when_it_ends(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is not installed")
    with Collector() as collector:
        with Piped(tmp_path, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces", OTEL_SERVICE_NAME="atelier") as server:
            server.handshake()
            server.call(1, "list_models")
            server.close()
        assert ("atelier", "tools/call list_models") in {(span["service"], span["name"]) for span in collector.spans}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_usual_variables_decide_whether_there_are_traces(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


def test_a_protocol_that_is_not_spoken_is_said_and_nothing_is_sent(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # so that it is gone afterwards
    with tracing(environment):
        assert "only http/protobuf is spoken here" in caplog.text


def test_where_nobody_traces_a_span_is_nothing() -> None:
    with telemetry.span("work", attributes={"a": 1}) as span:
        span.note({"b": 2})
        span.rename("other work")
        span.fail("broken")
        assert telemetry.trace_ids() is None


def test_a_scene_is_gone_on_with_elsewhere() -> None:
    with telemetry.about(request_id="r1"):
        kept = telemetry.scene()
    assert telemetry.scene().request_id == ""
    with telemetry.about(principal="somebody else"), telemetry.within(kept), telemetry.about(job_id="j1"):
        assert (telemetry.scene().request_id, telemetry.scene().principal, telemetry.scene().job_id) == ("r1", "", "j1")
    assert telemetry.scene() == telemetry.Scene()
