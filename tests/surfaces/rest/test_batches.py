"""Batches: estimated, begun, listed, ended and entered anew."""

from __future__ import annotations

import pytest

from tests.easel import Easel
from tests.easel import Gate as HeldBack
from tests.web import Person, token_of

pytestmark = pytest.mark.anyio


async def test_a_batch_is_estimated_begun_waited_for_and_found_again(ann: Person) -> None:
    wanted = {"prompts": ["a fox", "a wolf"], "items": [{"prompt": "a hare", "seed": 7}], "n": 2}
    plan = await ann("POST", "/api/v1/batches/estimates", 200, json=wanted)
    assert (plan["pictures"], plan["by_model"], plan["estimate"]) == (6, {"easel/easel-1": 6}, {"USD": 6.0})
    begun = await ann("POST", "/api/v1/batches?wait=15&items=1", 201, json=wanted)
    batch = begun["batch"]
    assert (batch["state"], batch["total"], batch["succeeded"], batch["spent"], batch["items_left_out"]) == ("succeeded", 6, 6, {"USD": 6.0}, 5)
    [item] = batch["items"]
    assert (item["number"], item["place"], item["prompt"], item["state"]) == (1, "item 1", "a fox", "succeeded")
    [image] = item["images"]
    assert image.keys() == {"id", "url"}
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/png"
    [sheet] = begun["images"]
    assert "local_path" not in sheet
    assert (await ann.site.client.get(sheet["url"])).status_code == 200
    again = await ann("POST", "/api/v1/batches?items=1", 201, json=wanted)
    assert again == {**begun, "images": again["images"], "batch": {**batch, "items": again["batch"]["items"]}}
    assert len((await ann("GET", f"/api/v1/batches/{batch['id']}", 200))["batch"]["items"]) == 6
    wrong = await ann("POST", "/api/v1/batches", 400, json={"items": [{"prompt": "x", "colour": "red"}, {"prompt": ""}]})
    assert (wrong["code"], [row["place"] for row in wrong["details"]["rows"]]) == ("invalid_rows", ["item 1", "item 2"])
    for asked in ({"output_filename": "x.png"}, {"output_dir": "/tmp"}):
        assert (await ann("POST", "/api/v1/batches", 400, json={"items": [{"prompt": "x", **asked}]}))["code"] == "invalid_rows"
    assert (await ann("POST", "/api/v1/batches", 400, json={}))["code"] == "invalid_rows"


async def test_batches_come_in_pages_without_their_items(ann: Person, bob: Person) -> None:
    begun = [(await bob("POST", "/api/v1/batches?wait=15", 201, json={"prompts": [f"list {n}", "more"][:n]}))["batch"] for n in (1, 2)]
    facts = [{name: value for name, value in batch.items() if name != "items"} for batch in begun]
    assert (facts[1]["total"], facts[1]["succeeded"], facts[1]["spent"]) == (2, 2, {"USD": 2.0})
    listed = await bob.site.client.get("/api/v1/batches?limit=1", headers={"authorization": f"Bearer {token_of('bob')}"})
    assert listed.json() == {"batches": [facts[1]], "next": begun[1]["id"]}
    assert await bob("GET", listed.links["next"]["url"], 200) == {"batches": [facts[0]], "next": None}
    assert begun[0]["id"] not in str(await ann("GET", "/api/v1/batches", 200))


async def test_a_batch_is_ended_and_what_brought_nothing_is_drawn_anew(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    begun = await ann.site.client.post(
        "/api/v1/batches", json={"prompts": ["one", "two"]}, headers={"authorization": f"Bearer {token_of('ann')}", "prefer": "wait=0"}
    )
    assert begun.status_code == 202
    path = begun.headers["location"]
    assert begun.json()["batch"]["state"] == "running"
    ended = await ann("POST", f"{path}/cancel", 200)
    assert (ended["batch"]["state"], ended["batch"]["failed"], ended["error"]["code"]) == ("incomplete", 2, "incomplete")
    gate.opened.set()
    again = await ann("POST", f"{path}/retry?wait=15", 201, json={"which": "failed"})
    again = await ann("POST", f"{path}/retry?wait=15", 201, json={"which": "maybe_billed"}) if not again["ok"] else again
    assert (again["batch"]["state"], again["batch"]["succeeded"]) == ("succeeded", 2)
