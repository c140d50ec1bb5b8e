"""Changing pictures."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from mcp_image_server.errors import ProviderError
from mcp_image_server.models import Adjustment, Drawn, Generated, Size
from mcp_image_server.net import File
from mcp_image_server.providers.openai.models import DEFAULT_MODEL

from ...ear import Ear
from ...fakes.multipart import parts_of
from ...fakes.openai import FakeOpenAI, Trouble
from ...fakes.server import picture
from .place import CAT, HAT, MODEL, PATCH, draw, painted, provider_at, with_hole

pytestmark = pytest.mark.anyio


async def test_several_pictures_and_a_mask_become_one_new_picture(fake: FakeOpenAI) -> None:
    made = await draw(fake, replace(PATCH, shape=Size(width=1536, height=1024), count=2))
    assert made == Generated(images=(Drawn(data=picture(1536, 1024)),) * 2, request_id="req_fake")
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/images/edits", f"Bearer {fake.key}")
    assert parts_of(seen) == [
        ("model", DEFAULT_MODEL),
        ("prompt", "a hat"),
        ("n", "2"),
        ("size", "1536x1024"),
        ("image[]", File(name="image-1.png", media_type="image/png", data=picture(64, 48))),
        ("image[]", File(name="image-2.jpeg", media_type="image/jpeg", data=picture(32, 32, "jpeg"))),
        ("mask", File(name="mask.png", media_type="image/png", data=with_hole().data)),
    ]


async def test_a_mask_in_another_format_is_sent_as_png_with_its_hole(fake: FakeOpenAI) -> None:
    await draw(fake, replace(HAT, mask=with_hole("webp")))
    name, mask = parts_of(fake.seen[0])[-1]
    assert isinstance(mask, File)
    assert (name, mask.name, mask.media_type) == ("mask", "mask.png", "image/png")
    with Image.open(BytesIO(mask.data)) as sent:
        assert [sent.getpixel((x, 20)) for x in (0, 30)] == [(0, 0, 0, 255), (0, 0, 0, 0)]


async def test_previews_reach_the_job_while_a_picture_is_edited(fake: FakeOpenAI) -> None:
    ear = Ear()
    made = await draw(fake, HAT, previews=2, ear=ear)
    assert (made.images, ear.previews) == ((Drawn(data=picture(1024, 1024)),), [picture(64, 64, "jpeg")] * 2)
    assert dict(parts_of(fake.seen[0]))["partial_images"] == "2"


async def test_what_only_editing_does_not_know_is_left_out_there_alone(fake: FakeOpenAI) -> None:
    provider = provider_at(fake)
    assert MODEL is not None
    told = (Adjustment(field="moderation", message="The OpenAI-compatible service does not know this parameter, so it was left out"),)
    assert (await provider.generate(replace(HAT, moderation="low"), MODEL, Ear())).adjustments == told
    assert (await provider.generate(replace(CAT, moderation="low"), MODEL, Ear())).adjustments == ()
    await provider.aclose()


@pytest.mark.parametrize("trouble", [Trouble.BLOCKED, Trouble.RATE_LIMITED_LONG, Trouble.NO_DATA, Trouble.ERROR_500])
async def test_an_edit_fails_as_a_generation_does(fake: FakeOpenAI, trouble: Trouble) -> None:
    caught = []
    for request in (CAT, HAT):
        fake.trouble.append(trouble)
        with pytest.raises(ProviderError) as error:
            await draw(fake, request)
        caught.append((type(error.value), error.value.message, error.value.details))
    assert caught[0] == caught[1]


async def test_a_picture_the_service_does_not_take_is_told_in_its_words(fake: FakeOpenAI) -> None:
    with pytest.raises(ProviderError, match=r"unsupported mimetype \('image/gif'\)"):
        await draw(fake, replace(HAT, images=(painted(8, 8, "gif"),)))
