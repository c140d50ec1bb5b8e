"""The fake is faithful: OpenAI's own library is its witness."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import openai as sdk
import pytest

from mcp_image_server.models import Size
from mcp_image_server.net import File
from mcp_image_server.providers.openai.models import DEFAULT_MODEL

from ...fakes.multipart import parts_of
from ...fakes.openai import CLASSIC, FLEXIBLE, MAX_CHARS, FakeOpenAI, Trouble
from ...fakes.server import Seen, picture
from .place import FULL, HAT, PATCH, draw, with_hole

pytestmark = pytest.mark.anyio

T = Trouble


@pytest.fixture
async def library(fake: FakeOpenAI) -> Any:
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as client:
        yield client


async def test_the_library_sends_the_same_body_to_the_same_place_and_understands_the_answer(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    answer = await library.images.generate(
        model=DEFAULT_MODEL,
        prompt="a cat",
        n=2,
        size="1536x864",
        quality="low",
        background="opaque",
        output_format="webp",
        output_compression=80,
        moderation="low",
        user="u1",
    )
    await draw(fake, FULL)
    theirs, ours = fake.seen
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert theirs.headers["content-type"] == ours.headers["content-type"]
    assert answer.data is not None
    assert [base64.b64decode(entry.b64_json or "") for entry in answer.data] == [picture(1536, 864, "webp")] * 2
    assert (answer.size, answer.output_format, answer._request_id) == ("1536x864", "webp", "req_fake")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 1056


def in_any_order(seen: Seen) -> list[tuple[str, str, bytes]]:
    """The parts of a form, with the pictures in their order."""
    return sorted(((name, repr(value), value.data if isinstance(value, File) else b"") for name, value in parts_of(seen)), key=lambda part: part[:1])


async def test_the_library_sends_the_same_edit(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    wish = replace(PATCH, count=2, shape=Size(width=1536, height=1024), quality="low", options={"input_fidelity": "high"})
    files = [("image-1.png", picture(64, 48), "image/png"), ("image-2.jpeg", picture(32, 32, "jpeg"), "image/jpeg")]
    answer = await library.images.edit(
        model=DEFAULT_MODEL,
        prompt="a hat",
        image=files,
        mask=("mask.png", with_hole().data, "image/png"),
        n=2,
        size="1536x1024",
        quality="low",
        input_fidelity="high",
    )
    await library.images.edit(model=DEFAULT_MODEL, prompt="a hat", image=files[0], n=1)
    await draw(fake, wish)
    await draw(fake, HAT)
    theirs, theirs_alone, ours, ours_alone = fake.seen
    assert (theirs.method, theirs.path, in_any_order(theirs)) == (ours.method, ours.path, in_any_order(ours))
    assert in_any_order(theirs_alone) == in_any_order(ours_alone)
    assert answer.data is not None
    assert [base64.b64decode(entry.b64_json or "") for entry in answer.data] == [picture(1536, 1024)] * 2


async def test_the_library_sees_the_same_stream_of_an_edit(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    stream = await library.images.edit(
        model=DEFAULT_MODEL, prompt="a hat", image=("image-1.png", picture(64, 48), "image/png"), n=1, stream=True, partial_images=2
    )
    events = [event.type async for event in stream]
    await draw(fake, HAT, previews=2)
    theirs, ours = fake.seen
    assert in_any_order(theirs) == in_any_order(ours)
    assert events == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]


async def test_the_library_sees_the_same_rules_for_pictures(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    png = ("a.png", picture(64, 48), "image/png")
    for change, code, parameter in (
        ({"image": picture(64, 48)}, "unsupported_file_mimetype", "image"),
        ({"image": [png] * 17}, "invalid_value", "image"),
        ({"image": png, "mask": png}, "invalid_image_file", "mask"),
        ({"image": png, "mask": ("m.png", with_hole().data, "image/png"), "extra_body": {"style": "x"}}, "unknown_parameter", "style"),
    ):
        with pytest.raises(sdk.BadRequestError) as caught:
            await library.images.edit(model=DEFAULT_MODEL, prompt="a hat", **change)
        assert (caught.value.code, caught.value.param) == (code, parameter)


async def test_the_library_sees_the_same_stream(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    stream = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", n=1, stream=True, partial_images=2)
    events = [event async for event in stream]
    await draw(fake, previews=2)
    theirs, ours = fake.seen
    assert theirs.json() == ours.json()
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert base64.b64decode(events[-1].b64_json) == picture(1024, 1024)


@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (T.RATE_LIMITED, sdk.RateLimitError, "rate_limit_exceeded"),
        (T.NO_QUOTA, sdk.RateLimitError, "insufficient_quota"),
        (T.NO_BUDGET, sdk.BadRequestError, "billing_hard_limit_reached"),
        (T.BLOCKED, sdk.BadRequestError, "moderation_blocked"),
        (T.UNVERIFIED, sdk.PermissionDeniedError, None),
        (T.COUNTRY, sdk.PermissionDeniedError, "unsupported_country_region_territory"),
        (T.ERROR_500, sdk.InternalServerError, "server_error"),
        (T.ERROR_502_PAGE, sdk.InternalServerError, None),
        (T.ERROR_503_SOON, sdk.InternalServerError, None),
        (T.CUT, sdk.APIConnectionError, None),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeOpenAI, library: sdk.AsyncOpenAI, trouble: Trouble, kind: type[sdk.APIError], code: str
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(sdk.APIError) as caught:
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat")
    assert (type(caught.value), caught.value.code) == (kind, code)


async def test_the_library_sees_the_same_failure_inside_a_stream(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    fake.trouble.append(T.STREAM_BLOCKED)
    stream = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", stream=True, partial_images=1)
    with pytest.raises(sdk.APIError) as caught:
        [event async for event in stream]
    assert (type(caught.value), caught.value.code) == (sdk.APIError, "moderation_blocked")


async def test_the_library_sees_the_same_rules(fake: FakeOpenAI) -> None:
    good: dict[str, Any] = {"model": "gpt-image-2", "prompt": "a cat"}
    bad: list[tuple[dict[str, Any], str | None, str | None]] = [
        ({"response_format": "url"}, "unknown_parameter", "response_format"),
        ({"style": "vivid"}, "unknown_parameter", "style"),
        ({"n": 11}, "invalid_value", "n"),
        ({"size": "1792x936"}, "invalid_value", "size"),
        ({"size": "3840x1024"}, "invalid_value", "size"),
        ({"size": "512x512"}, "invalid_value", "size"),
        ({"quality": "max"}, "invalid_value", "quality"),
        ({"background": "transparent", "output_format": "jpeg"}, "invalid_value", "background"),
        ({"output_compression": 50}, "invalid_png_output_compression", "output_compression"),
        ({"prompt": "x" * (MAX_CHARS + 1)}, "string_above_max_length", "prompt"),
        ({"model": "gpt-image-1.5", "size": "1536x864"}, "invalid_value", "size"),
    ]
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as library:
        for change, code, parameter in bad:
            with pytest.raises(sdk.BadRequestError) as caught:
                await library.images.generate(**{**good, **change})
            assert (caught.value.code, caught.value.param) == (code, parameter)
        with pytest.raises(sdk.NotFoundError):
            await library.images.generate(**{**good, "model": "dall-e-3"})
        with pytest.raises(sdk.AuthenticationError):
            await library.with_options(api_key="sk-wrong-9876543210").models.list()
        assert {entry.id async for entry in library.models.list()} >= {*FLEXIBLE, *CLASSIC}
