"""The fake is faithful. ModelScope has no library of its own for this; its interface follows OpenAI's, whose library is the witness as far as it goes."""

from __future__ import annotations

from typing import Any

import openai as sdk
import pytest

from mcp_image_server.providers.modelscope import DEFAULT_MODEL

from ...fakes.modelscope import SIGNATURE, UNSERVED, FakeModelScope, Trouble
from .place import EDITOR, FULL, draw

pytestmark = pytest.mark.anyio

T = Trouble


@pytest.fixture
async def library(fake: FakeModelScope) -> Any:
    async with sdk.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key=fake.token, max_retries=0) as client:
        yield client


SUBMIT = {"X-ModelScope-Async-Mode": "true"}
LOOK = {"X-ModelScope-Task-Type": "image_generation"}


async def test_the_library_sends_the_same_body_to_the_same_place_and_can_follow_the_task(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    answer: Any = await library.images.generate(
        model=DEFAULT_MODEL,
        prompt="a cat",
        size="1664x928",
        extra_body={"negative_prompt": "dogs", "seed": 7, **FULL.options},
        extra_headers=SUBMIT,
    )
    await draw(fake, FULL)
    theirs, ours = fake.seen[:2]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    for name in ("authorization", "content-type", "x-modelscope-async-mode"):
        assert theirs.headers[name] == ours.headers[name]
    assert (answer.task_status, answer.task_id, answer._request_id) == ("SUCCEED", "7000001", "req_submit")
    task: Any = await library.get(f"/tasks/{answer.task_id}", cast_to=object, options={"headers": LOOK})
    links = [f"{fake.url}/files/1664x928.png?{SIGNATURE}"]
    assert task == {
        "task_status": "SUCCEED",
        "task_id": "7000001",
        "request_id": "req_look",
        "output_images": links,
        "outputs": {"images": links},
        "time_taken": 12345.6,
    }


async def test_without_its_header_a_task_is_not_found(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    answer: Any = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_headers=SUBMIT)
    task: Any = await library.get(f"/tasks/{answer.task_id}", cast_to=object)
    assert task == {"task_status": "FAILED", "request_id": "req_look", "errors": {"code": 500, "message": "task not found"}}


@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (T.UNBOUND, sdk.AuthenticationError, None),
        (T.RATE_LIMITED, sdk.RateLimitError, None),
        (T.DAILY_QUOTA, sdk.RateLimitError, None),
        (T.NO_QUOTA, sdk.RateLimitError, "insufficient_quota"),
        (T.BLOCKED, sdk.BadRequestError, None),
        (T.ERROR_503_SOON, sdk.InternalServerError, None),
        (T.CUT, sdk.APIConnectionError, None),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeModelScope, library: sdk.AsyncOpenAI, trouble: Trouble, kind: type[sdk.APIError], code: str | None
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(sdk.APIError) as caught:
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_headers=SUBMIT)
    assert (type(caught.value), caught.value.code) == (kind, code)


async def test_the_library_sees_the_same_rules(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"size": "auto"}, "size must be pixels like 1024x1024"),
        ({"size": "1680x64"}, "size must be in"),
        ({"model": "Tongyi-MAI/Z-Image-Turbo", "size": "256x256"}, "size must be in"),
        ({"model": "black-forest-labs/FLUX.1-Krea-dev", "size": "2048x1024"}, "size must be in"),
        ({"seed": 2**31}, "seed must be in"),
        ({"steps": 101}, "steps must be in"),
        ({"guidance": 1}, "guidance must be in"),
        ({"prompt": "x" * 2001}, "prompt must be shorter"),
        ({"model": EDITOR.id}, "image_url is required"),
        ({"model": EDITOR.id, "image_url": "iVBORw0KGgo="}, "image_url must be an url"),
        ({"loras": {"org/a": 0.6, "org/b": 0.6}}, "must sum to 1"),
        ({"model": UNSERVED}, "has no provider supported"),
    ]
    for change, words in bad:
        with pytest.raises(sdk.BadRequestError) as caught:
            await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_body=change, extra_headers=SUBMIT)
        assert words in caught.value.response.json()["errors"]["message"]
    with pytest.raises(sdk.BadRequestError):
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat")
