"""The audit log: who did what, in a line each, without anything that is nobody else's business."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mcp_image_server.audit import audit, log, write_audit_to
from mcp_image_server.errors import ConfigError
from tests.web import token_of, tokens_in, web

pytestmark = pytest.mark.anyio


async def test_what_people_do_is_noted_and_not_what_they_wrote(tmp_path: Path) -> None:
    handler = write_audit_to(tmp_path / "deep" / "audit.jsonl")
    try:
        people = tokens_in(tmp_path, alice={"team": "design"})
        async with web(tmp_path, {"MCP_TOKENS_FILE": people, "MCP_TOOLSET": "full"}) as site:
            token = token_of("alice")
            made = await site.call("generate_image", token=token, prompt="a secret garden")
            image = made["images"][0]["id"]
            for action in ("share", "tag", "delete"):
                more = {"tags": ["hidden"]} if action == "tag" else {}
                await site.call("manage_images", token=token, image_ids=[image], action=action, **more)
            await site.client.get("/", headers={"authorization": "Bearer guess"})
    finally:
        log.removeHandler(handler)
        handler.close()
    text = (tmp_path / "deep" / "audit.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    assert [event.pop("at")[-1] for event in events] == ["Z"] * 5
    assert events == [
        {"event": "let_in", "principal": "alice", "roles": [], "team": "design", "address": "127.0.0.1"},
        {"event": "job.submitted", "principal": "alice", "job": made["job"]["id"], "model": "easel/easel-1", "images": 1, "state": "queued"},
        {"event": "images.share", "principal": "alice", "images": [image], "team": "design"},
        {"event": "images.delete", "principal": "alice", "images": [image]},
        {"event": "refused", "address": "127.0.0.1"},
    ]
    for word in ("garden", token, "hidden", "guess"):
        assert word not in text


async def test_a_batch_is_noted_as_a_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    people = tokens_in(tmp_path, alice={})
    with caplog.at_level(logging.INFO, logger="mcp_image_server.audit"):
        async with web(tmp_path, {"MCP_TOKENS_FILE": people, "MCP_TOOLSET": "full"}) as site:
            begun = await site.call("generate_batch", token=token_of("alice"), prompts=["a secret garden", "a gate"], wait_seconds=30)
            name = begun["batch"]["id"]
            await site.call("generate_batch", token=token_of("alice"), batch_id=name, cancel=True)
    noted = [message for message in caplog.messages if message.startswith("batch.")]
    assert noted == [
        f'batch.submitted {{"principal": "alice", "batch": "{name}", "images": 2}}',
        f'batch.cancelled {{"principal": "alice", "batch": "{name}"}}',
    ]


def test_the_log_has_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mcp_image_server.audit"):
        audit("let_in", principal="alice", team=None)
    assert caplog.messages == ['let_in {"principal": "alice"}']


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="MCP_AUDIT_FILE"):
        write_audit_to(tmp_path / "file" / "audit.jsonl")
