"""Time to the picture of a ModelScope task that is ready at once, beside a loop that sleeps its interval before the first look, as the predecessor did."""

from __future__ import annotations

import statistics
import time

import anyio
import httpx2
from rich.console import Console
from rich.table import Table
from tests.ear import Ear
from tests.fakes.modelscope import FakeModelScope

from mcp_image_server import providers
from mcp_image_server.models import ImageRequest, Size, find_model

ROUNDS = 3
INTERVAL = 5.0
"""Seconds; the predecessor's default, and ours as the longest pause."""

WISH = ImageRequest(prompt="a cat", shape=Size(width=64, height=64))


def run(console: Console) -> None:
    """Prints both medians and their ratio."""
    with FakeModelScope() as fake, console.status("waiting for tasks that are ready at once"):
        ours = [anyio.run(_ours, fake) for _ in range(ROUNDS)]
        theirs = [anyio.run(_sleeping_first, fake) for _ in range(ROUNDS)]
    table = Table(title=f"From submission to picture, task ready at once, {ROUNDS} rounds, interval {INTERVAL:g} s")
    table.add_column("polling")
    table.add_column("median (s)", justify="right")
    for name, times in (("first look at once", ours), ("first look after the interval", theirs)):
        table.add_row(name, f"{statistics.median(times):.3f}")
    console.print(table)
    console.print(f"ratio: {statistics.median(ours) / statistics.median(theirs):.3f}\n")


async def _ours(fake: FakeModelScope) -> float:
    provider = providers.load({"MODELSCOPE_SDK_TOKEN": fake.token or "", "MODELSCOPE_BASE_URL": fake.url})["modelscope"]
    model = find_model(provider.catalogue.models, provider.catalogue.default_model)
    assert model is not None
    await provider.check()  # connected, as a running server is
    began = time.perf_counter()
    await provider.generate(WISH, model, Ear())
    took = time.perf_counter() - began
    await provider.aclose()
    return took


async def _sleeping_first(fake: FakeModelScope) -> float:
    headers = {"authorization": f"Bearer {fake.token}", "x-modelscope-async-mode": "true", "x-modelscope-task-type": "image_generation"}
    async with httpx2.AsyncClient(base_url=fake.url, headers=headers, trust_env=False) as client:
        await client.get("/openapi/v1/magicubes/balance")
        began = time.perf_counter()
        body = {"model": "Qwen/Qwen-Image", "prompt": WISH.prompt, "size": "64x64"}
        task = (await client.post("/v1/images/generations", json=body)).json()["task_id"]
        while True:
            await anyio.sleep(INTERVAL)
            answer = (await client.get(f"/v1/tasks/{task}")).json()
            if answer["task_status"] == "SUCCEED":
                (await client.get(answer["output_images"][0])).raise_for_status()
                return time.perf_counter() - began
