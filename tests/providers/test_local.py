from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from mcp import Client, types

from mcp_image_server.errors import ConfigError, ProviderError, RefusedError, UnavailableError
from mcp_image_server.models import AspectRatio, Drawn, ImageRequest, Picture, Size, SizeRange
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.local import CATALOGUE, Config, Local, failure_of, load, to_wire
from mcp_image_server.providers.local.frames import MAX_WORDS, Frame, NoFrameError, Unpacker, pack
from mcp_image_server.providers.local.models import Weights, offer_of, size_of
from mcp_image_server.settings import parse
from mcp_image_server.surfaces.mcp import build_server

from ..conftest import studio_with
from ..ear import Ear
from ..easel import png
from ..fakes.engine import command
from .inputs import hole
from .inputs import png as photo

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=64, height=64))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder that looks like Stable Diffusion for small pictures."""
    return folder(tmp_path / "sd-turbo")


def folder(place: Path, kind: object = "StableDiffusionPipeline", *, cells: int = 8) -> Path:
    (place / "unet").mkdir(parents=True)
    (place / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    (place / "unet" / "config.json").write_text(json.dumps({"sample_size": cells}))
    return place


def made(environment: Mapping[str, str], *, idle: float = 60) -> Local:
    return Local(parse(Config, environment), environment, command=command(idle))


@asynccontextmanager
async def engine(weights: Path, *, idle: float = 60) -> AsyncIterator[Local]:
    provider = made({"LOCAL_MODEL": str(weights)}, idle=idle)
    try:
        with anyio.fail_after(60):
            yield provider
    finally:
        await provider.aclose()


async def draw(provider: Local, prompt: str = "a cat", ear: Ear | None = None, **changes: Any) -> tuple[Drawn, ...]:
    request = replace(CAT, prompt=prompt, **changes)
    return (await provider.generate(request, provider.catalogue.models[0], ear or Ear())).images


async def pid_of(provider: Local) -> int:
    """The worker process that draws now."""
    ear = Ear()
    await draw(provider, ear=ear)
    return int(ear.said[1][1].removeprefix("I am ").removesuffix("."))


def process_of(provider: Local) -> Process:
    conversation = provider._worker._conversation
    assert conversation is not None
    return conversation.process


# What is offered ----------------------------------------------------------------------------------------------------------------------------


def test_weights_make_the_provider_and_their_files_say_what_it_draws(weights: Path) -> None:
    assert load({}) is None
    assert load({"LOCAL_DEVICE": "cpu"}) is None
    provider = load({"LOCAL_MODEL": str(weights)})
    assert provider is not None
    assert (provider.name, provider.repeatable, provider.limits.concurrent) == ("local", True, 1)
    assert not isinstance(provider, Resumable)
    (model,) = provider.catalogue.models
    assert model == replace(
        CATALOGUE.models[0],
        id="sd-turbo",
        title="sd-turbo (Stable Diffusion)",
        aliases=("auto",),
        sizes=SizeRange(min_edge=64, max_edge=2048, max_pixels=2048 * 2048, multiple=8),
        default_size=Size(width=64, height=64),
        negative_prompt=False,  # without guidance it would not be heard
        note=model.note,
    )
    assert "steps (4 unless told otherwise), guidance (0)" in model.note
    assert next(iter(provider.catalogue.resolutions)) == "64x64"
    assert provider.catalogue.unknown is None  # a caller names no files


@pytest.mark.parametrize(
    ("name", "title", "steps", "guidance", "operations"),
    [
        ("stabilityai/sdxl-turbo", "Stable Diffusion XL", 4, 0.0, "edit generate inpaint"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL", 25, 5.0, "edit generate inpaint"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion", 25, 7.0, "edit generate inpaint"),
        ("Tongyi-MAI/Z-Image-Turbo", "Z-Image", 9, 0.0, "edit generate inpaint"),
        ("black-forest-labs/FLUX.2-klein-4B", "FLUX.2 klein", 4, 1.0, "edit generate inpaint"),
        ("black-forest-labs/FLUX.2-klein-base-4B", "FLUX.2 klein", 50, 4.0, "edit generate inpaint"),
        ("black-forest-labs/FLUX.2-dev", "FLUX.2", 50, 4.0, "edit generate"),
        ("black-forest-labs/FLUX.1-schnell", "FLUX.1", 4, 0.0, "edit generate inpaint"),
        ("black-forest-labs/FLUX.1-Kontext-dev", "FLUX.1 Kontext", 28, 2.5, "edit generate"),
        ("Qwen/Qwen-Image-2512", "Qwen-Image", 50, 4.0, "edit generate inpaint"),
        ("Qwen/Qwen-Image-Edit-2511", "Qwen-Image-Edit Plus", 40, 4.0, "edit"),
        ("nobody/dreams", "", 28, 4.0, "generate"),
    ],
)
def test_a_name_tells_how_its_line_is_drawn_with(name: str, title: str, steps: int, guidance: float, operations: str) -> None:
    offer = offer_of(Weights(weights=name, name="it"), {})
    assert offer.model.title == (f"it ({title})" if title else "it")
    assert (offer.steps, offer.guidance, " ".join(sorted(offer.model.operations))) == (steps, guidance, operations)


def test_files_win_over_names_and_the_operator_over_both(tmp_path: Path) -> None:
    place = folder(tmp_path / "z-image-turbo", ["some_module", "QwenImagePipeline"], cells=0)
    offer = offer_of(Weights(weights=str(place), name="it", steps=8, guidance=1.0), {})
    assert (offer.family.title, offer.steps, offer.guidance, offer.model.default_size) == ("Qwen-Image", 8, 1.0, Size(width=1328, height=1328))


def test_several_models_are_named_in_a_list_and_the_first_is_the_default(weights: Path, tmp_path: Path) -> None:
    other = folder(tmp_path / "other", "ZImagePipeline")
    entries = [str(other), {"weights": "/w/q-Q4_K_M.gguf", "base": "Qwen/Qwen-Image", "name": "qwen", "lora": {"/l.safetensors": 0.5}}]
    catalogue = made({"LOCAL_MODEL": str(weights), "LOCAL_MODELS": json.dumps(entries)}).catalogue
    assert ([model.id for model in catalogue.models], catalogue.default_model) == (["sd-turbo", "other", "qwen"], "sd-turbo")
    assert made({"LOCAL_MODELS": json.dumps(entries)}).catalogue.default_model == "other"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LOCAL_MODEL": "/a/x", "LOCAL_MODELS": '["/b/x"]'}, "Two local models are called 'x'"),
        ({"LOCAL_MODEL": "/a/x.safetensors"}, "LOCAL_MODELS="),
        ({"LOCAL_MODELS": "[]"}, "LOCAL_MODELS is empty"),
        ({"LOCAL_MODELS": "/a/x"}, "write a JSON list"),
        ({"LOCAL_MODELS": '[{"weights": "/a/x", "stepz": 3}]'}, "stepz"),
        ({"LOCAL_MODEL": "/a/x", "LOCAL_LORA": "[]"}, "write a JSON object"),
        ({"LOCAL_MODEL": "/a/x", "LOCAL_DEVICE": "tpu"}, "LOCAL_DEVICE"),
    ],
)
def test_wrong_settings_are_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(environment)


def test_a_download_is_found_where_the_hub_keeps_it(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--stabilityai--sd-turbo"
    folder(cached / "snapshots" / "abc", cells=64)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    for environment in ({"HF_HOME": str(tmp_path)}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):
        assert offer_of(Weights(weights="stabilityai/sd-turbo", name="it"), environment).model.default_size == Size(width=512, height=512)


@pytest.mark.parametrize(
    ("given", "drawn"),
    [((4000, 3000), "592x440"), ((400, 300), "408x304"), ((30, 20), "96x64"), ((512, 512), "512x512")],
)
def test_an_input_picture_gives_the_size_as_far_as_the_model_can_see(given: tuple[int, int], drawn: str, tmp_path: Path) -> None:
    model = offer_of(Weights(weights=str(folder(tmp_path / "sd", cells=64)), name="it"), {}).model
    picture = Picture(data=b"", media_type="image/png", size=Size(width=given[0], height=given[1]))
    assert str(size_of(ImageRequest(prompt="a cat", images=(picture,)), model)) == drawn
    assert size_of(ImageRequest(prompt="a cat", images=(picture,), shape=Size(width=256, height=128)), model) == Size(width=256, height=128)
    assert size_of(ImageRequest(prompt="a cat", shape=AspectRatio(width=1, height=1)), model) == model.default_size


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def test_a_task_says_everything_that_the_worker_needs(weights: Path) -> None:
    environment = {"LOCAL_MODEL": str(weights), "LOCAL_LORA": '{"~/l.safetensors": 0.5}', "LOCAL_DTYPE": "bfloat16", "LOCAL_MEMORY_GB": "12"}
    config = parse(Config, environment)
    offer = offer_of(config.weights()[0], environment)
    task = {
        "do": "draw",
        "weights": str(weights),
        "base": "",
        "lora": {os.path.expanduser("~/l.safetensors"): 0.5},
        "pipeline": "StableDiffusionPipeline",
        "device": "auto",
        "dtype": "bfloat16",
        "keep": 1,
        "memory": 12.0,
        "hub": False,
        "prompt": "a cat",
        "negative_prompt": None,
        "width": 64,
        "height": 64,
        "count": 1,
        "seed": 7,
        "steps": 4,
        "guidance": {"guidance_scale": 0.0},
        "strength": None,
        "masked": False,
        "options": {},
    }
    assert to_wire(CAT, offer, config) == task
    own = replace(CAT, count=2, options={"steps": 9, "guidance": 2, "eta": 0.5})
    assert to_wire(own, offer, config) == {**task, "count": 2, "steps": 9, "guidance": {"guidance_scale": 2}, "options": {"eta": 0.5}}
    theirs = replace(CAT, options={"num_inference_steps": 9, "guidance_scale": 2})
    assert to_wire(theirs, offer, config) == {**task, "steps": 9, "guidance": {"guidance_scale": 2}}
    edit = replace(CAT, images=(photo(),), strength=0.125)
    assert to_wire(edit, offer, config) == {**task, "pipeline": "StableDiffusionImg2ImgPipeline", "strength": 0.125, "steps": 8}
    inpaint = replace(CAT, images=(photo(),), mask=hole())
    assert to_wire(inpaint, offer, config) == {**task, "pipeline": "StableDiffusionInpaintPipeline", "strength": 1.0, "masked": True}


def test_without_a_seed_one_is_chosen(weights: Path) -> None:
    config = parse(Config, {"LOCAL_MODEL": str(weights)})
    seeds = {to_wire(replace(CAT, seed=None), offer_of(config.weights()[0], {}), config)["seed"] for _ in range(4)}
    assert len(seeds) > 1


def test_frames_come_whole_however_they_are_cut() -> None:
    frames = [Frame(words={"a": "水"}, parts=(b"", b"xyz")), Frame(words={}), Frame(words={"b": [1]}, parts=(bytes(1000),))]
    stream = b"".join(map(pack, frames))
    for step in (1, 7, len(stream)):
        unpacker = Unpacker()
        assert [frame for start in range(0, len(stream), step) for frame in unpacker.feed(stream[start : start + step])] == frames


@pytest.mark.parametrize("noise", [(MAX_WORDS + 1).to_bytes(4, "big") + bytes(4), b"Hello, world", bytes([0, 0, 0, 2, 0, 0, 0, 0]) + b"[]"])
def test_what_is_no_frame_is_not_taken_for_one(noise: bytes) -> None:
    with pytest.raises(NoFrameError):
        Unpacker().feed(noise)


# The worker process -------------------------------------------------------------------------------------------------------------------------


async def test_pictures_and_progress_come_from_the_worker_and_input_pictures_reach_it(weights: Path) -> None:
    async with engine(weights) as provider:
        ear = Ear()
        assert await draw(provider, ear=ear, count=2) == tuple(Drawn(data=png(Size(width=64, height=64), (seed, 0, 0)), seed=seed) for seed in (7, 8))
        assert [fraction for fraction, _ in ear.said] == [0.0, 0.1]
        (edited,) = await draw(provider, images=(photo(),), shape=None)
        (inpainted,) = await draw(provider, images=(photo(),), mask=hole(), shape=None)
        assert [made.data for made in (edited, inpainted)] == [png(Size(width=64, height=64), (7, given, 0)) for given in (1, 2)]


async def test_one_process_does_everything_and_ends_with_the_provider(weights: Path) -> None:
    async with engine(weights) as provider:
        pid = await pid_of(provider)
        assert await pid_of(provider) == pid
        await draw(provider, "chatter")  # what a library prints is no frame
        assert await pid_of(provider) == pid
        process = process_of(provider)
    assert process.returncode == 0


async def test_a_worker_that_dies_fails_its_job_unbilled_and_the_next_one_draws(weights: Path) -> None:
    async with engine(weights) as provider:
        pid = await pid_of(provider)
        with pytest.raises(UnavailableError, match=r"ended with code 9 before the pictures were done\. Nothing was billed") as caught:
            await draw(provider, "die")
        assert (caught.value.retryable, caught.value.may_have_been_billed, caught.value.provider) == (True, False, "local")
        assert await pid_of(provider) != pid


async def test_a_cancelled_job_ends_with_its_step_and_the_same_worker_goes_on(weights: Path) -> None:
    async with engine(weights) as provider:
        pid = await pid_of(provider)
        ear = Ear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draw, provider, "go on and on", ear)
            while len(ear.previews) < 3:
                await anyio.sleep(0.01)
            assert "drawing just now" in await provider.check()
            tasks.cancel_scope.cancel()
        assert await pid_of(provider) == pid


async def test_a_worker_without_work_goes_home_and_is_called_again(weights: Path) -> None:
    async with engine(weights, idle=0.05) as provider:
        pid = await pid_of(provider)
        assert await process_of(provider).wait() == 0
        assert await pid_of(provider) != pid


async def test_a_worker_ends_when_its_server_is_gone_whatever_it_does(weights: Path) -> None:
    with anyio.fail_after(60):
        async with await anyio.open_process(command(), stderr=None) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            task = {"do": "draw", "id": 1, "prompt": "go on and on"}
            await process.stdin.send(pack(Frame(words=task)))
            await process.stdout.receive()
            await process.stdin.aclose()  # as the machine does it for a server that was killed
            while True:
                try:
                    await process.stdout.receive()
                except anyio.EndOfStream:
                    break
            assert await process.wait() == 0


async def test_no_secret_reaches_the_worker(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-never-show")
    monkeypatch.setenv("SOME_FOLDER", "/models")
    said = []
    async with engine(weights) as provider:
        for name in ("SOME_API_KEY", "SOME_FOLDER", "HF_HUB_OFFLINE", "HF_TOKEN"):
            ear = Ear()
            await draw(provider, f"tell {name}", ear)
            said.append(ear.said[-1][1])
    assert said == ["nothing", "/models", "1", "nothing"]


async def test_with_leave_to_download_the_worker_has_the_hubs_token(weights: Path) -> None:
    provider = made({"LOCAL_MODEL": str(weights), "LOCAL_HUB": "true", "LOCAL_HUB_TOKEN": "hf_1"})
    ears = [Ear(), Ear()]
    await draw(provider, "tell HF_HUB_OFFLINE", ears[0])
    await draw(provider, "tell HF_TOKEN", ears[1])
    await provider.aclose()
    assert [ear.said[-1][1] for ear in ears] == ["nothing", "hf_1"]


FAILURES: Mapping[str, tuple[type[Exception], str]] = {
    "fail: config": (ConfigError, "so it is."),
    "fail: request": (ProviderError, "so it is."),
    "fail: refused": (RefusedError, "so it is."),
    "fail: memory": (
        ProviderError,
        "There was not enough memory: so it is. Ask for a smaller picture, or set LOCAL_DTYPE=bfloat16 or a smaller model.",
    ),
    "stumble": (ProviderError, "The model failed: RuntimeError: a bug. The server's log has the details."),
}


async def test_a_failure_says_who_can_help_and_the_worker_goes_on(weights: Path) -> None:
    async with engine(weights) as provider:
        pid = await pid_of(provider)
        for prompt, (kind, words) in FAILURES.items():
            with pytest.raises(kind) as caught:
                await draw(provider, prompt)
            assert (str(caught.value), type(caught.value)) == (words, kind)
        assert await pid_of(provider) == pid


def test_only_what_the_engine_did_not_take_may_go_elsewhere() -> None:
    failures = [failure_of(kind, "x") for kind in ("request", "memory", "broken", "refused")]
    assert [isinstance(failure, ProviderError) and failure.not_accepted for failure in failures] == [True, False, False, False]


# Looking whether it works -------------------------------------------------------------------------------------------------------------------


async def test_a_check_tells_of_the_machine_and_the_weights(weights: Path) -> None:
    async with engine(weights) as provider:
        assert await provider.check() == "Draws with crayons on auto. Models: sd-turbo."
    hopeful = made({"LOCAL_MODEL": str(weights), "LOCAL_MODELS": '["nobody/dreams"]', "LOCAL_HUB": "true", "HF_HOME": "/nowhere"})
    assert await hopeful.check() == "Draws with crayons on auto. Models: sd-turbo, dreams. Downloaded when first used: dreams."
    await hopeful.aclose()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LOCAL_MODEL": "/nowhere/at/all"}, "There are no weights in /nowhere/at/all"),
        ({"LOCAL_MODEL": "nobody/dreams"}, "nobody/dreams is not on this machine. Set LOCAL_HUB=true"),
        ({"LOCAL_MODELS": '[{"weights": "/nowhere/x.gguf", "base": "nobody/dreams"}]', "LOCAL_HUB": "true"}, "There is no file /nowhere/x.gguf"),
    ],
)
async def test_missing_weights_are_named_before_anything_is_started(environment: dict[str, str], words: str) -> None:
    provider = made({**environment, "HF_HOME": "/nowhere"})
    for work in (provider.check, lambda: draw(provider)):
        with pytest.raises(ConfigError, match=words):
            await work()
    assert not provider._worker.busy


@pytest.mark.skipif(find_spec("diffusers") is not None, reason="the libraries are installed here")
async def test_missing_libraries_are_named_with_the_extra_that_brings_them(weights: Path) -> None:
    provider = load({"LOCAL_MODEL": str(weights)})
    assert provider is not None
    with pytest.raises(ConfigError, match=r"diffusers, torch, transformers, accelerate is not installed.*image-gen-mcp-server\[diffusers\]"):
        await provider.check()


async def test_a_model_that_is_gone_from_the_settings_is_not_guessed_at(weights: Path) -> None:
    async with engine(weights) as provider:
        with pytest.raises(ConfigError, match="old is no longer among the local models; there are sd-turbo"):
            await provider.generate(CAT, replace(provider.catalogue.models[0], id="old"), Ear())


# As clients see it --------------------------------------------------------------------------------------------------------------------------


async def test_an_assistant_draws_and_cancels(weights: Path, tmp_path: Path) -> None:
    settings = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    async with engine(weights) as provider, studio_with({"local": provider}, settings) as studio, Client(build_server(studio)) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            first = (await client.call_tool(tool, arguments)).content[0]
            assert isinstance(first, types.TextContent)
            answer = json.loads(first.text)
            assert isinstance(answer, dict)
            return answer

        drawn = await call("generate_image", prompt="a cat", seed=7)
        assert [(image["provider"], image["seed"]) for image in drawn["images"]] == [("local", 7)]
        running = await call("generate_image", prompt="go on and on", wait_seconds=0)
        job = running["job"]["id"]
        while (await call("get_job", job_id=job, wait_seconds=0))["job"]["progress"] < 0.3:
            await anyio.sleep(0.02)
        assert (await call("cancel_job", job_id=job))["job"]["state"] == "cancelled"
        assert (await call("generate_image", prompt="a dog"))["ok"]
