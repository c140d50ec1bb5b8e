"""Changing pictures: what callers name becomes what a service takes, is on disk with the job, and leaves a lineage."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from mcp import Client, types
from PIL import Image

from mcp_image_server.errors import ImageServerError, NotFoundError, RequestError, UnsupportedError
from mcp_image_server.inputs import Wish
from mcp_image_server.models import Adjustment, Caller, Edges, Generated, ImageRequest, JobState, Model, Operation, Size
from mcp_image_server.providers import Context
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import CATALOGUE, MODEL, Easel, Gate, draw, png
from tests.jobs.place import Place, dead_owner

pytestmark = pytest.mark.anyio

PAINTER = replace(MODEL, operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.UPSCALE}), max_images=3, mask=True)
RED = png(Size(width=32, height=16), (255, 0, 0))


def painter(model: Model = PAINTER, **changes: object) -> Easel:
    return Easel(catalogue=replace(CATALOGUE, models=(model,)), **changes)  # type: ignore[arg-type]


@dataclass
class Room:
    """A folder of files, and a caller to whom it is open."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)

    @property
    def caller(self) -> Caller:
        return Caller(folders=(self.folder,))


def wish(*images: str, prompt: str = "make it blue", **more: object) -> Wish:
    changes = {name: more.pop(name) for name in ("action", "extend", "strength", "shape") if name in more}
    return Wish(request=replace(ImageRequest(prompt=prompt), **changes), images=images, **more)  # type: ignore[arg-type]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    return {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}


async def test_a_picture_is_named_in_any_way_and_a_stored_one_becomes_a_parent(tmp_path: Path, folders: dict[str, str]) -> None:
    room = Room(tmp_path, {"red.png": RED})
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio:
        first = (await studio.generate(room.caller, ImageRequest(prompt="a square"))).images[0]
        encoded = base64.b64encode(RED).decode()
        ways = [first.id, f"image://{first.id}", "red.png", str(tmp_path / "red.png"), f"data:image/png;base64,{encoded}", encoded + " " * 200]
        for way in ways:
            job = await studio.generate(room.caller, wish(way))
            assert job.state is JobState.SUCCEEDED, (way, job.failure)
            assert job.images[0].parents == ((first.id,) if first.id in way else ())
    sizes = [str(request.images[0].size) for request in easel.asked[1:]]
    assert sizes == ["64x64", "64x64", "32x16", "32x16", "32x16", "32x16"]


async def test_what_is_drawn_again_keeps_its_pictures_where_no_others_are_named(tmp_path: Path, folders: dict[str, str]) -> None:
    room = Room(tmp_path, {"red.png": RED})
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio:
        first = (await studio.generate(room.caller, ImageRequest(prompt="a square"))).images[0]
        job = await studio.generate(room.caller, wish(first.id, boxes=((0, 0, 0.5, 1),)))
        before = await studio.again(room.caller, job.images[0].id, prompt="make it green")
        await studio.generate(room.caller, Wish(request=before, boxes=((0.5, 0, 0.5, 1),)))
        moved = easel.asked[-1]
        assert (moved.images, moved.parents, moved.mask != before.mask) == (before.images, (first.id,), True)
        await studio.generate(room.caller, Wish(request=before, images=("red.png",)))
    other = easel.asked[-1]
    assert (other.images[0].data, other.parents, other.operation) == (RED, (), Operation.EDIT)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("0011223344556677-1", NotFoundError, "not found"),
        ("nothing.png", NotFoundError, "There is no file"),
        ("../elsewhere.png", RequestError, "outside the allowed folders"),
        ("notes.txt", RequestError, "no picture"),
        ("", RequestError, "is empty"),
        ("data:image/png;base64,@@@", RequestError, "base64 is damaged"),
        ("http://127.0.0.1:1/x.png", RequestError, "not an address on the public internet"),
        ("http://169.254.169.254/latest", RequestError, "not an address on the public internet"),
        ("http://[::ffff:127.0.0.1]/x", RequestError, "not an address on the public internet"),
        ("http://2130706433/x", RequestError, "not an address on the public internet"),
        ("http://0177.0.0.1/x", RequestError, "no address"),
    ],
)
async def test_what_cannot_be_had_is_said_before_anything_is_sent(
    tmp_path: Path, folders: dict[str, str], source: str, kind: type[ImageServerError], words: str
) -> None:
    room = Room(tmp_path, {"notes.txt": b"milk, bread, and a long list of other things that are not pixels"})
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio:
        with pytest.raises(kind, match=words):
            await studio.generate(room.caller, wish(source))
        assert await studio.jobs(room.caller) == []
    assert easel.asked == []


async def test_without_open_folders_no_file_is_read(tmp_path: Path, folders: dict[str, str]) -> None:
    Room(tmp_path, {"red.png": RED})
    async with studio_with({"easel": painter()}, folders) as studio:
        with pytest.raises(RequestError, match="cannot be read from here"):
            await studio.generate(Caller(), wish(str(tmp_path / "red.png")))


async def test_somebody_elses_picture_is_no_input(tmp_path: Path, folders: dict[str, str]) -> None:
    async with studio_with({"easel": painter()}, folders) as studio:
        mine = (await studio.generate(Caller(principal="ann", roles=frozenset()), ImageRequest(prompt="mine"))).images[0]
        with pytest.raises(NotFoundError):
            await studio.generate(Caller(principal="eve", roles=frozenset()), wish(mine.id))


async def test_boxes_become_a_mask_of_the_pictures_size(tmp_path: Path, folders: dict[str, str]) -> None:
    room = Room(tmp_path, {"red.png": RED})
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio:
        await studio.generate(room.caller, wish("red.png", boxes=((0, 0, 0.5, 1),)))
    (asked,) = easel.asked
    assert asked.operation is Operation.INPAINT
    assert asked.mask is not None
    (tmp_path / "mask.png").write_bytes(asked.mask.data)
    alpha = Image.open(tmp_path / "mask.png").convert("RGBA").getchannel("A")
    assert (alpha.size, alpha.getpixel((2, 8)), alpha.getpixel((30, 8))) == ((32, 16), 0, 255)


async def test_a_mask_without_its_picture_is_refused(folders: dict[str, str]) -> None:
    async with studio_with({"easel": painter()}, folders) as studio:
        with pytest.raises(RequestError, match="needs the picture that it belongs to"):
            await studio.generate(Caller(), wish(boxes=((0, 0, 1, 1),)))


async def test_a_model_that_paints_into_pictures_also_paints_on_beyond_their_edges(tmp_path: Path, folders: dict[str, str]) -> None:
    room = Room(tmp_path, {"red.png": RED})
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio:
        job = await studio.generate(room.caller, wish("red.png", prompt="", extend=Edges(right=32, bottom=16)))
    (asked,) = easel.asked
    assert (asked.operation, asked.images[0].size, asked.shape) == (Operation.INPAINT, Size(width=64, height=32), Size(width=64, height=32))
    assert (
        Adjustment(field="extend", message="easel/easel-1 paints into a larger picture, since it cannot paint on beyond the edges.")
        in job.adjustments
    )


async def test_what_no_model_can_do_is_refused_with_the_names_of_those_that_can(tmp_path: Path, folders: dict[str, str]) -> None:
    room = Room(tmp_path, {"red.png": RED})
    other = replace(PAINTER, provider="board", id="board-1", operations=PAINTER.operations | {Operation.REMOVE_BACKGROUND})
    board = Easel(name="board", catalogue=replace(CATALOGUE, provider="board", models=(other,), default_model="board-1"))
    async with studio_with({"easel": painter(), "board": board}, folders) as studio:
        with pytest.raises(UnsupportedError, match=r"easel/easel-1 cannot remove background\. Models that can: board/board-1") as caught:
            await studio.generate(room.caller, wish("red.png", prompt="", action=Operation.REMOVE_BACKGROUND))
        assert caught.value.details["models"] == ["board/board-1"]
        with pytest.raises(UnsupportedError, match="cannot outpaint"):
            await studio.generate(
                room.caller,
                replace(
                    wish("red.png", extend=Edges(left=8)),
                    request=replace(ImageRequest(prompt="x"), model="easel-1", action=Operation.OUTPAINT, extend=Edges(left=8)),
                    images=("red.png", "red.png"),
                ),
            )


async def test_a_job_with_pictures_is_begun_again_after_a_crash_from_the_record_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    gate = Gate()
    easel = Easel(work=gate, repeatable=True)
    seen: list[bytes] = []

    async def look(request: ImageRequest, context: Context) -> Generated:
        seen.append(request.images[0].data)
        return draw(replace(request, images=()))

    picture = replace(draw(ImageRequest(prompt="x")).images[0])
    async with place.server(easel) as one:
        from mcp_image_server.models import Picture

        wanted = Picture(data=picture.data, media_type="image/png", size=Size(width=64, height=64))
        job = await one.submit("bluer", images=(wanted,))
        await easel.started.wait()
        async with one.history._write() as connection:
            import sqlalchemy as sa

            await connection.execute(sa.text("UPDATE jobs SET owner = :owner"), {"owner": dead_owner()})
        async with place.server(Easel(work=look, repeatable=True)) as other:
            ended = await other.jobs.wait(job.id, 5)
        gate.opened.set()
    assert ended.state is JobState.SUCCEEDED
    assert seen == [picture.data]


async def test_the_tool_edits_with_boxes_and_says_what_was_changed(tmp_path: Path, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    Room(tmp_path, {"red.png": RED})
    monkeypatch.chdir(tmp_path)
    easel = painter()
    async with studio_with({"easel": easel}, folders) as studio, Client(build_server(studio)) as client:
        arguments = {"images": ["red.png"], "prompt": "a door", "mask_boxes": [[0, 0, 8, 8]], "strength": 0.5}
        result = await client.call_tool("edit_image", arguments)
        first = result.content[0]
        assert isinstance(first, types.TextContent)
        assert not result.is_error, first.text
        assert "no such setting" in first.text
    assert easel.asked[0].operation is Operation.INPAINT
