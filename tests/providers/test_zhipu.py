from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
import zai

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import AspectRatio, Drawn, Generated, ImageRequest, Model, Size, parse_shape
from mcp_image_server.negotiate import fits, negotiate
from mcp_image_server.net import Fault, Net, Pace, Timeouts, Tries
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.zhipu import (
    AS_TASK,
    CATALOGUE,
    DEFAULT_MODEL,
    MODELS,
    Config,
    Zhipu,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.server import picture
from ..fakes.zhipu import REQUEST_ID, FakeZhipu, Trouble
from .service import drawn_by, failure_of, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

T = Trouble
CAT = ImageRequest(prompt="a cat", shape=Size(width=1024, height=1024))

known = partial(known_in, MODELS)
GLM, COGVIEW = known(DEFAULT_MODEL), known("cogview-4-250304")

server, fake = served(FakeZhipu)


def provider_at(fake: FakeZhipu, *, timeouts: Timeouts | None = None, key: str = "") -> Zhipu:
    config = parse(Config, {"ZAI_API_KEY": key or fake.key, "ZAI_BASE_URL": fake.base_url})
    provider = Zhipu(config, pace=Pace(first=0.001, longest=0.01, deadline=60))
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeZhipu, request: ImageRequest = CAT, model: Model = GLM, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model, ear)


def calls(fake: FakeZhipu) -> list[str]:
    return [f"{seen.method} {seen.path.removeprefix('/api/paas/v4')}" for seen in fake.seen]


# Settings and models ------------------------------------------------------------------------------------------------------------------------


def test_a_key_under_either_name_makes_a_provider_and_the_first_one_counts() -> None:
    assert load({"ZAI_BASE_URL": "http://localhost:9000"}) is None
    for name in ("ZAI_API_KEY", "ZHIPUAI_API_KEY"):
        provider = load({name: "id.secret"})
        assert isinstance(provider, Resumable)
        assert (provider._net.service.key_variable, provider._net.service.secrets) == (name, ("id.secret",))
    assert parse(Config, {"ZAI_API_KEY": "a.1", "ZHIPUAI_API_KEY": "b.2"}).key == ("ZAI_API_KEY", "a.1")
    with pytest.raises(ConfigError, match="ZAI_BASE_URL"):
        load({"ZAI_API_KEY": "id.secret", "ZAI_BASE_URL": "bigmodel.cn"})


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert all(fits(parse_shape(key), GLM.sizes) for key in CATALOGUE.resolutions)
    assert all(fits(model.default_size, model.sizes) for model in MODELS)
    assert {model.id for model in MODELS} >= AS_TASK


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = Zhipu(parse(Config, {"ZAI_API_KEY": "a.1", "ZAI_IMAGE_MODEL": "glm-image-9"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[1:]) == ("glm-image-9", "glm-image-9", MODELS)


def test_what_a_model_cannot_do_is_negotiated() -> None:
    wish = ImageRequest(prompt="a cat", shape=AspectRatio(width=16, height=9), count=4, seed=7, negative_prompt="dogs", quality="low")
    fitted = negotiate(wish, COGVIEW, styles={})
    assert {words.field for words in fitted.adjustments} == {"resolution", "n", "seed", "negative_prompt", "quality"}
    assert to_wire(fitted.request, COGVIEW) == {
        "model": "cogview-4-250304",
        "prompt": "a cat. Avoid: dogs",
        "size": "1360x768",
        "quality": "standard",
    }


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def test_a_full_request_becomes_this_body() -> None:
    full = replace(CAT, quality="high", options={"watermark_enabled": False, "user_id": "user-1"})
    assert to_wire(full, GLM) == {
        "model": "glm-image",
        "prompt": "a cat",
        "size": "1024x1024",
        "quality": "hd",
        "watermark_enabled": False,
        "user_id": "user-1",
    }
    assert to_wire(replace(full, options={"size": "1280x1280"}), COGVIEW)["size"] == "1280x1280"
    assert to_wire(ImageRequest(prompt="a cat"), GLM) == {"model": "glm-image", "prompt": "a cat"}


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (429, {"error": {"code": "1113", "message": "欠费"}}, Fault(message="欠费", kind=QuotaError, details={"service_code": "1113"})),
        (400, {"error": {"code": "1211", "message": "模型不存在"}}, Fault(message="模型不存在", details={"service_code": "1211"})),
        (
            200,
            {"task_status": "FAIL", "request_id": "r1"},
            Fault(message="no reason given", kind=ProviderError, details={"request_id": "r1"}),
        ),
        (500, {"status": 500}, None),
        (500, [], None),
    ],
)
def test_an_error_body_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# At work ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_task_is_submitted_told_and_waited_for(fake: FakeZhipu) -> None:
    ear = Ear(calls=lambda: len(fake.seen))
    assert await draw(fake, ear=ear) == Generated(images=(Drawn(data=picture(1024, 1024)),), request_id=REQUEST_ID)
    assert (ear.tasks, ear.calls_before_acceptance) == (["888800000"], [1])
    assert calls(fake) == ["POST /async/images/generations", *["GET /async-result/888800000"] * 3, "GET /files/1024x1024/drawn.png"]
    assert fake.seen[0].json() == to_wire(CAT, GLM)
    assert fake.seen[0].headers["authorization"] == f"Bearer {fake.key}"
    assert [words for _, words in ear.said] == ["Zhipu is drawing.", "Zhipu is drawing.", "The picture is drawn and on its way."]


async def test_other_models_draw_while_one_waits(fake: FakeZhipu) -> None:
    ear = Ear()
    assert await draw(fake, model=COGVIEW, ear=ear) == Generated(images=(Drawn(data=picture(1024, 1024)),), request_id=REQUEST_ID)
    assert calls(fake) == ["POST /images/generations", "GET /files/1024x1024/drawn.png"]
    assert fake.seen[0].json() == to_wire(CAT, COGVIEW)
    assert ear.tasks == []


async def test_another_process_goes_on_with_a_task_and_does_not_submit_it_again(fake: FakeZhipu) -> None:
    await draw(fake)
    fake.seen.clear()
    provider, ear = provider_at(fake), Ear()
    made = await provider.resume("888800000", CAT, GLM, ear)
    await provider.aclose()
    assert made.images == (Drawn(data=picture(1024, 1024)),)
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert ear.tasks == []


@pytest.mark.parametrize("trouble", [T.MORE_FIELDS, T.LOOK_500])
@pytest.mark.parametrize("model", [GLM, COGVIEW], ids=lambda model: model.id)
async def test_new_things_and_hiccups_do_no_harm(fake: FakeZhipu, trouble: Trouble, model: Model) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake, model=model)).images == (Drawn(data=picture(1024, 1024)),)
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_polling_stops_when_the_job_is_cancelled(fake: FakeZhipu) -> None:
    fake.trouble.append(T.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, CAT, GLM)


FAILURES: list[tuple[Trouble, Model, type[ProviderError], bool, int]] = [
    # trouble, model, class, may have been billed, submissions
    (T.OWING, GLM, QuotaError, False, 1),
    (T.DAILY, COGVIEW, QuotaError, False, 1),
    (T.CONCURRENT, GLM, RateLimitedError, False, 3),
    (T.BLOCKED, GLM, RefusedError, False, 1),
    (T.BLOCKED, COGVIEW, RefusedError, False, 1),
    (T.ERROR_200, GLM, RefusedError, False, 1),
    (T.ERROR_200, COGVIEW, RefusedError, False, 1),
    (T.NO_RIGHT, GLM, AuthError, False, 1),
    (T.ERROR_500, COGVIEW, UnavailableError, False, 1),
    (T.HANG, COGVIEW, UnavailableError, True, 1),
    (T.KEY_ECHO, GLM, ProviderError, False, 1),
    (T.EMPTY, GLM, BadReplyError, True, 1),
    (T.EMPTY, COGVIEW, BadReplyError, True, 1),
    (T.LINK_DEAD, GLM, BadReplyError, True, 1),
    (T.NO_TASK, GLM, BadReplyError, True, 1),
    (T.FAILED, GLM, UnavailableError, True, 1),
    (T.FAILED_MUTE, GLM, ProviderError, True, 1),
    (T.FAILED_BLOCKED, GLM, RefusedError, False, 1),
]


@pytest.mark.parametrize(("trouble", "model", "kind", "billed", "submissions"), FAILURES)
async def test_each_failure_has_its_class_and_its_word_on_the_bill(
    fake: FakeZhipu, trouble: Trouble, model: Model, kind: type[ProviderError], billed: bool, submissions: int
) -> None:
    fake.trouble.extend([trouble] * submissions)
    error = await failure_of(draw(fake, model=model, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed) == (kind, billed)
    assert [seen.method for seen in fake.seen].count("POST") == submissions


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.MORE_FIELDS, T.LOOK_500, T.NEVER} == set(Trouble)


async def test_a_wrong_key_is_named_and_a_right_one_passes_the_check(fake: FakeZhipu) -> None:
    stranger, friend = provider_at(fake, key="wrongid987654321.secret"), provider_at(fake)
    for call in (stranger.generate(CAT, GLM, Ear()), stranger.check()):
        with pytest.raises(AuthError, match="Check ZAI_API_KEY") as caught:
            await call
        assert "wrongid987654321" not in str(caught.value)
    assert await friend.check() == "Zhipu accepts the key."
    assert [seen.method for seen in fake.seen] == ["POST", "GET", "GET"]
    for provider in (stranger, friend):
        await provider.aclose()


# The vendor's own library sends the same and understands the fake -----------------------------------------------------------------------------


@pytest.fixture
def library(fake: FakeZhipu) -> Iterator[zai.ZhipuAiClient]:
    with zai.ZhipuAiClient(api_key=fake.key, base_url=fake.base_url, max_retries=0) as client:
        yield client


async def test_the_library_sends_the_same_call(fake: FakeZhipu, library: zai.ZhipuAiClient) -> None:
    def ask() -> Any:
        return library.images.generations(model=COGVIEW.id, prompt="a cat", size="1024x1024", quality="hd")

    answer = await anyio.to_thread.run_sync(ask)
    await draw(fake, replace(CAT, quality="high"), COGVIEW)
    theirs, ours = fake.seen[0], fake.seen[1]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert answer.data[0].url.startswith(fake.url)


async def test_the_library_sends_the_same_task_and_can_follow_it(fake: FakeZhipu, library: zai.ZhipuAiClient) -> None:
    def ask() -> Any:
        task = library.images.async_generations(model=GLM.id, prompt="a cat", size="1024x1024")
        looks = [library.images.retrieve_images_result(id=task.id or "") for _ in range(3)]
        return task, looks

    task, looks = await anyio.to_thread.run_sync(ask)
    assert [fake.seen[0].path, fake.seen[1].path] == ["/api/paas/v4/async/images/generations", f"/api/paas/v4/async-result/{task.id}"]
    assert fake.seen[0].json() == to_wire(CAT, GLM)
    assert [look.task_status for look in looks] == ["PROCESSING", "PROCESSING", "SUCCESS"]
    assert looks[-1].image_result[0].url.startswith(fake.url)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(T.BLOCKED, zai.core.APIRequestFailedError), (T.OWING, zai.core.APIReachLimitError), (T.ERROR_500, zai.core.APIInternalError)],
)
async def test_the_library_sees_the_same_failures(fake: FakeZhipu, library: zai.ZhipuAiClient, trouble: Trouble, kind: type[Exception]) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(kind):
        await anyio.to_thread.run_sync(lambda: library.images.generations(model=COGVIEW.id, prompt="a cat"))
