"""A batch whose command is killed in the middle: begun again it goes on, nothing is sent twice, and what may have been billed says so."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.modelscope import FakeModelScope
from tests.fakes.openai import FakeOpenAI, Trouble
from tests.fakes.server import Seen

from .server_process import COMMAND, environment, until
from .test_crash import history

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")

PROMPTS = 60
MODELS: dict[str, dict[str, Any]] = {
    "openai/gpt-image-2": {"resolution": "1024x640"},
    "modelscope/Qwen/Qwen-Image": {"resolution": "64x64", "poll_interval_seconds": 0.1, "max_poll_attempts": 10_000},
}
"""One that answers when it has drawn, and one that has tasks; with about the smallest pictures that they draw."""


def submissions(openai: FakeOpenAI, modelscope: FakeModelScope) -> dict[str, Counter[str]]:
    """How often each service was sent each prompt."""

    def prompts(seen: Sequence[Seen]) -> Counter[str]:
        # A request that was cut off in the middle by the death of its sender has reached nobody.
        whole = [each for each in seen if each.path == "/v1/images/generations" and len(each.body) == int(each.headers["content-length"])]
        return Counter(each.json()["prompt"] for each in whole)

    return {"openai": prompts(list(openai.seen)), "modelscope": prompts(list(modelscope.seen))}


def outcome(item: dict[str, Any]) -> str:
    """How it ended, in a word."""
    if item["state"] == "succeeded":
        return "succeeded" if item["images"] else "succeeded without a picture"
    return "perhaps billed" if item["error"]["details"].get("may_have_been_billed") else item["state"]


@pytest.mark.long
def test_a_killed_batch_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random(20261122)
    rows = [{"prompt": f"picture {number} of a cat", "model": model, **shape} for number in range(PROMPTS) for model, shape in MODELS.items()]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with FakeOpenAI(seconds=0.3) as openai, FakeModelScope(looks=2) as modelscope:
        settings = {
            "OPENAI_API_KEY": openai.key or "",
            "OPENAI_BASE_URL": openai.base_url,
            "MODELSCOPE_SDK_TOKEN": modelscope.token or "",
            "MODELSCOPE_BASE_URL": modelscope.url,
            "MCP_LIMITS": json.dumps({"openai": {"concurrent": 10, "images_per_minute": 1000}, "modelscope": {"concurrent": 10, "per_second": 100}}),
            "MCP_MAX_CONCURRENT_JOBS": "20",
        }
        command = [*COMMAND, "batch", "list.jsonl", "--json"]

        def begin(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*command, *words], cwd=tmp_path, env=environment(tmp_path, **settings), stdout=subprocess.PIPE)

        def sent() -> int:
            return sum(sum(counts.values()) for counts in submissions(openai, modelscope).values())

        def finish(*words: str) -> dict[str, Any]:
            process = begin(*words)
            answer: dict[str, Any] = json.loads(process.communicate(timeout=300)[0])
            assert process.returncode == (0 if answer["ok"] else 4)
            return answer

        for _ in range(2):
            wanted = sent() + chance.randrange(5, 40)
            openai.trouble.append(Trouble.HANG)  # so that one call at least is under way
            process = begin()
            until(lambda wanted=wanted: sent() >= wanted and not openai.trouble, "the batch is in the middle")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.communicate()
        first = finish()
        counts = submissions(openai, modelscope)
        assert {name: {prompt for prompt, number in sent.items() if number > 1} for name, sent in counts.items()} == {
            "openai": set(),
            "modelscope": set(),
        }
        assert first["batch"]["total"] == 2 * PROMPTS
        outcomes = Counter(map(outcome, first["batch"]["items"]))
        assert outcomes.keys() <= {"succeeded", "perhaps billed"}
        assert 0 < outcomes["perhaps billed"] <= 40  # what was under way at the two kills

        last = finish("--retry-maybe-billed")
        assert Counter(map(outcome, last["batch"]["items"])) == {"succeeded": 2 * PROMPTS}
        assert sent() <= 2 * PROMPTS + outcomes["perhaps billed"]
        anew = {item["number"] for item in last["batch"]["items"] if item.get("tries")}
        assert anew == {item["number"] for item in first["batch"]["items"] if outcome(item) == "perhaps billed"}
    verified = history(tmp_path, "verify")
    assert {**verified, "removed": []} == {
        "ok": True,
        "images": 2 * PROMPTS + 2,  # with a contact sheet of each end
        "missing": [],
        "damaged": [],
        "unrecorded": [],
        "removed": [],
    }
