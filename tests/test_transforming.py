"""Pictures changed without a service: stored with their lineage, or written where they are wanted."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_image_server.errors import NotFoundError, RequestError
from mcp_image_server.guard import ForbiddenPathError
from mcp_image_server.models import Caller, ImageRequest, JobState, Size
from mcp_image_server.pictures import aigc_label, embed, examine, read_labels, read_provenance
from mcp_image_server.studio import Studio
from mcp_image_server.transforming import Transformation, read_bytes, read_steps
from tests.pictures.made import encoded, gps_exif, opened, pixel, quarters, scene

pytestmark = pytest.mark.anyio

ME = Caller()


@pytest.fixture
def here(tmp_path: Path) -> Caller:
    """A caller to whom a folder is open."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(encoded(quarters(80, 60), "JPEG", quality=95))
    return Caller(folders=(folder,))


async def drawn(studio: Studio, prompt: str = "a cat", **request: Any) -> str:
    """The id of a picture that the easel drew."""
    (image,) = (await studio.generate(ME, ImageRequest(prompt=prompt, seed=7, **request))).images
    return image.id


async def test_what_comes_of_a_stored_picture_is_stored_with_its_lineage(studio: Studio) -> None:
    source = await studio.images.get(ME, await drawn(studio))
    job = (await studio.transform(ME, Transformation(images=(source.id,), crop="32x16", format="jpeg"))).job
    assert job is not None
    (image,) = job.images
    assert (image.provider, image.model, image.prompt, image.parents) == ("transform", "local", "a cat", (source.id,))
    assert (image.media_type, image.size) == ("image/jpeg", Size(width=32, height=16))
    assert image.key == f"img_transform_{job.id}-1.jpg"
    data = await studio.images.read(image)
    assert examine(data).sha256 == image.sha256
    assert read_provenance(data) == read_provenance(await studio.images.read(source))
    recorded = await studio.job(ME, job.id)
    assert recorded == job
    assert (recorded.state, recorded.request.prompt, recorded.cost) == (JobState.SUCCEEDED, "crop 32x16, jpeg", None)
    assert [found.id for found in await studio.images.search(ME, "cat")] == [image.id, source.id]
    assert (await studio.upkeep.verify(ME)).ok


async def test_what_no_service_drew_cannot_be_drawn_again(studio: Studio) -> None:
    source = await drawn(studio)
    job = (await studio.transform(ME, Transformation(images=(source,), rotate=90))).job
    assert job is not None
    with pytest.raises(RequestError, match=f"made here from {source}: no service drew it"):
        await studio.again(ME, job.images[0].id)


async def test_the_steps_come_in_one_order(studio: Studio, here: Caller) -> None:
    wanted = Transformation(images=("photo.jpg",), resize="x40", rotate=90, flip="horizontal", crop="0,0,0.5,1", save_as="out.png")
    (file,) = (await studio.transform(here, wanted)).files
    picture = opened(file.path.read_bytes())
    assert (picture.format, picture.size) == ("PNG", (60, 40))
    # The left half, red above blue, turned to blue beside red, and mirrored.
    assert pixel(picture, 10, 20)[0] > 200
    assert pixel(picture, 50, 20)[2] > 200


async def test_each_of_several_pictures_is_changed(studio: Studio, here: Caller) -> None:
    one, two = await drawn(studio), await drawn(studio, "a dog")
    job = (await studio.transform(here, Transformation(images=(one, f"image://{two}", "photo.jpg"), resize="20x"))).job
    assert job is not None
    assert [(image.prompt, image.parents, image.size.width) for image in job.images] == [
        ("a cat", (one,), 20),
        ("a dog", (two,), 20),
        ("photo.jpg", (), 20),
    ]
    assert job.request.parents == (one, two)


async def test_a_picture_that_is_so_already_stays_as_it_is(studio: Studio) -> None:
    source = await drawn(studio)
    job = (await studio.transform(ME, Transformation(images=(source,), format="png", max_bytes="1MB"))).job
    assert job is not None
    assert job.images[0].sha256 == (await studio.images.get(ME, source)).sha256


@pytest.mark.parametrize("step", [{"crop": "32x32"}, {"format": "avif"}])
async def test_a_picture_that_services_do_not_take_keeps_its_format_but_not_its_place(studio: Studio, here: Caller, step: dict[str, Any]) -> None:
    exif = gps_exif()
    exif[0x0112] = 6  # lies on its side
    (here.folders[0] / "holiday.avif").write_bytes(encoded(scene(96, 64), "AVIF", exif=exif))
    job = (await studio.transform(here, Transformation(images=("holiday.avif",), **step))).job
    assert job is not None
    (image,) = job.images
    assert (image.media_type, image.size) == ("image/avif", Size(width=32, height=32) if "crop" in step else Size(width=64, height=96))
    assert not opened(await studio.images.read(image)).getexif()


async def test_a_sheet_is_made_of_all_pictures(studio: Studio, here: Caller) -> None:
    names = (await drawn(studio), await drawn(studio, "a dog"), "photo.jpg")
    job = (await studio.transform(here, Transformation(images=names, sheet=True, format="png"))).job
    assert job is not None
    (image,) = job.images
    assert (image.prompt, image.parents, image.media_type) == ("contact sheet of 3, png", names[:2], "image/png")
    labels = read_labels(await studio.images.read(image))
    assert labels == {"aigc": aigc_label("A test's easel", names[0]), "digital_source_type": "compositeWithTrainedAlgorithmicMedia"}


async def test_a_file_is_written_into_an_open_folder_and_not_recorded(studio: Studio, here: Caller, tmp_path: Path) -> None:
    made = await studio.transform(here, Transformation(images=("photo.jpg",), watermark="ai:zh", save_as="public/hero.webp"))
    (file,) = made.files
    assert made.job is None
    assert (file.path, file.media_type, file.size) == (here.folders[0] / "public" / "hero.webp", "image/webp", Size(width=80, height=60))
    assert file.size_bytes == file.path.stat().st_size
    assert await studio.jobs(ME) == []
    assert not (tmp_path / "pictures").exists()


async def test_several_files_are_numbered(studio: Studio, here: Caller) -> None:
    made = await studio.transform(here, Transformation(images=("photo.jpg", "photo.jpg"), save_as="a.png"))
    assert [file.path.name for file in made.files] == ["a.png", "a-2.png"]


async def test_icons_are_a_folder_of_files(studio: Studio, here: Caller) -> None:
    made = await studio.transform(here, Transformation(images=("photo.jpg",), crop="1:1", icons="icons"))
    folder = here.folders[0] / "icons"
    assert {file.path.name: (file.media_type, str(file.size)) for file in made.files} == {
        "apple-touch-icon.png": ("image/png", "180x180"),
        "icon-192.png": ("image/png", "192x192"),
        "icon-512.png": ("image/png", "512x512"),
        "icon-maskable-192.png": ("image/png", "192x192"),
        "icon-maskable-512.png": ("image/png", "512x512"),
        "open-graph.jpg": ("image/jpeg", "1200x630"),
        "favicon.ico": ("image/x-icon", "None"),
    }
    assert all(file.path.parent == folder and file.size_bytes == file.path.stat().st_size for file in made.files)
    with pytest.raises(RequestError, match="made of one picture"):
        await studio.transform(here, Transformation(images=("photo.jpg", "photo.jpg"), icons="icons"))


@pytest.mark.parametrize(("field", "place"), [("save_as", "../out.png"), ("icons", "../icons")])
async def test_nothing_is_written_elsewhere(studio: Studio, here: Caller, field: str, place: str) -> None:
    changes: dict[str, Any] = {field: place}
    elsewhere = Transformation(images=("photo.jpg",), **changes)
    with pytest.raises(ForbiddenPathError):
        await studio.transform(here, elsewhere)
    with pytest.raises(ForbiddenPathError, match="No folder is open"):
        await studio.transform(ME, replace(elsewhere, images=(await drawn(studio),)))
    assert sorted(path.name for path in here.folders[0].iterdir()) == ["photo.jpg"]


async def test_only_ones_own_pictures_are_changed(studio: Studio) -> None:
    stranger = Caller(principal="somebody", roles=frozenset())
    with pytest.raises(NotFoundError):
        await studio.transform(stranger, Transformation(images=(await drawn(studio),), flip="vertical"))


async def test_a_photo_is_not_claimed_to_be_generated(studio: Studio) -> None:
    photo = b64encode(encoded(scene(), "PNG")).decode()
    job = (await studio.transform(ME, Transformation(images=(photo,), flip="vertical"))).job
    assert job is not None
    data = await studio.images.read(job.images[0])
    assert (read_provenance(data), read_labels(data), job.images[0].prompt) == ({}, {}, "")


async def test_labels_of_others_are_carried_over(studio: Studio, here: Caller) -> None:
    label = aigc_label("somebody else", "9")
    (here.folders[0] / "theirs.png").write_bytes(embed(encoded(scene(), "PNG"), {"aigc": label, "digital_source_type": "trainedAlgorithmicMedia"}))
    (file,) = (await studio.transform(here, Transformation(images=("theirs.png",), flip="vertical", save_as="ours.jpg"))).files
    assert read_labels(file.path.read_bytes()) == {"aigc": label, "digital_source_type": "trainedAlgorithmicMedia"}


async def test_a_watermark_can_be_a_stored_picture(studio: Studio, here: Caller) -> None:
    mark = await drawn(studio)
    wanted = Transformation(images=("photo.jpg",), watermark_image=mark, corner="top_left", save_as="marked.png")
    (file,) = (await studio.transform(here, wanted)).files
    assert pixel(opened(file.path.read_bytes()), 5, 5)[0] < 100  # the easel's colour, where the photo is red
    with pytest.raises(RequestError, match="words or a picture"):
        await studio.transform(here, replace(wanted, watermark="words"))


async def test_a_file_fits_into_its_bytes(studio: Studio, here: Caller) -> None:
    (here.folders[0] / "large.png").write_bytes(encoded(scene(600, 400), "PNG"))
    (file,) = (await studio.transform(here, Transformation(images=("large.png",), max_bytes="9kB", save_as="small.jpg"))).files
    assert file.size_bytes <= 9000
    assert file.size == Size(width=600, height=400)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Say what is to be done"),
        ({"crop": "1,2,3"}, "nothing to crop to"),
        ({"crop": "a,b,c,d"}, "nothing to crop to"),
        ({"crop": "auto"}, "nothing to crop to"),
        ({"resize": "512"}, "is no size"),
        ({"resize": "x"}, "is no size"),
        ({"quality": 80}, "needs a format"),
        ({"max_bytes": "much"}, "no number of bytes"),
        ({"save_as": "a.gif"}, "is to end in one of"),
        ({"save_as": "a.png", "format": "webp"}, "name one of them"),
        ({"icons": "icons", "max_bytes": "1kB"}, "leave format, max_bytes and save_as out"),
    ],
)
async def test_what_is_written_wrong_is_told(studio: Studio, here: Caller, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        await studio.transform(here, Transformation(images=("photo.jpg",), **fields))


async def test_as_many_pictures_as_can_be_told_apart_are_taken(studio: Studio) -> None:
    for images in ((), ("a.png",) * 65):
        with pytest.raises(RequestError, match="between 1 and 64"):
            await studio.transform(ME, Transformation(images=images, sheet=True))


@pytest.mark.parametrize(("text", "number"), [("100kB", 100_000), ("1.5 MB", 1_500_000), ("64KiB", 65_536), ("200000", 200_000), ("7b", 7)])
def test_bytes_are_read_as_people_write_them(text: str, number: int) -> None:
    assert read_bytes(text) == number


def test_the_visible_label_has_its_words() -> None:
    marks = [read_steps(Transformation(images=("a",), watermark=words), None)[0] for words in ("ai:zh", "ai:en", "ai:fr", "AI 生成")]
    assert [getattr(step, "mark", None) for step in marks] == ["AI生成", "AI-generated", "ai:fr", "AI 生成"]


def test_a_label_is_json_of_seven_elements() -> None:
    assert json.loads(aigc_label("001191110000", "abc-1")) == {
        "Label": "1",
        "ContentProducer": "001191110000",
        "ProduceID": "abc-1",
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
