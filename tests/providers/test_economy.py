"""Half the price for what may take a day: requests gathered into batches of the services' own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import httpx2
import openai as sdk
import pytest
from anyio.lowlevel import checkpoint
from google import genai
from google.genai import types as theirs

from mcp_image_server.errors import ProviderError, RefusedError, UnavailableError
from mcp_image_server.models import Cost, Generated, ImageRequest, Model, Size
from mcp_image_server.net import Net, Pace, Service, Tries
from mcp_image_server.providers import gemini, openai
from mcp_image_server.providers.economy import Economy, Letter, _Sending
from mcp_image_server.providers.gemini.wire import cost as gemini_cost
from mcp_image_server.providers.openai.batches import BatchDesk
from mcp_image_server.providers.openai.models import TOKEN_PRICES
from mcp_image_server.providers.openai.wire import Usage, cost, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.gemini import FakeGemini
from ..fakes.openai import USAGE, FakeOpenAI, Trouble
from .service import served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", quality="low", economy=True, shape=Size(width=1024, height=1024))
MODEL = openai.MODELS[2]
QUICK = Pace(first=0.001, longest=0.01, deadline=60)

server, fake = served(FakeOpenAI)


@asynccontextmanager
async def provider_at(fake: FakeOpenAI) -> AsyncIterator[openai.OpenAI]:
    """The provider as it is for the vendor itself, at the fake's address, with shorter waits."""
    variables = {"OPENAI_API_KEY": fake.key or "", "OPENAI_BASE_URL": fake.base_url}
    provider = openai.OpenAI(parse(openai.Config, variables), pace=QUICK, quiet=0.05)
    provider._prices = TOKEN_PRICES
    try:
        with anyio.fail_after(60):
            yield provider
    finally:
        await provider.aclose()


async def draw(provider: openai.OpenAI, *prompts: str, model: Model = MODEL) -> tuple[dict[str, Generated | ProviderError], dict[str, Ear]]:
    """What came of these prompts, all at once."""
    found: dict[str, Generated | ProviderError] = {}
    ears = {prompt: Ear() for prompt in prompts}

    async def one(prompt: str) -> None:
        try:
            found[prompt] = await provider.generate(replace(CAT, prompt=prompt), model, ears[prompt])
        except ProviderError as error:
            found[prompt] = error

    async with anyio.create_task_group() as tasks:
        for prompt in prompts:
            tasks.start_soon(one, prompt)
    return found, ears


async def test_all_that_come_together_go_into_one_batch_and_each_has_its_own_end(fake: FakeOpenAI) -> None:
    fake.looks = 2
    fake.trouble.append(Trouble.ERROR_503)
    async with provider_at(fake) as provider:
        found, ears = await draw(provider, "a cat", "a dog", "forbidden fruit", "a late train")
    calls = [(seen.method, seen.path) for seen in fake.seen]
    assert calls[:2] == [("POST", "/v1/files"), ("POST", "/v1/batches")]
    assert calls.count(("POST", "/v1/batches")) == 1
    assert calls.count(("GET", "/v1/batches/batch_0")) == 4  # a hiccup, two looks at work under way, and the end
    assert sorted(path for method, path in calls if path.endswith("/content")) == [
        "/v1/files/file-error_file_id-batch_0/content",
        "/v1/files/file-output_file_id-batch_0/content",
    ]
    cat, refused, late = found["a cat"], found["forbidden fruit"], found["a late train"]
    assert isinstance(cat, Generated)
    at_once = cost(Usage.model_validate(USAGE), TOKEN_PRICES[MODEL.id])
    assert at_once is not None
    assert cat.cost == Cost(micros=-(-at_once.micros // 2), currency="USD", source="computed")
    assert (cat.request_id, len(cat.images)) == ("req_line", 1)
    assert isinstance(refused, RefusedError)
    assert not refused.may_have_been_billed
    assert isinstance(late, ProviderError)
    assert (late.may_have_been_billed, late.retryable) == (False, False)
    ids = [ear.tasks for ear in ears.values()]
    assert all(len(each) == 1 and each[0].startswith("batch_0/") for each in ids)


async def test_each_model_has_a_batch_of_its_own(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider, anyio.create_task_group() as tasks:
        for model in openai.MODELS[2:5]:
            tasks.start_soon(provider.generate, CAT, model, Ear())
    assert len(fake.batches) == 3
    assert {batch["status"] for batch in fake.batches.values()} == {"completed"}


async def test_another_process_asks_for_the_same_batch_and_pays_nothing_again(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider:
        _, ears = await draw(provider, "a cat", "a dog")
    fake.seen.clear()
    task_ids = [ear.tasks[0] for ear in ears.values()]
    async with provider_at(fake) as other:
        for task_id in task_ids:
            assert len((await other.resume(task_id, CAT, MODEL, Ear())).images) == 1
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert [seen.path for seen in fake.seen].count("/v1/batches/batch_0") == 1


async def test_whoever_leaves_before_it_is_sent_is_not_in_it(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def leaves() -> None:
            with scope:
                await provider.generate(replace(CAT, prompt="a cat that leaves"), MODEL, Ear())

        tasks.start_soon(leaves)
        tasks.start_soon(provider.generate, CAT, MODEL, Ear())
        while len(provider._economy._waiting) < 2:
            await checkpoint()
        scope.cancel()
    assert fake.batches["batch_0"]["request_counts"]["total"] == 1
    assert b"leaves" not in fake.seen[0].body


async def test_what_the_service_does_not_take_fails_for_all_and_was_not_billed(fake: FakeOpenAI) -> None:
    fake.key, right = "another", fake.key
    try:
        variables = {"OPENAI_API_KEY": "sk-wrong", "OPENAI_BASE_URL": fake.base_url}
        provider = openai.OpenAI(parse(openai.Config, variables), pace=QUICK, quiet=0.01)
        found, _ = await draw(provider, "a cat", "a dog")
        await provider.aclose()
    finally:
        fake.key = right
    assert [(type(each).__name__, getattr(each, "may_have_been_billed", None)) for each in found.values()] == [("AuthError", False)] * 2
    assert len(fake.seen) == 1


async def test_a_batch_without_an_answer_for_somebody_says_so(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider:
        await draw(provider, "a cat")
        with pytest.raises(ProviderError, match="ended the batch batch_0 without an answer to this request"):
            await provider.resume("batch_0/0123456789abcdef", CAT, MODEL, Ear())


async def test_the_library_sends_the_same_and_understands_the_answers(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider:
        await draw(provider, "a cat")
    ours = fake.seen[:2]
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as library:
        fake.seen.clear()
        file = await library.files.create(file=("batch.jsonl", fake.uploads["file-0"], "application/jsonl"), purpose="batch")
        batch = await library.batches.create(input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h")
        theirs = fake.seen[:2]
        assert [(each.method, each.path) for each in ours] == [(each.method, each.path) for each in theirs]
        assert {**ours[1].json(), "input_file_id": file.id} == theirs[1].json()
        done = await library.batches.retrieve(batch.id)
        assert (done.status, done.request_counts and done.request_counts.completed) == ("completed", 1)
        assert done.output_file_id is not None
        text = (await library.files.content(done.output_file_id)).text
        assert '"status_code": 200' in text


async def nobody(beginning: str) -> bool:
    return False


async def test_what_is_on_its_way_is_noted_although_whoever_asked_has_gone(fake: FakeOpenAI) -> None:
    """The service takes the batch at that moment, and will bill it."""
    on_its_way, answer = anyio.Event(), anyio.Event()

    @dataclass(frozen=True, kw_only=True)
    class Slow(BatchDesk):
        async def post(self, letters: Sequence[Letter]) -> str:
            on_its_way.set()
            await answer.wait()
            return await super().post(letters)

    async with provider_at(fake) as provider:
        provider._economy = Economy(Slow(net=provider._net), provider._net.service, quiet=0.05, pace=QUICK)
        ears = [Ear(), Ear()]
        async with anyio.create_task_group() as tasks:
            for ear in ears:
                tasks.start_soon(provider.generate, CAT, MODEL, ear)
            await on_its_way.wait()
            tasks.cancel_scope.cancel()
            answer.set()
        assert [[task.partition("/")[0] for task in ear.tasks] for ear in ears] == [["batch_0"], ["batch_0"]]
        assert provider._economy._sent == {}


async def test_a_batch_that_others_want_something_out_of_is_not_stopped(fake: FakeOpenAI) -> None:
    fake.looks = 10**6
    asked: list[str] = []

    async def somebody(beginning: str) -> bool:
        asked.append(beginning)
        return True

    async with provider_at(fake) as provider:
        assert not await provider.stop("batch_0/0123456789abcdef", somebody)
        provider._economy._sent["fedcba9876543210"] = _Sending("batch_0")  # whose task the record does not know yet
        assert not await provider.stop("batch_0/0123456789abcdef", nobody)
    assert (asked, fake.seen) == (["batch_0/"], [])


async def test_a_stopped_batch_bills_what_it_has_drawn_and_nothing_else(fake: FakeOpenAI) -> None:
    fake.looks = 10**6
    async with provider_at(fake) as provider:
        ears = {prompt: Ear() for prompt in ("a quick cat", "a dog")}
        async with anyio.create_task_group() as tasks:
            for prompt, ear in ears.items():
                tasks.start_soon(provider.generate, replace(CAT, prompt=prompt), MODEL, ear)
            while not all(ear.tasks for ear in ears.values()):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        (quick,), (dog,) = (ear.tasks for ear in ears.values())
        assert [await provider.stop(task, nobody) for task in (quick, dog)] == [True, True]
        assert len((await provider.resume(quick, CAT, MODEL, Ear())).images) == 1
        with pytest.raises(ProviderError, match="was stopped before it came to this request, and bills nothing") as caught:
            await provider.resume(dog, CAT, MODEL, Ear())
    assert not caught.value.may_have_been_billed
    sent = [seen for seen in fake.seen if seen.path.endswith("/cancel")]
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as library:
        with pytest.raises(sdk.ConflictError):
            await library.batches.cancel("batch_0")
    assert [(each.method, each.path, each.body) for each in sent] == [(fake.seen[-1].method, fake.seen[-1].path, b"")]


async def test_a_key_that_is_not_let_in_for_a_while_loses_no_batch(fake: FakeOpenAI) -> None:
    async with provider_at(fake) as provider:
        _, ears = await draw(provider, "a cat")
    ear, (task_id,) = Ear(), ears["a cat"].tasks
    async with provider_at(fake) as other:
        fake.key, right = "another", fake.key
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other.resume, task_id, CAT, MODEL, ear)
                while not ear.said:
                    await anyio.sleep(0.01)
                fake.key = right
        finally:
            fake.key = right
    assert ear.said[0][1].startswith("The batch cannot be looked at just now: The OpenAI-compatible service answered 401")


async def test_nobody_waits_for_a_service_for_ever(fake: FakeOpenAI) -> None:
    fake.looks = 1000
    net = Net(Service(provider="openai", title="OpenAI", base_url=fake.base_url, headers={"Authorization": f"Bearer {fake.key}"}), tries=Tries())
    economy = Economy(BatchDesk(net=net), net.service, quiet=0.01, pace=replace(QUICK, deadline=0.05))
    with pytest.raises(UnavailableError, match="was not done with the batch"):
        await economy.draw(MODEL.id, to_wire(CAT, MODEL), Ear())
    economy.close()
    await net.aclose()


# Gemini: requests and answers inside the calls ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def google() -> Iterator[FakeGemini]:
    with FakeGemini() as fake:
        yield fake


BANANA = gemini.MODELS[0]


def gemini_at(fake: FakeGemini) -> gemini.Gemini:
    variables = {"GEMINI_API_KEY": fake.key or "", "GOOGLE_GEMINI_BASE_URL": fake.url}
    return gemini.Gemini(parse(gemini.Config, variables), pace=QUICK, quiet=0.05)


async def test_a_batch_of_geminis_does_the_same(google: FakeGemini) -> None:
    google.reset()
    google.looks = 1
    provider = gemini_at(google)
    found: dict[str, Generated | ProviderError] = {}
    ears: dict[str, Ear] = {}

    async def one(prompt: str) -> None:
        ears[prompt] = Ear()
        try:
            found[prompt] = await provider.generate(replace(CAT, prompt=prompt, quality=None), BANANA, ears[prompt])
        except ProviderError as error:
            found[prompt] = error

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for prompt in ("a cat", "forbidden fruit", "a broken vase"):
                tasks.start_soon(one, prompt)
        (task_id,) = ears["a cat"].tasks
        other = gemini_at(google)
        again = await other.resume(task_id, CAT, BANANA, Ear())
        await other.aclose()
        await provider.aclose()
    cat = found["a cat"]
    assert isinstance(cat, Generated)
    at_once = gemini_cost(google._answer(None, BANANA.id)["usageMetadata"], BANANA)
    assert at_once is not None
    assert cat.cost == replace(at_once, micros=-(-at_once.micros // 2))
    assert isinstance(found["forbidden fruit"], RefusedError)
    assert isinstance(found["a broken vase"], ProviderError)
    assert again.images == cat.images
    assert [seen.path for seen in google.seen if seen.method == "POST"] == [f"/v1beta/models/{BANANA.id}:batchGenerateContent"]


async def test_a_batch_of_geminis_is_stopped_as_well(google: FakeGemini) -> None:
    google.reset()
    google.looks = 10**6
    provider, ear = gemini_at(google), Ear()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(provider.generate, replace(CAT, quality=None), BANANA, ear)
            while not ear.tasks:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert await provider.stop(ear.tasks[0], nobody)
        with pytest.raises(ProviderError, match="was stopped before it came to this request, and bills nothing"):
            await provider.resume(ear.tasks[0], CAT, BANANA, Ear())
    await provider.aclose()
    [sent] = [seen for seen in google.seen if seen.path.endswith(":cancel")]
    async with httpx2.AsyncClient() as transport:
        options = theirs.HttpOptions(base_url=google.url, api_version="v1beta", httpx_async_client=transport)
        with genai.Client(api_key=google.key, http_options=options) as client:
            await client.aio.batches.cancel(name=ear.tasks[0].rpartition("/")[0])
    assert (sent.method, sent.path) == (google.seen[-1].method, google.seen[-1].path)


async def test_geminis_library_sends_the_same_and_understands_the_answers(google: FakeGemini) -> None:
    google.reset()
    provider = gemini_at(google)
    await provider.generate(replace(CAT, quality=None), BANANA, Ear())
    await provider.aclose()
    ours = google.seen[0].json()["batch"]["inputConfig"]["requests"]["requests"][0]
    google.reset()
    async with httpx2.AsyncClient() as transport:
        options = theirs.HttpOptions(base_url=google.url, api_version="v1beta", httpx_async_client=transport)
        with genai.Client(api_key=google.key, http_options=options) as client:
            request = theirs.InlinedRequest(
                contents=[theirs.Content(role="user", parts=[theirs.Part.from_text(text="a cat")])],
                metadata=ours["metadata"],
                config=theirs.GenerateContentConfig(
                    response_modalities=["IMAGE"], image_config=theirs.ImageConfig(aspect_ratio="1:1", image_size="1K")
                ),
            )
            batch = await client.aio.batches.create(model=BANANA.id, src=[request])
            done = await client.aio.batches.get(name=batch.name or "")
    sent = google.seen[0]
    assert sent.path == f"/v1beta/models/{BANANA.id}:batchGenerateContent"
    assert sent.json()["batch"]["inputConfig"]["requests"]["requests"] == [ours]
    assert str(done.state) == "JobState.JOB_STATE_SUCCEEDED"
    assert done.dest is not None
    assert done.dest.inlined_responses is not None
    assert done.dest.inlined_responses[0].response is not None
