"""Images: found, fetched, changed with and without a service, thrown away and got back."""

from __future__ import annotations

import pytest

from tests.easel import Easel
from tests.web import Person, token_of

pytestmark = pytest.mark.anyio


async def test_an_image_is_found_changed_thrown_away_and_got_back(ann: Person) -> None:
    stored = await ann.draws("a very particular walrus")
    path = f"/api/v1/images/{stored}"
    changed = await ann("PATCH", path, 200, json={"title": "Wally", "tags": ["sea", "fat"], "favourite": True})
    assert (changed["title"], changed["tags"], changed["favourite"]) == ("Wally", ["fat", "sea"], True)
    changed = await ann("PATCH", path, 200, json={"tags": ["sea", "old"], "favourite": False})
    assert (changed["title"], changed["tags"], changed.get("favourite")) == ("Wally", ["old", "sea"], None)
    for query in ("q=walrus", "tag=sea&tag=old", "q=wally&provider=easel&min_edge=64&ratio=1:1&min_cost=0.5&max_cost=1.5"):
        assert [image["id"] for image in (await ann("GET", f"/api/v1/images?{query}", 200))["images"]] == [stored]
    assert (await ann("GET", "/api/v1/images?q=walrus&min_cost=2", 200))["images"] == []
    content = await ann("GET", f"{path}/content?thumbnail=true", 302)
    assert (await ann.site.client.get(content.headers["location"])).headers["content-type"] == "image/webp"
    assert (await ann("GET", f"{path}/lineage", 200))["ancestors"] == []
    await ann("DELETE", path, 200)
    await ann("DELETE", path, 200)
    assert (await ann("GET", path, 404))["code"] == "image_not_found"
    assert [image["id"] for image in (await ann("GET", "/api/v1/images?deleted=true&q=walrus", 200))["images"]] == [stored]
    await ann("POST", f"{path}/undelete", 200)
    assert "deleted_at" not in await ann("GET", path, 200)


async def test_images_come_in_pages_whose_links_keep_what_was_asked(ann: Person) -> None:
    drawn = [await ann.draws(f"pagination {number}") for number in range(3)]
    found: list[str] = []
    page: str | None = "/api/v1/images?q=pagination&limit=2"
    while page:
        answer = await ann.site.client.get(page, headers={"authorization": f"Bearer {token_of('ann')}"})
        found += [image["id"] for image in answer.json()["images"]]
        page = answer.links["next"]["url"] if "next" in answer.links else None
    assert found == drawn[::-1]


async def test_pictures_are_changed_without_a_service(ann: Person, easel: Easel) -> None:
    stored = await ann.draws()
    drawn = len(easel.asked)
    made = await ann("POST", "/api/v1/transformations", 201, json={"images": [stored], "rotate": 90, "crop": "2:1", "format": "webp"})
    [image] = made["images"]
    assert (made["ok"], image["width"], image["height"], image["mime_type"], "local_path" in image) == (True, 32, 64, "image/webp", False)
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/webp"
    assert (await ann("GET", f"/api/v1/images/{image['id']}", 200))["made_from"] == [stored]
    assert (await ann("GET", f"/api/v1/images/{stored}/lineage", 200))["descendants"][0]["id"] == image["id"]
    assert len(easel.asked) == drawn
    for more in ({}, {"rotate": "much"}, {"save_as": "/tmp/x.png"}, {"icons": "/tmp"}):
        await ann("POST", "/api/v1/transformations", 400, json={"images": [stored], **more})
