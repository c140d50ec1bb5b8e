"""The log: what each line tells, and that none tells a secret."""

from __future__ import annotations

import base64
import io
import json
import logging
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from mcp_image_server import telemetry
from mcp_image_server.models import ImageRequest, Size
from mcp_image_server.redaction import redacted, remember
from mcp_image_server.settings import SECRET_WORDS
from mcp_image_server.studio import open_studio
from mcp_image_server.surfaces.logs import Lines, Sentences
from tests.fakes.services import PLACES
from tests.transports.server_process import Served
from tests.web import CALLER, web

pytestmark = pytest.mark.anyio


@contextmanager
def heard(formatter: logging.Formatter, level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, written as the formatter does."""
    text, root = io.StringIO(), logging.getLogger()
    handler, before = logging.StreamHandler(text), root.level
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def record(words: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    return logging.LogRecord("a.logger", logging.WARNING, "", 0, words, args, (type(error), error, None) if error else None)


def test_a_line_of_json_tells_what_it_is_about_and_leaves_out_what_is_not_known() -> None:
    told = json.loads(Lines().format(record("Drawn: %s\nand more", "狐狸")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {"level": "WARNING", "logger": "a.logger", "message": "Drawn: 狐狸\nand more"}
    with telemetry.about(request_id="r1", job_id="j1", principal="alice"):
        line = Lines().format(record("Broke", error=ValueError("it is Bearer abcdef123456")))
    assert "\n" not in line
    told = json.loads(line)
    assert (told["request_id"], told["job_id"], told["principal"]) == ("r1", "j1", "alice")
    assert told["error"] == "ValueError: it is Bearer ***"


def test_a_sentence_tells_what_it_is_about_behind_it() -> None:
    with telemetry.about(request_id="r1", job_id="j1"):
        line = Sentences().format(record("Drawn"))
    assert line.partition(" WARNING ")[2] == "a.logger: Drawn [request=r1 job=j1]"
    assert Sentences().format(record("Drawn")).endswith("a.logger: Drawn")


def test_secrets_are_taken_out_in_each_form_they_may_have(tmp_path: Path) -> None:
    secret = 'pa/ss+wo"rd=' + random.Random(7).randbytes(8).hex()
    (tmp_path / "key.pem").write_text("")
    remember({"ACME_API_KEY": secret, "ACME_TOKENS": json.dumps({"a": [secret[::-1]]}), "ACME_KEY": str(tmp_path / "key.pem"), "ACME_TOKEN": "short"})
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], secret[::-1]):
        assert redacted(f"<{form}>") == "<***>"
    assert redacted(f"{tmp_path / 'key.pem'} is short") == f"{tmp_path / 'key.pem'} is short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("{'authorization': 'Key 0123456:789abc'}", "{'authorization': '***'}"),
        ("(b'x-api-key', b'0123456789')", "(b'x-api-key', b'***')"),
        ('{"api_key": "0123456789", "model": "m"}', '{"api_key": "***", "model": "m"}'),
        ("GET /images/a.png?expires=1&signature=abc123 HTTP/1.1", "GET /images/a.png?expires=1&signature=*** HTTP/1.1"),
        ("https://s3/x.png?X-Amz-Signature=abc&X-Amz-Date=1", "https://s3/x.png?X-Amz-Signature=***&X-Amz-Date=1"),
        ("postgresql://me:pass@host/db", "postgresql://me:***@host/db"),
        ("the token mis_0123456789abcdef", "the token mis_***"),
        ("a basic red fox, bearer of tokens: 3 keys", "a basic red fox, bearer of tokens: 3 keys"),
        ("http://127.0.0.1:8000/mcp?state=4@5", "http://127.0.0.1:8000/mcp?state=4@5"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_plain_words_are_not(text: str, shown: str) -> None:
    assert redacted(text) == shown


async def test_with_all_keys_configured_and_everything_logged_no_key_appears(tmp_path: Path) -> None:
    """Every service is asked, some draw, the client's own loggers tell all they know, and somebody logs the very environment."""
    environment: dict[str, str] = {"MCP_AUTH_TOKEN": "auth-" + "0123456789", "MCP_SECRET": "server-secret-" + "x" * 32, "MCP_DEBUG": "true"}
    with ExitStack() as stack, heard(Lines()) as text, heard(Sentences()) as sentences:
        for place in PLACES.values():
            environment |= place.variables(stack.enter_context(place.fake()))
        folders = {
            "MCP_DATA_DIR": str(tmp_path / "data"),
            "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"),
            "MCP_RETRIES": "0",
            "MCP_JOB_TIMEOUT": "20",
        }
        for chatty in ("httpx2", "httpcore2", "mcp", "aiosqlite"):
            logging.getLogger(chatty).setLevel(logging.DEBUG)
        try:
            async with open_studio({**environment, **folders}) as studio, anyio.create_task_group() as tasks:
                async for check in studio.upkeep.doctor(CALLER):  # asks every service
                    logging.getLogger("doctor").info("%s: %s", check.name, check.words)
                for provider in ("openai", "hunyuan", "webui"):
                    request = ImageRequest(prompt="a cat", provider=provider, shape=Size(width=1024, height=1024))
                    tasks.start_soon(lambda wanted=request: studio.generate(CALLER, wanted, wait_seconds=20))  # type: ignore[misc]
                logging.getLogger("careless").error("%s", environment)
        finally:
            for chatty in ("httpx2", "httpcore2", "mcp", "aiosqlite"):
                logging.getLogger(chatty).setLevel(logging.NOTSET)
    written = text.getvalue() + sentences.getvalue()
    assert len(written) > 10_000, "something was logged"
    assert shown_in(written, environment) == []


def shown_in(text: str, environment: Mapping[str, str]) -> list[str]:
    """Variables with a secret that can be read in the text, plainly or as a password of HTTP."""
    secrets = {name: value for name, value in environment.items() if any(word in name for word in SECRET_WORDS)}
    assert len(secrets) >= len(PLACES) - 2
    forms = {name: (value, quote(value, safe=""), base64.b64encode(value.encode()).decode()) for name, value in secrets.items()}
    return [name for name, values in forms.items() if any(form in text for form in values)]


async def test_a_request_has_an_id_that_goes_back_into_the_log_and_into_the_job(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_ACCESS_LOG": "true"}) as site:
        with heard(Lines()) as text:
            await site.rpc("tools/call", {"name": "generate_image", "arguments": {"prompt": "a cat"}}, headers={"x-request-id": "from-a-proxy.1"})
            for given in ("", "no id", "x" * 200):
                answer = await site.client.get("/health", headers={"x-request-id": given})
                assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
            assert (await site.client.get("/?q=secret+words", headers={"x-request-id": "abc"})).headers["x-request-id"] == "abc"
        lines = [json.loads(line) for line in text.getvalue().splitlines()]
    access = [(line["level"], line["request_id"], line["message"]) for line in lines if line["logger"] == "mcp_image_server.access"]
    assert [(level, request, re.sub(r"\d+ bytes \d+ ms", "…", words)) for level, request, words in access if len(request) < 15] == [
        ("INFO", "from-a-proxy.1", "POST /mcp 200 …"),
        ("INFO", "abc", "GET / 200 …"),
    ]
    assert {level for level, _, words in access if "/health" in words} == {"DEBUG"}
    assert {line["principal"] for line in lines if line.get("request_id") == "from-a-proxy.1" and "principal" in line} == {"local"}
    assert "from-a-proxy.1" in {line.get("request_id") for line in lines if line.get("job_id")}


def test_a_server_writes_nothing_but_json_where_it_is_asked_to(tmp_path: Path) -> None:
    with Served(tmp_path, MCP_LOG_FORMAT="json", MCP_ACCESS_LOG="true", MCP_DRAIN_SECONDS="0") as server:
        server.process.terminate()
        errors = server.process.communicate(timeout=60)[1].decode()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["message"] for line in lines if line["logger"] == "mcp_image_server.surfaces.serve"] == [
        f"Listening on {server.url}/mcp; the gallery is at {server.url}/"
    ]
