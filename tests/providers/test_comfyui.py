from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, UnavailableError
from mcp_image_server.models import Adjustment, Drawn, Edges, Generated, ImageRequest, Model, Operation, Picture, Size, find_model
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.comfyui import AUTO, CATALOGUE, ComfyUI, Config, checkpoints_in, load, news_in, preview_in, read_fault
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.comfyui import CHECKPOINTS, PREVIEW, FakeComfyUI, Trouble
from ..fakes.server import closed_port, picture
from .service import served

pytestmark = pytest.mark.anyio

XL = CHECKPOINTS[0]
CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=64, height=48))
PHOTO = Picture(data=picture(64, 64, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=64))
MASK = Picture(data=picture(64, 64), media_type="image/png", size=Size(width=64, height=64))
ANY = CATALOGUE.models[0]

server, fake = served(FakeComfyUI)


@asynccontextmanager
async def engine(fake: FakeComfyUI, *, silence: float = 5.0, **variables: str) -> AsyncIterator[ComfyUI]:
    provider = ComfyUI(parse(Config, {"COMFYUI_URL": fake.url, **variables}), silence=silence)
    try:
        with anyio.fail_after(60):
            yield provider
    finally:
        await provider.aclose()


async def draw(
    fake: FakeComfyUI,
    request: ImageRequest = CAT,
    *,
    model: Model = ANY,
    ear: Ear | None = None,
    silence: float = 5.0,
    variables: Mapping[str, str] | None = None,
) -> Generated:
    async with engine(fake, silence=silence, **(variables or {})) as provider:
        return await provider.generate(request, model, ear or Ear())


def sent(fake: FakeComfyUI) -> Any:
    """The graph of the only work that was queued."""
    (body,) = (seen.json() for seen in fake.seen if seen.path == "/prompt")
    assert body.keys() == {"prompt", "client_id", "prompt_id"}
    return body["prompt"]


def wrote(path: Path, graph: Mapping[str, Any]) -> str:
    path.write_text(json.dumps(graph), encoding="utf-8")
    return str(path)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_the_engines_address_makes_the_provider_and_one_account_for_all_processes() -> None:
    assert load({}) is None
    assert load({"COMFYUI_MODEL": "x.safetensors"}) is None
    provider = load({"COMFYUI_URL": "http://127.0.0.1:8188/"})
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable, provider.catalogue) == ("comfyui", True, CATALOGUE)
    again, elsewhere = load({"COMFYUI_URL": "http://127.0.0.1:8188"}), load({"COMFYUI_URL": "http://10.0.0.2:8188"})
    assert again is not None
    assert elsewhere is not None
    assert provider.account == again.account != elsewhere.account


PLAIN = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "masterpiece, {prompt}", "clip": ["2", 1]}}}


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("COMFYUI_WORKFLOW", None, "COMFYUI_WORKFLOW: missing.json cannot be read"),
        ("COMFYUI_WORKFLOW", "{", "cannot be read as JSON"),
        ("COMFYUI_WORKFLOW", '{"nodes": [], "links": []}', "no workflow in API format. In ComfyUI choose Workflow, then Export (API)"),
        ("COMFYUI_WORKFLOW", "{}", "no workflow in API format"),
        ("COMFYUI_WORKFLOW", '{"1": {"class_type": "X", "inputs": {"text": "fixed"}}}', "has no {prompt}"),
        ("COMFYUI_WORKFLOW", '{"1": {"class_type": "X", "inputs": {"a": "{prompt}", "b": "{image}"}}}', "has {image}, but nothing is given there"),
        ("COMFYUI_EDIT_WORKFLOW", json.dumps(PLAIN), "COMFYUI_EDIT_WORKFLOW: workflow.json has no {image}"),
        ("COMFYUI_INPAINT_WORKFLOW", json.dumps(PLAIN), "has no {image} and no {mask}"),
    ],
)
def test_a_workflow_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, variable: str, text: str | None, words: str) -> None:
    path = Path("workflow.json" if text is not None else "missing.json")  # the working directory is the test's own
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load({"COMFYUI_URL": "http://127.0.0.1:8188", variable: str(path)})
    assert words in caught.value.message


def test_a_workflow_decides_what_a_request_can_say(tmp_path: Path) -> None:
    provider = load({"COMFYUI_URL": "http://127.0.0.1:8188", "COMFYUI_WORKFLOW": wrote(tmp_path / "w.json", {"prompt": PLAIN})})
    assert provider is not None
    (model,) = provider.catalogue.models
    assert model == replace(ANY, title="The workflow's own model", sizes=None, max_count=1, seed=False)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

TEXTS = {
    "wanted": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["model", 1]}},
    "unwanted": {"class_type": "CLIPTextEncode", "inputs": {"text": "dogs", "clip": ["model", 1]}},
    "pixels": {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["model", 2]}},
    "picture": {"class_type": "SaveImage", "inputs": {"filename_prefix": "image-gen-mcp-server", "images": ["pixels", 0]}},
}


def sampler(**inputs: Any) -> Any:
    usual = {
        "seed": 7,
        "steps": 25,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": ["model", 0],
        "positive": ["wanted", 0],
        "negative": ["unwanted", 0],
        "latent_image": ["canvas", 0],
    }
    return {"class_type": "KSampler", "inputs": {**usual, **inputs}}


async def test_a_picture_is_drawn_with_this_workflow(fake: FakeComfyUI) -> None:
    request = replace(CAT, negative_prompt="dogs", count=2, options={"steps": 8, "sampler.cfg": 1.5})
    made = await draw(fake, request, model=replace(ANY, id="anime/dreams.safetensors"))
    assert sent(fake) == {
        "model": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "anime/dreams.safetensors"}},
        "canvas": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 48, "batch_size": 2}},
        "sampler": sampler(steps=8, cfg=1.5),
        **TEXTS,
    }
    drawn = Drawn(data=picture(64, 48), seed=7)
    assert made == Generated(images=(drawn, drawn), model="anime/dreams.safetensors")


async def test_a_picture_is_changed_with_this_workflow(fake: FakeComfyUI) -> None:
    request = ImageRequest(prompt="a cat", negative_prompt="dogs", seed=7, images=(PHOTO,))
    await draw(fake, request)
    ((name, data),) = fake.files.items()
    assert data == PHOTO.data
    assert name.endswith(".jpeg [temp]")
    assert sent(fake) == {
        "model": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": XL}},
        "given": {"class_type": "LoadImage", "inputs": {"image": name}},
        "encoded": {"class_type": "VAEEncode", "inputs": {"pixels": ["given", 0], "vae": ["model", 2]}},
        "canvas": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["encoded", 0], "amount": 1}},
        "sampler": sampler(denoise=0.75),
        **TEXTS,
    }


async def test_a_picture_is_painted_anew_under_the_mask_with_this_workflow(fake: FakeComfyUI) -> None:
    request = ImageRequest(prompt="a cat", negative_prompt="dogs", seed=7, images=(PHOTO,), mask=MASK, strength=0.9, count=3)
    made = await draw(fake, request)
    photo, mask = fake.files
    assert fake.files == {photo: PHOTO.data, mask: MASK.data}
    assert sent(fake) == {
        "model": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": XL}},
        "given": {"class_type": "LoadImage", "inputs": {"image": photo}},
        "open": {"class_type": "LoadImageMask", "inputs": {"image": mask, "channel": "alpha"}},
        "encoded": {"class_type": "VAEEncode", "inputs": {"pixels": ["given", 0], "vae": ["model", 2]}},
        "batch": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["encoded", 0], "amount": 3}},
        "canvas": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["batch", 0], "mask": ["open", 0]}},
        "sampler": sampler(denoise=0.9),
        **TEXTS,
    }
    assert len(made.images) == 3


async def test_the_operators_workflow_is_run_as_it_is_but_for_the_placeholders(fake: FakeComfyUI, tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "masterpiece, {prompt} {unknown} {{seed}}", "clip": ["2", 1]}},
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": XL}},
        "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "{seed}", "images": ["1", 0]}},
    }
    request = replace(CAT, prompt="a {seed}", seed=5)
    graph["3"]["inputs"]["filename_prefix"] = "run-{seed}"  # type: ignore[index]
    made = await draw(fake, request, model=replace(ANY, id="other"), variables={"COMFYUI_WORKFLOW": wrote(tmp_path / "w.json", graph)})
    assert sent(fake)["1"]["inputs"]["text"] == "masterpiece, a {seed} {unknown} {5}"
    assert sent(fake)["3"]["inputs"]["filename_prefix"] == "run-5"
    name = str(tmp_path / "w.json")
    assert (made.model, made.adjustments) == (
        None,
        (
            Adjustment(field="resolution", message=f"There is no {{width}} in {name}, so it went by its own."),
            Adjustment(field="model", message=f"There is no {{model}} in {name}, so it went by its own."),
        ),
    )


async def test_a_workflow_with_several_pictures_gets_them_in_order(fake: FakeComfyUI, tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "{prompt}", "clip": ["1", 0]}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "{image}"}},
        "3": {"class_type": "LoadImage", "inputs": {"image": "{image_2}"}},
    }
    variables = {"COMFYUI_EDIT_WORKFLOW": wrote(tmp_path / "edit.json", graph)}
    two = ImageRequest(prompt="both", images=(PHOTO, MASK))
    assert (await draw(fake, two, variables=variables)).adjustments == ()
    photo, mask = fake.files
    assert [sent(fake)[node]["inputs"]["image"] for node in "23"] == [photo, mask]
    fake.seen.clear()
    made = await draw(fake, replace(two, images=(PHOTO,)), variables=variables)
    assert [sent(fake)[node]["inputs"]["image"] for node in "23"] == [photo, photo]
    assert [adjustment.field for adjustment in made.adjustments] == ["images"]
    with pytest.raises(ProviderError, match="room for 1 in the built-in workflow for inpaint, not for 2"):
        await draw(fake, replace(two, mask=MASK), variables=variables)


async def test_an_option_that_no_node_has_is_refused_with_those_there_are(fake: FakeComfyUI) -> None:
    with pytest.raises(ProviderError, match=r"has an input 'stepz'; there are .*steps"):
        await draw(fake, replace(CAT, options={"stepz": 3}))
    assert [seen.path for seen in fake.seen if seen.path == "/prompt"] == []


def test_what_the_engine_cannot_do_is_turned_away_before_it_is_asked() -> None:
    with pytest.raises(Exception, match="cannot outpaint"):
        negotiate(ImageRequest(prompt="more", images=(PHOTO,), extend=Edges(left=8)), ANY, styles={})
    fitted = negotiate(ImageRequest(prompt="a cat", shape=Size(width=1001, height=999)), ANY, styles={})
    assert fitted.request.shape == Size(width=1000, height=1000)


# Work ---------------------------------------------------------------------------------------------------------------------------------------


async def test_progress_and_previews_come_while_the_engine_draws(fake: FakeComfyUI) -> None:
    ear = Ear(lambda: len(fake.seen))
    await draw(fake, ear=ear)
    assert ear.said == [
        (0.05, "ComfyUI has begun."),
        (0.05 + 0.85 * 5 / 20, "ComfyUI is at step 5 of 20."),
        (0.95, "The picture is drawn and on its way."),
    ]
    assert ear.previews == [PREVIEW]
    paths = [seen.path for seen in fake.seen]
    assert paths[:3] == ["/object_info/CheckpointLoaderSimple", "/ws", "/prompt"]
    (body,) = (seen.json() for seen in fake.seen if seen.path == "/prompt")
    assert (ear.tasks, ear.calls_before_acceptance) == ([body["prompt_id"]], [3])
    assert body["client_id"] == fake.seen[1].query["clientId"]


@pytest.mark.parametrize("trouble", [Trouble.MUTE, Trouble.HANG_UP, Trouble.OLD_WORDS, Trouble.OWN_ID, Trouble.MORE_FIELDS, None])
async def test_the_picture_comes_however_little_the_engine_says(fake: FakeComfyUI, trouble: Trouble | None) -> None:
    if trouble is None:
        fake.talks = False
    else:
        fake.trouble.append(trouble)
    made = await draw(fake, silence=0.05)
    assert made.images == (Drawn(data=picture(64, 48), seed=7),)


async def test_pictures_that_were_only_shown_are_better_than_none(fake: FakeComfyUI) -> None:
    fake.trouble.append(Trouble.ONLY_SHOWN)
    assert (await draw(fake)).images == (Drawn(data=picture(16, 16), seed=7),)


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.FAILS, ProviderError, "ComfyUI failed at KSampler: out of memory."),
        (Trouble.EMPTY, BadReplyError, "finished without a picture. The workflow needs a node that saves one"),
        (Trouble.STOPPED, ProviderError, "was told to stop"),
        (Trouble.FORGOTTEN, ProviderError, "does not know the work any more"),
    ],
)
async def test_work_that_brings_nothing_says_why_and_speaks_of_no_bill(
    fake: FakeComfyUI, trouble: Trouble, kind: type[ProviderError], words: str
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(kind) as caught:
        await draw(fake)
    assert words in caught.value.message
    assert "billed" not in caught.value.message
    assert not caught.value.may_have_been_billed


async def test_a_model_the_engine_lacks_is_named_with_those_it_has(fake: FakeComfyUI) -> None:
    with pytest.raises(ProviderError) as caught:
        await draw(fake, model=replace(ANY, id="gone.safetensors"))
    assert "CheckpointLoaderSimple: Value not in list ckpt_name: 'gone.safetensors' not in" in caught.value.message
    assert XL in caught.value.message
    assert caught.value.details["service_code"] == "prompt_outputs_failed_validation"


async def test_an_engine_without_checkpoints_says_what_to_do(fake: FakeComfyUI) -> None:
    fake.checkpoints = []
    with pytest.raises(ProviderError, match=r"no checkpoints\. Put one into its folder models/checkpoints, or set COMFYUI_WORKFLOW"):
        await draw(fake)


async def test_an_engine_that_is_not_there_is_unavailable() -> None:
    provider = load({"COMFYUI_URL": f"http://127.0.0.1:{closed_port()}"})
    assert provider is not None
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await provider.generate(CAT, replace(ANY, id=XL), Ear())
    await provider.aclose()


# Taken up, and broken off -------------------------------------------------------------------------------------------------------------------


async def test_work_is_taken_up_by_its_id_without_queueing_it_again(fake: FakeComfyUI) -> None:
    fake.trouble.append(Trouble.HOLD)
    ear = Ear()
    async with engine(fake) as first, engine(fake) as second, anyio.create_task_group() as tasks:
        tasks.start_soon(first.generate, CAT, ANY, ear)
        while not ear.tasks or ear.tasks[0] not in fake.running:
            await anyio.sleep(0.01)
        (task_id,) = ear.tasks
        fake._settle(task_id, sent(fake), None)
        del fake.running[task_id]
        made = await second.resume(task_id, CAT, ANY, Ear())
        tasks.cancel_scope.cancel()
    assert made == Generated(images=(Drawn(data=picture(64, 48), seed=7),))
    assert len([seen for seen in fake.seen if seen.path == "/prompt"]) == 1


@pytest.mark.parametrize("trouble", [Trouble.STOPPED, Trouble.FORGOTTEN])
async def test_work_that_was_lost_is_done_again_when_it_is_taken_up(fake: FakeComfyUI, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    ear = Ear()
    async with engine(fake) as provider:
        with pytest.raises(ProviderError):
            await provider.generate(CAT, ANY, ear)
        made = await provider.resume(ear.tasks[0], CAT, ANY, ear)
        without = replace(CAT, images=(replace(PHOTO, data=b""),))
        with pytest.raises(ProviderError, match="does not know"):
            await provider.resume("unknown", without, ANY, ear)
    assert made.images == (Drawn(data=picture(64, 48), seed=7),)
    assert len(set(ear.tasks)) == 2


async def test_waiting_says_where_the_work_is(fake: FakeComfyUI) -> None:
    fake.pending.append("waits")
    ear = Ear()
    async with engine(fake) as provider, anyio.create_task_group() as tasks:
        tasks.start_soon(provider.resume, "waits", CAT, ANY, ear)
        while not ear.said:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert ear.said[0] == (0.0, "ComfyUI has the work in line.")


@pytest.mark.parametrize("trouble", [Trouble.HOLD, Trouble.WAIT])
async def test_who_cancels_takes_the_work_from_the_engine_and_no_other(fake: FakeComfyUI, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    other = fake.running.setdefault("somebody else's", type(anyio.Event())())  # type: ignore[arg-type]
    ear = Ear()
    async with engine(fake) as provider, anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, CAT, ANY, ear)
        while not ear.tasks:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    (task_id,) = ear.tasks
    assert task_id not in fake.pending
    interrupts = [seen.json() for seen in fake.seen if seen.path == "/interrupt"]
    assert interrupts == ([{"prompt_id": task_id}] if trouble is Trouble.HOLD else [])
    assert not other.is_set()
    assert {"delete": [task_id]} in [seen.json() for seen in fake.seen if (seen.method, seen.path) == ("POST", "/queue")]


# Check --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combo", [False, True])
async def test_the_check_lists_the_checkpoints_which_then_are_offered(fake: FakeComfyUI, combo: bool) -> None:
    fake.combo = combo
    async with engine(fake) as provider:
        assert await provider.check() == "ComfyUI 0.9.2 answers; checkpoints: sd_xl_base_1.0.safetensors, anime/dreams.safetensors."
        assert [(model.id, model.title) for model in provider.catalogue.models] == [
            (AUTO, "The engine's first checkpoint"),
            ("sd_xl_base_1.0.safetensors", "sd_xl_base_1.0"),
            ("anime/dreams.safetensors", "dreams"),
        ]
        assert find_model(provider.catalogue.models, provider.catalogue.default_model) is not None
    fake.checkpoints = []
    async with engine(fake) as provider:
        assert await provider.check() == "ComfyUI 0.9.2 answers; checkpoints: none."


async def test_a_gateways_token_is_sent_and_never_shown() -> None:
    with FakeComfyUI(token="tok-0123456789") as fake:
        async with engine(fake, COMFYUI_TOKEN="tok-0123456789") as provider:
            assert "checkpoints" in await provider.check()
        async with engine(fake, COMFYUI_TOKEN="wrong-0123456789") as provider:
            with pytest.raises(AuthError) as caught:
                await provider.check()
    assert "Check COMFYUI_TOKEN" in caught.value.message
    assert "wrong-0123456789" not in f"{caught.value!r}{caught.value.details}"


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["no JSON", "[]", "{}", '{"type": "progress"}', '{"type": "progress", "data": {"value": 3, "max": 0}}'])
def test_messages_of_other_kinds_say_nothing(message: str) -> None:
    assert not news_in(message, "p1").done
    assert news_in(message, "p1").words == ""


def test_only_previews_are_taken_for_pictures() -> None:
    assert preview_in(b"\0\0\0\1\0\0\0\2PNG") == b"PNG"
    assert preview_in(b"\0\0\0\4\0\0\0\2{}") is None
    assert preview_in(b"\0\0\0\1\0\0\0\2") is None


@pytest.mark.parametrize("nodes", [{}, {"CheckpointLoaderSimple": {}}, {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": ["COMBO"]}}}}])
def test_a_loader_of_an_unknown_form_lists_nothing(nodes: Any) -> None:
    assert checkpoints_in(nodes) == ()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": "no prompt", "node_errors": []}, Fault(message="no prompt")),
        (
            {"error": {"type": "no_prompt", "message": "No prompt"}, "node_errors": {}},
            Fault(message="No prompt", details={"service_code": "no_prompt"}),
        ),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_errors_without_complaints_about_nodes_are_understood(body: Any, fault: Fault | None) -> None:
    assert read_fault(400, body) == fault


def test_the_operations_are_those_with_a_workflow() -> None:
    assert ANY.operations == {Operation.GENERATE, Operation.EDIT, Operation.INPAINT}
