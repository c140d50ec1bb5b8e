"""Everything a model is declared to do with pictures is done, end to end: from the studio over the wire of its service into the store and the record.

What is tried follows from the catalogues, so that a new declaration is tried as soon as it is made.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image as Pillow

from mcp_image_server import providers
from mcp_image_server.errors import ImageServerError
from mcp_image_server.inputs import Wish
from mcp_image_server.models import Caller, Edges, Image, ImageRequest, Job, JobState, Model, Operation, Size
from mcp_image_server.net import File
from mcp_image_server.pictures import read_provenance
from mcp_image_server.providers.local import Config, Local
from mcp_image_server.settings import parse
from mcp_image_server.studio import Studio, open_studio
from tests.conftest import studio_with
from tests.fakes.engine import command
from tests.fakes.multipart import parts_of
from tests.fakes.server import Seen, Server
from tests.fakes.services import PLACES
from tests.loop import HELD, Steps, steps_of_the_loop

pytestmark = pytest.mark.anyio

SEVERAL = "several pictures"
"""An edit of more pictures than one."""

TRANSPARENT, WHITE, BLACK = "transparent", "white", "black"
PAINTED_ANEW = {
    "openai": TRANSPARENT,
    "azure": TRANSPARENT,
    "deepinfra": TRANSPARENT,
    "comfyui": TRANSPARENT,
    "ideogram": BLACK,
}
"""What marks, in the words of each service, what is painted anew; white for all others."""

IN_WORDS_ALONE = {"recraft"}
"""Those that draw what words say in the look of a picture, and not another picture."""

NEEDED: Mapping[str, Mapping[str, str]] = {
    "search-and-replace": {"search_prompt": "fox"},
    "search-and-recolor": {"select_prompt": "fox"},
    "flux-pro-1.1-ultra-finetuned": {"finetune_id": "my-fox"},
    "flux-pro-1.0-fill-finetuned": {"finetune_id": "my-fox"},
}
"""Options without which these models do nothing, as their notes say."""

NOT_FAKED = {"google/gemini-nano-banana-2.1"}
"""Models that the fake of their service does not offer, and which differ from those that it does in no way that matters here."""

IN_WORDS_TOO = {"upscale-conservative", "upscale-creative"}
"""Those that want to be told what there is to be seen."""

SIDE = 512
EXTEND = Edges(left=96, right=160)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something that a model says it does."""

    provider: str
    model: Model
    what: str

    def __str__(self) -> str:
        return f"{self.provider} {self.what.replace('_', ' ')} {self.model.id}"

    @property
    def operation(self) -> Operation:
        return Operation.EDIT if self.what == SEVERAL else Operation(self.what)

    @property
    def pictures(self) -> int:
        """How many go in, beside mask and style."""
        if self.what == SEVERAL:
            return min(3, self.model.max_images)
        if self.operation is Operation.STYLE_TRANSFER and self.provider in IN_WORDS_ALONE:
            return 0
        return min(1, self.model.max_images)


def declared() -> Iterator[Case]:
    """Everything that is said about changing pictures, model by model."""
    for name, catalogue in providers.catalogues().items():
        for model in catalogue.models:
            for operation in sorted(model.operations - {Operation.GENERATE}):
                yield Case(provider=name, model=model, what=str(operation))
            if Operation.EDIT in model.operations and model.max_images > 1:
                yield Case(provider=name, model=model, what=SEVERAL)


def representatives() -> list[Case]:
    """One model for everything that a provider does."""
    found: dict[tuple[str, str], Case] = {}
    for case in declared():
        found.setdefault((case.provider, case.what), case)
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Material:
    """Stored pictures to be worked on."""

    pictures: tuple[Image, ...]
    bytes: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of a case."""

    job: Job | ImageServerError
    """Or why there is none."""
    stored: tuple[bytes, ...]
    sent: tuple[Seen, ...]
    material: Material


def wish(case: Case, material: Material) -> Wish:
    """What a person would ask for."""
    silent = case.operation in (Operation.UPSCALE, Operation.REMOVE_BACKGROUND, Operation.VARIATION) and case.model.id not in IN_WORDS_TOO
    prompt = "" if silent else "a green door"
    ids = [image.id for image in material.pictures]
    request = ImageRequest(
        prompt=prompt,
        provider=case.provider,
        model=case.model.id,
        action=case.operation,
        extend=EXTEND if case.operation is Operation.OUTPAINT else None,
        options=NEEDED.get(case.model.id, {}),
    )
    return Wish(
        request=request,
        images=tuple(ids[: case.pictures]),
        boxes=((0, 0, 0.5, 1),) if case.operation is Operation.INPAINT else (),
        style_image=ids[-1] if case.operation is Operation.STYLE_TRANSFER else "",
    )


async def try_it(studio: Studio, case: Case, material: Material, server: Server | None) -> Tried:
    before = len(server.seen) if server else 0
    try:
        job: Job | ImageServerError = await studio.generate(Caller(), wish(case, material), wait_seconds=60)
    except ImageServerError as error:
        job = error
    stored = [await studio.images.read(image) for image in job.images] if isinstance(job, Job) else []
    return Tried(job=job, stored=tuple(stored), sent=tuple(server.seen[before:]) if server else (), material=material)


async def material_of(studio: Studio) -> Material:
    """Pictures that look different from each other."""
    words = ("a red fox in the snow", "the sea at night", "a field of tulips")
    size = Size(width=SIDE, height=SIDE)
    jobs = [await studio.generate(Caller(), ImageRequest(prompt=text, provider="sketch", shape=size), wait_seconds=60) for text in words]
    assert not [failure for job in jobs if (failure := job.failure)], jobs[0].failure
    images = tuple(job.images[0] for job in jobs)
    return Material(pictures=images, bytes=tuple([await studio.images.read(image) for image in images]))


@dataclass(frozen=True, kw_only=True)
class Day:
    """What came of cases, and how long the loop was held meanwhile."""

    outcomes: Mapping[str, Tried]
    steps: Steps


async def try_all(cases: Sequence[Case], folder: Path) -> Day:
    """What came of the cases: those of one provider one after the other, so that it is plain what was sent for which."""
    found: dict[str, Tried] = {}
    environment = {"MCP_DATA_DIR": str(folder / "data"), "MCP_IMAGE_SAVE_DIR": str(folder / "pictures"), "MCP_MAX_CONCURRENT_JOBS": "8"}
    with ExitStack() as running:
        servers = {name: running.enter_context(place.fake()) for name, place in PLACES.items()}
        for name, server in servers.items():
            environment |= PLACES[name].variables(server)

        async def those_of(name: str, studio: Studio, material: Material) -> None:
            for case in cases:
                if case.provider == name:
                    found[str(case)] = await try_it(studio, case, material, servers.get(name))

        async with open_studio(environment) as studio, with_local(folder) as local:
            material = await material_of(studio)
            ours = await material_of(local) if any(case.provider == "local" for case in cases) else material
            with steps_of_the_loop() as steps:
                async with anyio.create_task_group() as tasks:
                    for name in {case.provider for case in cases} - {"local"}:
                        tasks.start_soon(those_of, name, studio, material)
                    tasks.start_soon(those_of, "local", local, ours)
    return Day(outcomes=found, steps=steps)


@asynccontextmanager
async def with_local(folder: Path) -> AsyncIterator[Studio]:
    """A studio whose models on this machine are an engine that needs no weights."""
    weights = folder / "weights"
    (weights / "unet").mkdir(parents=True)
    (weights / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (weights / "unet" / "config.json").write_text('{"sample_size": 64}')
    environment = {"LOCAL_MODEL": str(weights), "MCP_DATA_DIR": str(folder / "local"), "MCP_IMAGE_SAVE_DIR": str(folder / "drawn")}
    sketch = providers.load({})["sketch"]
    async with studio_with({"local": Local(parse(Config, environment), environment, command=command()), "sketch": sketch}, environment) as studio:
        yield studio


# What is seen on the wire -------------------------------------------------------------------------------------------------------------------


def pictures_in(sent: Sequence[Seen]) -> list[Pillow.Image]:
    """Every picture in these requests, however it was packed."""
    return [picture for seen in sent for data in _packed(seen) if (picture := _opened(data)) is not None]


def _packed(seen: Seen) -> Iterator[bytes]:
    kind = seen.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        for _, value in parts_of(seen):
            yield from [value.data] if isinstance(value, File) else _packed_in(value)
    elif "json" in kind:
        yield from _packed_in(seen.json())
    else:
        yield seen.body


def _packed_in(value: Any) -> Iterator[bytes]:
    if isinstance(value, str) and len(value) > 100:
        try:
            yield base64.b64decode(value.rpartition("base64,")[2], validate=True)
        except binascii.Error:
            return
    elif isinstance(value, list) and len(value) > 100 and all(isinstance(each, int) for each in value):
        yield bytes(value)
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _packed_in(each)


def _said(seen: Seen) -> str:
    """What a request says besides pictures."""
    if seen.headers.get("content-type", "").startswith("multipart/form-data"):
        return " ".join(value for _, value in parts_of(seen) if isinstance(value, str))
    return re.sub(r'"[^"]{200,}"', "", seen.body.decode("latin-1"))


def _opened(data: bytes) -> Pillow.Image | None:
    try:
        picture = Pillow.open(BytesIO(data))
        picture.load()
    except OSError:
        return None
    return picture


def looks_like(one: Pillow.Image, data: bytes) -> bool:
    """Whether both show the same, up to what a lossy format and another size change."""
    other = Pillow.open(BytesIO(data))
    pixels = [image.convert("RGB").resize((16, 16), Pillow.Resampling.BOX).tobytes() for image in (one, other)]
    distance: float = sum(abs(a - b) for a, b in zip(*pixels, strict=True)) / len(pixels[0])
    return distance < 6


def mark_of(mask: Pillow.Image) -> str | None:
    """What marks the left half of a mask, as opposed to the right one; None for what is no mask of halves."""
    left, right = (mask.width // 4, mask.height // 2), (mask.width * 3 // 4, mask.height // 2)
    if mask.mode in ("RGBA", "LA"):
        opacity = mask.getchannel("A")
        if opacity.getextrema() == (0, 255):
            return TRANSPARENT if (opacity.getpixel(left), opacity.getpixel(right)) == (0, 255) else "the wrong half"
    levels = mask.convert("L")
    if sum(levels.histogram()[1:255]):
        return None
    return {(255, 0): WHITE, (0, 255): BLACK}.get((levels.getpixel(left), levels.getpixel(right)))  # type: ignore[arg-type]


def check(case: Case, tried: Tried) -> None:
    """Holds what came of a case against what has to come of it."""
    job, material = tried.job, tried.material
    assert isinstance(job, Job), job
    assert job.state is JobState.SUCCEEDED, job.failure
    assert (job.provider, job.request.operation) == (case.provider, case.operation)
    style = [material.pictures[-1]] if case.operation is Operation.STYLE_TRANSFER else []
    parents = [image.id for image in (*material.pictures[: case.pictures], *style)]
    for image, data in zip(job.images, tried.stored, strict=True):
        picture = _opened(data)
        assert picture is not None
        assert (picture.width, picture.height) == (image.size.width, image.size.height)
        assert image.parents == tuple(parents)
        told = read_provenance(data)
        assert (told["provider"], told["job_id"]) == (case.provider, job.id)
    assert job.images
    if case.provider in PLACES:
        check_sent(case, tried, [*range(case.pictures), *([len(material.pictures) - 1] if style else [])])


def check_sent(case: Case, tried: Tried, wanted: Sequence[int]) -> None:
    """Holds what the service received against what was asked for."""
    assert isinstance(tried.job, Job)
    arrived = pictures_in(tried.sent)
    places = [next((place for place, each in enumerate(arrived) if looks_like(each, tried.material.bytes[number])), None) for number in wanted]
    assert None not in places, f"of the pictures {wanted}, {places} arrived"
    if case.operation is not Operation.STYLE_TRANSFER:
        assert places == sorted(places, key=lambda place: place or 0), "they arrived in another order"
    if case.operation is Operation.INPAINT:
        marks = [mark for each in arrived if (mark := mark_of(each)) is not None]
        assert marks == [PAINTED_ANEW.get(case.provider, WHITE)]
        masks = [each for each in arrived if mark_of(each) is not None]
        assert masks[0].size == (SIDE, SIDE)
    if case.operation is Operation.OUTPAINT:
        numbers = {number for seen in tried.sent for number in re.findall(r"\d+(?:\.\d+)?", _said(seen))}
        told = numbers & {str(EXTEND.right), str(SIDE + EXTEND.left + EXTEND.right), str(1 + 2 * EXTEND.right / SIDE)}
        assert told or "extend" in {each.field for each in tried.job.adjustments}
    if wish(case, tried.material).request.prompt and not any(b"green door" in seen.body for seen in tried.sent):
        assert "prompt" in {adjustment.field for adjustment in tried.job.adjustments}, "nobody is told that the words were left out"


REPRESENTATIVES = representatives()


@pytest.fixture(scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Everything that is declared, by one model of each provider."""
    return await try_all(REPRESENTATIVES, tmp_path_factory.mktemp("operations"))


@pytest.mark.parametrize("case", REPRESENTATIVES, ids=str)
async def test_what_is_declared_is_done(case: Case, day: Day) -> None:
    check(case, day.outcomes[str(case)])


async def test_nothing_of_it_holds_the_loop(day: Day, tmp_path: Path) -> None:
    held = day.steps.over(HELD)
    for attempt in range(2):
        if held:
            held = (await try_all(REPRESENTATIVES, tmp_path / str(attempt))).steps.over(HELD)
    assert held == {}


@pytest.mark.long
async def test_what_any_model_declares_is_done(tmp_path: Path) -> None:
    cases = [case for case in declared() if case not in REPRESENTATIVES and case.model.id not in NOT_FAKED]
    day = await try_all(cases, tmp_path)
    failed = []
    for case in cases:
        try:
            check(case, day.outcomes[str(case)])
        except AssertionError as error:
            failed.append(f"{case}: {str(error).partition(chr(10))[0]}")
    assert not failed, "\n".join(failed)
