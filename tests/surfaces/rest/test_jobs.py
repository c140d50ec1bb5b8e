"""Jobs: begun, waited for, followed and given up."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import anyio
import pytest

from mcp_image_server.errors import ProviderError
from mcp_image_server.models import Generated, ImageRequest
from mcp_image_server.providers import Context
from tests.easel import Easel, draw
from tests.easel import Gate as HeldBack
from tests.fakes.server import picture
from tests.web import Person, token_of

pytestmark = pytest.mark.anyio


PNG = picture(64, 48)


async def test_a_job_is_waited_for_as_long_as_the_caller_says(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    begun = await ann("POST", "/api/v1/jobs", 202, json={"prompt": "slow"})
    path = f"/api/v1/jobs/{begun['job']['id']}"
    assert begun["ok"] is True
    assert begun["job"]["state"] in ("queued", "running")
    assert (await ann("GET", f"{path}?wait=0.1", 200))["images"] == []
    gate.opened.set()
    ended = await ann("GET", path, 200, headers={"prefer": "respond-async, wait=60"})
    image = ended["images"][0]
    assert ended == {
        "version": "1.0",
        "ok": True,
        "images": [
            {
                "id": image["id"],
                "provider": "easel",
                "mime_type": "image/png",
                "file_name": f"img_easel_{image['id']}.png",
                "url": image["url"],
                "size_bytes": image["size_bytes"],
                "revised_prompt": None,
                "model": "easel-1",
                "width": 64,
                "height": 64,
                "seed": image["seed"],
            }
        ],
        "error": None,
        "job": {"id": begun["job"]["id"], "state": "succeeded", "provider": "easel", "model": "easel-1"},
        "cost": {"amount": 1.0, "currency": "USD", "source": "list_price"},
    }
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/png"


async def test_a_job_that_failed_says_why_and_its_making_was_no_failure(ann: Person, easel: Easel) -> None:
    async def work(request: ImageRequest, context: Context) -> Generated:
        raise ProviderError("Out of paint.", provider="easel")

    easel.work = work
    answer = await ann("POST", "/api/v1/jobs", 201, json={"prompt": "x"}, headers={"prefer": "wait=60"})
    assert (answer["ok"], answer["job"]["state"], answer["error"]["code"]) == (False, "failed", "provider_error")
    assert answer["error"]["message"] == "Out of paint."


async def test_jobs_come_in_pages_and_can_be_told_by_their_state(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    ids = [(await ann("POST", "/api/v1/jobs", 202, json={"prompt": f"number {number}"}))["job"]["id"] for number in range(3)]
    first = await ann("GET", "/api/v1/jobs?limit=2&state=queued&state=running", 200)
    assert [job["id"] for job in first["jobs"]] == [ids[2], ids[1]]
    assert first["next"] == ids[1]
    second = await ann("GET", f"/api/v1/jobs?limit=2&state=queued&state=running&before={first['next']}", 200)
    assert ([job["id"] for job in second["jobs"]], second["next"]) == ([ids[0]], None)
    assert (await ann("POST", f"/api/v1/jobs/{ids[1]}/cancel", 200))["job"]["state"] == "cancelled"
    gate.opened.set()
    assert (await ann("GET", f"/api/v1/jobs/{ids[2]}?wait=60", 200))["job"]["state"] == "succeeded"


async def test_a_job_is_cancelled_once_however_often_it_is_deleted_and_what_was_drawn_stays(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    waiting = f"/api/v1/jobs/{(await ann('POST', '/api/v1/jobs', 202, json={'prompt': 'unwanted'}))['job']['id']}"
    ended = await ann("DELETE", waiting, 200)
    gate.opened.set()
    assert ended["job"]["state"] == "cancelled"
    assert ended == await ann("DELETE", waiting, 200) == await ann("POST", f"{waiting}/cancel", 200) == await ann("GET", waiting, 200)
    stored = await ann.draws()
    drawn = await ann("DELETE", f"/api/v1/jobs/{stored.partition('-')[0]}", 200)
    assert (drawn["job"]["state"], [image["id"] for image in drawn["images"]]) == ("succeeded", [stored])
    await ann("GET", f"/api/v1/images/{stored}", 200)


async def test_a_job_is_followed_to_its_end(ann: Person, easel: Easel) -> None:
    go_on = anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        await context.preview(PNG)
        await go_on.wait()
        return draw(request)

    easel.work = work
    job = (await ann("POST", "/api/v1/jobs", 202, json={"prompt": "x"}))["job"]["id"]
    seen: list[tuple[str, Any]] = []
    with anyio.fail_after(60):
        headers = {"authorization": f"Bearer {token_of('ann')}"}
        async with ann.site.client.stream("GET", f"/api/v1/jobs/{job}/events", headers=headers) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    seen.append((name, json.loads(line.removeprefix("data: "))))
                    if name == "preview":
                        go_on.set()
    assert [name for name, _ in seen if name != "progress"] == ["preview", "ended"]
    assert seen[-1][1]["job"] == {"id": job, "state": "succeeded", "provider": "easel", "model": "easel-1"}


async def test_a_picture_is_drawn_of_others_under_a_mask_and_once_more(ann: Person, easel: Easel) -> None:
    stored = await ann.draws()
    data = f"data:image/png;base64,{b64encode(PNG).decode()}"
    problem = await ann("POST", "/api/v1/jobs", 400, json={"prompt": "x", "images": [stored, data], "mask_boxes": [[0, 0, 0.5, 0.5]]})
    assert problem["code"] == "unsupported"  # an easel draws of words only, and content is never dropped
    again = await ann("POST", "/api/v1/jobs?wait=60", 201, json={"rerun_of": stored})
    assert again["ok"]
    plan = await ann("POST", "/api/v1/estimates", 200, json={"prompt": "x", "n": 3})
    assert (plan["n"], plan["estimate"]) == (3, {"amount": 3.0, "currency": "USD", "source": "list_price"})
