"""The fake is faithful: the vendor's own library and OpenAI's are its witnesses."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest
import volcenginesdkarkruntime as ark  # type: ignore[import-untyped]
from volcenginesdkarkruntime.types.images import SequentialImageGenerationOptions  # type: ignore[import-untyped]

from mcp_image_server.models import ImageRequest, Model, Picture, Size

from ...fakes.doubao import REQUEST_ID, FakeDoubao, Trouble
from ...fakes.server import picture
from .place import CAT, LITE, PRO, SMALL, TRIPTYCH, V40, V45, draw, said

pytestmark = pytest.mark.anyio

T = Trouble


@pytest.fixture
async def library(fake: FakeDoubao) -> AsyncIterator[ark.AsyncArk]:
    async with ark.AsyncArk(api_key=fake.key, base_url=fake.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
async def compatible(fake: FakeDoubao) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as client:
        yield client


async def test_arks_library_sends_the_same_body_to_the_same_place_and_understands_the_answer(fake: FakeDoubao, library: ark.AsyncArk) -> None:
    source = Picture(data=picture(16, 16), media_type="image/png", size=Size(width=16, height=16))
    answer = await library.images.generate(
        model=LITE.id,
        prompt="a cat",
        image=f"data:image/png;base64,{base64.b64encode(source.data).decode()}",
        size="2560x1440",
        output_format="png",
        response_format="b64_json",
        watermark=False,
    )
    wish = ImageRequest(prompt="a cat", shape=Size(width=2560, height=1440), output_format="png", images=(source,))
    made = await draw(fake, wish, LITE)
    theirs, ours = fake.seen
    assert (theirs.method, theirs.path, said(theirs.json())) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert answer.model == LITE.id
    assert [(base64.b64decode(entry.b64_json), entry.size) for entry in answer.data] == [(made.images[0].data, "2560x1440")]
    assert answer.usage is not None
    assert (answer.usage.input_images, answer.usage.generated_images, answer.usage.output_tokens) == (1, 1, 14400)


async def test_arks_library_sees_the_same_stream(fake: FakeDoubao, library: ark.AsyncArk) -> None:
    stream = await library.images.generate(
        model=V40.id,
        prompt="a cat\nGenerate a set of 3 pictures.",
        size="1280x720",
        response_format="url",
        watermark=False,
        sequential_image_generation="auto",
        sequential_image_generation_options=SequentialImageGenerationOptions(max_images=3),
        stream=True,
    )
    events = [event async for event in stream]
    await draw(fake, replace(TRIPTYCH, shape=SMALL), V40)
    theirs, ours = (seen for seen in fake.seen if seen.method == "POST")
    assert said(theirs.json()) == ours.json()
    assert [event.type.removeprefix("image_generation.") for event in events] == [*["partial_succeeded"] * 3, "completed"]
    assert [getattr(event, "image_index", None) for event in events] == [0, 1, 2, None]
    assert events[-1].usage["generated_images"] == 3


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (T.RATE_LIMITED, 429, "ModelAccountIpmRateLimitExceeded"),
        (T.OVERDUE, 403, "AccountOverdueError"),
        (T.NOT_OPEN, 404, "ModelNotOpen"),
        (T.BLOCKED_PROMPT, 400, "InputTextSensitiveContentDetected"),
        (T.ERROR_500, 500, "InternalServiceError"),
    ],
)
async def test_both_libraries_see_the_same_failures(
    fake: FakeDoubao, library: ark.AsyncArk, compatible: openai.AsyncOpenAI, trouble: Trouble, status: int, code: str
) -> None:
    fake.trouble.extend([trouble, trouble])
    with pytest.raises(ark._exceptions.ArkAPIStatusError) as ours:
        await library.images.generate(model=V45.id, prompt="a cat")
    with pytest.raises(openai.APIStatusError) as theirs:
        await compatible.images.generate(model=V45.id, prompt="a cat")
    assert (ours.value.status_code, ours.value.code) == (theirs.value.status_code, theirs.value.code) == (status, code)


async def test_openais_library_sends_the_same_body_and_understands_the_answer(fake: FakeDoubao, compatible: openai.AsyncOpenAI) -> None:
    answer = await compatible.images.generate(
        model=V45.id, prompt="a cat", size="2560x1440", response_format="b64_json", extra_body={"watermark": False}
    )
    await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)))
    theirs, ours = fake.seen
    assert (theirs.path, theirs.json()) == (ours.path, ours.json())
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == picture(2560, 1440, "jpeg")
    assert answer._request_id == REQUEST_ID


async def test_openais_library_sees_the_same_rules(fake: FakeDoubao, compatible: openai.AsyncOpenAI) -> None:
    png = "data:image/png;base64,iVBORw=="
    bad: list[tuple[Model, dict[str, Any], str | None]] = [
        (V45, {"size": "1024x1024"}, "size"),
        (V45, {"size": "1K"}, "size"),
        (V45, {"output_format": "png"}, "output_format"),
        (LITE, {"output_format": "webp"}, "output_format"),
        (PRO, {"size": "4096x4096"}, "size"),
        (PRO, {"sequential_image_generation": "disabled"}, "sequential_image_generation"),
        (PRO, {"image": [png] * 11}, "image"),
        (V45, {"image": "data:image/PNG;base64,iVBORw=="}, "image"),
        (V45, {"image": [png] * 15}, "image"),
        (
            V45,
            {"image": [png] * 10, "sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 6}},
            "sequential_image_generation_options.max_images",
        ),
    ]
    for model, change, parameter in bad:
        with pytest.raises(openai.BadRequestError) as caught:
            await compatible.images.generate(model=model.id, prompt="a cat", extra_body=change)
        assert (caught.value.code, caught.value.param) == ("InvalidParameter", parameter)
    with pytest.raises(openai.NotFoundError) as missing:
        await compatible.images.generate(model="doubao-seedream-3-0-t2i-250415", prompt="a cat")
    assert missing.value.code == "InvalidEndpointOrModel.NotFound"
    with pytest.raises(openai.AuthenticationError):
        await compatible.with_options(api_key="ark-wrong-9876543210").images.generate(model=V45.id, prompt="a cat")
