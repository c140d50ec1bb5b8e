"""The engine with tiny models of random weights: what comes out is noise, but it comes about as a picture does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pytest
from PIL import Image, ImageChops

from mcp_image_server.errors import ConfigError, ProviderError
from mcp_image_server.models import ImageRequest, Picture, Size
from mcp_image_server.pictures import examine
from mcp_image_server.providers.local import Local, load

from ..ear import Ear
from ..providers.inputs import hole
from ..providers.inputs import png as photo

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=64, height=64), options={"steps": 3})


@asynccontextmanager
async def drawing(model: Path, **settings: str) -> AsyncIterator[Local]:
    provider = load({"LOCAL_MODEL": str(model), "LOCAL_DEVICE": "cpu", **settings})
    assert provider is not None
    try:
        with anyio.fail_after(120):
            yield provider
    finally:
        await provider.aclose()


async def draw(provider: Local, request: ImageRequest = CAT, *, ear: Ear | None = None, model: str = "", **changes: Any) -> list[bytes]:
    chosen = next(each for each in provider.catalogue.models if model in ("", each.id))
    made = await provider.generate(replace(request, **changes), chosen, ear or Ear())
    return [drawn.data for drawn in made.images]


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean over all pixels and colours, 0 to 255."""
    histogram = ImageChops.difference(one, other).convert("L").histogram()
    return sum(level * count for level, count in enumerate(histogram)) / sum(histogram)


async def test_a_seed_gives_its_picture_whatever_is_drawn_beside_it(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        ear = Ear()
        (alone,) = await draw(provider, ear=ear)
        first, second = await draw(provider, seed=6, count=2)
        assert second == alone
        assert first != second
        assert (examine(alone).media_type, examine(alone).size) == ("image/png", Size(width=64, height=64))
        assert [words for _, words in ear.said] == [
            "The engine takes it up.",
            "Loading tiny.",
            "Step 1 of 3.",
            "Step 2 of 3.",
            "Step 3 of 3.",
        ]
        fractions = [fraction for fraction, _ in ear.said]
        assert fractions == sorted(fractions)
    async with drawing(models / "tiny") as another:
        assert await draw(another) == [alone]


async def test_what_can_be_set_is_heard(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        pictures = [
            await draw(provider),
            await draw(provider, options={"steps": 4}),
            await draw(provider, options={"steps": 3, "guidance": 1.5}),
            await draw(provider, negative_prompt="dogs"),
            await draw(provider, prompt="a dog"),
            await draw(provider, shape=Size(width=64, height=96)),
        ]
        assert len({data for (data,) in pictures}) == len(pictures)
        assert examine(pictures[-1][0]).size == Size(width=64, height=96)
        with pytest.raises(ProviderError, match="no option 'stepz'; there are steps, guidance") as caught:
            await draw(provider, options={"stepz": 3})
        assert caught.value.not_accepted
        with pytest.raises(ProviderError, match="no option 'output_type'"):
            await draw(provider, options={"output_type": "latent"})


async def test_previews_come_while_it_draws_and_cancelling_ends_it_between_two_steps(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        await draw(provider)
        ear = Ear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: draw(provider, ear=ear, shape=Size(width=512, height=384), options={"steps": 900}))
            while len(ear.previews) < 2:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert {Image.open(BytesIO(data)).size for data in ear.previews} == {(256, 192)}
        assert ear.previews[0] != ear.previews[1]
        begun = monotonic()
        await draw(provider)
        assert monotonic() - begun < 5
        assert "Step 900" not in ear.said[-1][1]


def test_what_a_cell_of_latents_shows_is_learnt_from_the_model_itself(models: Path) -> None:
    script = """
import sys, torch
from diffusers import StableDiffusionPipeline
from mcp_image_server.providers.local.diffusion import _cells, _colours_of
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1])
with torch.no_grad():
    matrix = _colours_of(pipe.vae, torch)
packed = torch.arange(2 * 3 * 16.0).reshape(1, 6, 16)
print(tuple(matrix.shape), tuple(_cells(torch.zeros(1, 4, 8, 12), 1.5, 4).shape), tuple(_cells(packed, 1.5, 4).shape), _cells(packed, 1.5, 4)[0, 0].tolist())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(models / "tiny")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(5, 3) (8, 12, 4) (2, 3, 4) [1.5, 5.5, 9.5, 13.5]"


async def test_a_picture_is_changed_as_far_as_the_strength_says(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        given = Picture(data=photo(96, 64).data, media_type="image/png", size=Size(width=96, height=64))
        changes = [
            difference(
                opened((await draw(provider, images=(given,), shape=None, strength=strength, options={"steps": 10}))[0]),
                opened(given.data).resize((80, 56)),
            )
            for strength in (0.1, 0.9)
        ]
        assert changes[0] != changes[1]
        (edited,) = await draw(provider, images=(given,), shape=Size(width=96, height=64), strength=0.01)
        assert examine(edited).size == Size(width=96, height=64)


async def test_only_what_the_mask_leaves_open_is_painted_anew(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        given = photo(64, 64)
        (painted,) = await draw(provider, images=(given,), mask=hole(), shape=None)
        left, right = (0, 0, 32, 64), (32, 0, 64, 64)
        assert opened(painted).crop(right).tobytes() == opened(given.data).crop(right).tobytes()
        assert difference(opened(painted).crop(left), opened(given.data).crop(left)) > 1


async def test_a_lora_changes_the_picture_and_its_strength_how_much(models: Path) -> None:
    file = models / "lora" / "pytorch_lora_weights.safetensors"
    pictures = []
    for lora in ({}, {str(file): 0.0}, {str(file): 1.0}):
        async with drawing(models / "tiny", LOCAL_LORA=json.dumps(lora)) as provider:
            pictures += await draw(provider)
    plain, without, whole = pictures
    assert difference(opened(plain), opened(without)) < 1
    assert difference(opened(plain), opened(whole)) > 1


async def test_models_take_turns_in_memory(models: Path) -> None:
    async def loads(**settings: str) -> list[bool]:
        """Whether each picture had to wait for its model."""
        found = []
        async with drawing(models / "tiny", LOCAL_MODELS=json.dumps([str(models / "other")]), **settings) as provider:
            for model in ("tiny", "other", "tiny", "tiny"):
                ear = Ear()
                await draw(provider, model=model, ear=ear)
                found.append(any(words.startswith("Loading") for _, words in ear.said))
        return found

    assert await loads() == [True, True, True, False]
    assert await loads(LOCAL_KEEP="2") == [True, True, False, False]
    assert await loads(LOCAL_KEEP="2", LOCAL_MEMORY_GB="0.0000001") == [True, True, True, True]
    assert await loads(LOCAL_KEEP="0") == [True, True, True, True]


async def test_a_file_is_completed_by_the_model_it_was_made_from(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.safetensors"
    file.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    async with drawing(models / "tiny", LOCAL_MODELS=json.dumps([{"weights": str(file), "base": str(models / "tiny")}])) as provider:
        with pytest.raises(ConfigError, match=r"broken\.safetensors cannot be used"):
            await draw(provider, model="broken")
        assert await draw(provider, model="tiny")


async def test_a_check_tells_of_machine_and_libraries(models: Path) -> None:
    async with drawing(models / "tiny") as provider:
        words = await provider.check()
        assert words.startswith("Draws on the processor (")
        assert "GiB free; diffusers 0." in words
        assert words.endswith("Models: tiny.")


def test_a_start_imports_no_library(models: Path) -> None:
    script = "import sys; from mcp_image_server.providers import load; load({'LOCAL_MODEL': sys.argv[1]}); print(sys.modules.keys() & {'torch', 'diffusers', 'PIL'})"
    done = subprocess.run([sys.executable, "-c", script, str(models / "tiny")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def test_a_device_that_is_not_there_is_named(models: Path) -> None:
    async with drawing(models / "tiny", LOCAL_DEVICE="mps") as provider:
        with pytest.raises(ConfigError, match="LOCAL_DEVICE is mps, which torch"):
            await provider.check()


def test_the_command_line_draws(models: Path, tmp_path: Path) -> None:
    settings = {"LOCAL_MODEL": str(models / "tiny"), "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    command = [sys.executable, "-m", "mcp_image_server", "generate", "a cat", "--provider", "local", "--seed", "7", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, **settings})
    assert Path(done.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    assert done.stderr == ""
