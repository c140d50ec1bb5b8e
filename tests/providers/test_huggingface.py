from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import anyio
import pytest
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference import _providers as library
from huggingface_hub.inference._providers import _common

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from mcp_image_server.models import Adjustment, AspectRatio, Drawn, Generated, ImageRequest, Model, Size, find_model
from mcp_image_server.net import Fault, Net, Pace, Service, Timeouts, Tries
from mcp_image_server.providers.base import Resumable, data_url
from mcp_image_server.providers.huggingface import (
    CATALOGUE,
    MODELS,
    Config,
    HuggingFace,
    from_wire,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.providers.huggingface.partners import IMAGE_TO_IMAGE, PARTNERS, TEXT_TO_IMAGE, Call, Failed, Found, Look, Target
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.huggingface import SEED, FakeHuggingFace, Trouble
from ..fakes.server import picture
from .inputs import png
from .service import drawn_by, failure_of, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat")
IN = png()
LINK = data_url(IN)
EDIT = ImageRequest(prompt="in winter", images=(IN,))


def named(repo: str) -> Model:
    """A model that the table does not know."""
    assert CATALOGUE.unknown is not None
    return replace(CATALOGUE.unknown, id=repo)


server, fake = served(FakeHuggingFace)


def provider_at(fake: FakeHuggingFace, *, timeouts: Timeouts | None = None, deadline: float = 60, **variables: str) -> HuggingFace:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"HF_TOKEN": fake.token, "HF_ENDPOINT": fake.url, "HF_ROUTER_URL": fake.url, **variables})
    provider = HuggingFace(config, pace=Pace(first=0.001, longest=0.001, deadline=deadline))
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeHuggingFace,
    request: ImageRequest = CAT,
    repo: str = "acme/everywhere",
    ear: Ear | None = None,
    *,
    timeouts: Timeouts | None = None,
    deadline: float = 60,
    **variables: str,
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts, deadline=deadline, **variables), request, named(repo), ear)


def calls(fake: FakeHuggingFace) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_token_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"HF_MODEL": "Qwen/Qwen-Image"}) is None
    provider = load({"HF_TOKEN": "hf_1", "HF_MODEL": "Qwen/Qwen-Image"})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("huggingface", False, "Qwen/Qwen-Image")


def test_a_default_model_that_the_table_does_not_have_is_offered_too() -> None:
    offered = HuggingFace(parse(Config, {"HF_TOKEN": "hf_1", "HF_MODEL": "acme/cat:together"})).catalogue
    own = replace(named("acme/cat:together"), title="acme/cat:together")
    assert (offered.default_model, offered.models) == ("acme/cat:together", (own, *MODELS))


@pytest.mark.parametrize(("name", "value"), [("HF_TOKEN", "hf_1 2"), ("HF_INFERENCE_PROVIDER", "groq"), ("HF_ENDPOINT", "huggingface.co")])
def test_a_wrong_variable_is_named_and_a_token_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        load({"HF_TOKEN": "hf_0123456789", name: value})
    assert "hf_0123456789" not in caught.value.message
    assert "hf_1 2" not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    assert service(parse(Config, {"HF_TOKEN": " hf_12345\n"})) == Service(
        provider="huggingface",
        title="Hugging Face",
        base_url="https://router.huggingface.co",
        headers={"Authorization": "Bearer hf_12345"},
        secrets=("hf_12345",),
        trusted_hosts=("huggingface.co",),
        read_fault=read_fault,
        key_variable="HF_TOKEN",
        url_variable="HF_ROUTER_URL",
    )


# To wire: Hugging Face's own library is the witness ------------------------------------------------------------------------------------------

TARGETS = {
    "fal-ai": ("fal-ai/flux/dev", "fal-ai/flux-kontext/dev"),
    "hf-inference": ("acme/model", "acme/model"),
    "nscale": ("acme/model", ""),
    "replicate": ("acme/flux", "acme/kontext:0123abcd"),
    "together": ("acme/FLUX.1-dev", "acme/FLUX.2-dev"),
    "wavespeed": ("acme/flux", "acme/kontext"),
    "zai-org": ("glm-image", ""),
}


def as_the_library_sends_it(target: Target, task: str, request: ImageRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """Address and body of huggingface_hub's client for the same wish."""
    about = {"providerId": target.id, "hf_model_id": target.repo, "status": "live", "task": task, "provider": target.partner}
    mapping = InferenceProviderMapping(**about, adapterWeightsPath=target.weights)  # type: ignore[no-untyped-call]
    monkeypatch.setitem(_common.HARDCODED_MODEL_INFERENCE_MAPPING, target.partner, {target.repo: mapping})
    monkeypatch.setattr("huggingface_hub.inference._providers.hf_inference._check_supported_task", lambda model, task: None)
    size = request.shape
    settings = {
        "negative_prompt": request.negative_prompt,
        "width": size.width if isinstance(size, Size) else None,
        "height": size.height if isinstance(size, Size) else None,
        "seed": request.seed,
        **request.options,
    }
    if request.images:
        settings = {"prompt": request.prompt, **{name: value for name, value in settings.items() if name not in ("width", "height")}}
    made = library.get_provider_helper(target.partner, task, target.repo).prepare_request(  # type: ignore[arg-type]
        inputs=request.images[0].data if request.images else request.prompt, parameters=settings, headers={}, model=target.repo, api_key="hf_1"
    )
    if made.data is not None:
        return made.url, json.loads(bytes(made.data))
    return made.url, made.json


@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("task", [TEXT_TO_IMAGE, IMAGE_TO_IMAGE])
def test_each_inference_provider_is_sent_what_hugging_face_s_own_library_sends(partner: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if task not in PARTNERS[partner].tasks:
        assert task not in library.PROVIDERS[partner]  # type: ignore[index]
        return
    target = Target(partner=partner, id=TARGETS[partner][task == IMAGE_TO_IMAGE], repo="acme/model")
    wish = replace(EDIT if task == IMAGE_TO_IMAGE else CAT, negative_prompt="dogs", seed=7, options={"num_inference_steps": 20})
    if task == TEXT_TO_IMAGE:
        wish = replace(wish, shape=Size(width=1024, height=768))
    url, body = as_the_library_sends_it(target, task, wish, monkeypatch)
    call = to_wire(wish, target)
    if partner == "hf-inference" and wish.images:
        url = f"https://router.huggingface.co/{partner}/models/{target.repo}"
    assert f"https://router.huggingface.co/{partner}/{call.path}" == url.removesuffix("?_subdomain=queue")
    # It takes the media type from a file's name or none at all.
    assert call.json == _with_media_type(body)


def _with_media_type(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_media_type(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_media_type(inner) for inner in value]
    return value.replace("data:image/jpeg;", "data:image/png;") if isinstance(value, str) else value


def test_a_lora_is_named_to_the_two_that_can_load_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for partner, name in (("fal-ai", "fal-ai/lora"), ("fal-ai", "fal-ai/flux-lora"), ("replicate", "acme/flux-lora")):
        target = Target(partner=partner, id=name, repo="acme/model", weights="w.safetensors")
        assert to_wire(CAT, target).json == as_the_library_sends_it(target, TEXT_TO_IMAGE, CAT, monkeypatch)[1]


def test_kontext_at_together_has_its_own_name_for_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(partner="together", id="acme/FLUX.1-kontext-dev", repo="acme/model")
    assert to_wire(EDIT, target) == Call(
        path="v1/images/generations", json={"prompt": "in winter", "response_format": "base64", "image_url": LINK, "model": target.id}
    )


def test_every_inference_provider_that_draws_for_the_library_draws_here() -> None:
    assert PARTNERS.keys() == {name for name, tasks in library.PROVIDERS.items() if TEXT_TO_IMAGE in tasks}
    for name, partner in PARTNERS.items():
        assert partner.tasks == {TEXT_TO_IMAGE, IMAGE_TO_IMAGE} & library.PROVIDERS[name].keys()  # type: ignore[index]


def test_a_ratio_is_sent_as_a_size_with_a_word() -> None:
    wish = replace(CAT, shape=AspectRatio(width=16, height=9))
    assert to_wire(wish, Target(partner="zai-org", id="glm-image", repo="x/y")).json == {"model": "glm-image", "prompt": "a cat", "size": "1376x768"}
    assert from_wire([b"1"], Found(), wish, request_id=None) == Generated(
        images=(Drawn(data=b"1"),), adjustments=(Adjustment(field="resolution", message="16:9 was asked for as 1376x768."),)
    )


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partner", "path", "value", "expected"),
    [
        ("fal-ai", "fal-ai/a", {"status": "IN_QUEUE", "response_url": "https://queue.fal.run/a/requests/1"}, Look(path="fal-ai/a/requests/1/status")),
        ("fal-ai", "fal-ai/a/requests/1/status", {"status": "IN_PROGRESS"}, Look(path="fal-ai/a/requests/1/status")),
        ("fal-ai", "fal-ai/a/requests/1/status", {"status": "COMPLETED"}, Look(path="fal-ai/a/requests/1")),
        ("fal-ai", "fal-ai/a/requests/1", {"images": [{"url": "u"}], "seed": 3}, Found(links=("u",), seed=3)),
        ("fal-ai", "fal-ai/a", {"detail": "odd"}, None),
        ("replicate", "p", {"status": "succeeded", "output": "u"}, Found(links=("u",))),
        ("replicate", "p", {"status": "succeeded", "output": ["u", "v"]}, Found(links=("u", "v"))),
        ("replicate", "p", {"status": "canceled"}, Failed(words="the work was canceled")),
        ("replicate", "p", {"status": "succeeded", "output": None, "urls": {"get": "https://x/y"}}, None),
        ("together", "p", {"data": [{"b64_json": "MQ=="}, {"url": "u"}]}, Found(inline=("MQ==",), links=("u",))),
        ("wavespeed", "p", {"data": {"status": "failed"}}, Failed(words="no reason given")),
        ("zai-org", "p", {"task_status": "SUCCESS"}, None),
        ("zai-org", "p", [1], None),
        ("wavespeed", "p", None, None),
    ],
)
def test_an_answer_is_understood(partner: str, path: str, value: Any, expected: Any) -> None:
    assert PARTNERS[partner].read(value, path) == expected


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            {"error": "You have exceeded your monthly included credits"},
            Fault(message="You have exceeded your monthly included credits", kind=QuotaError),
        ),
        ({"error": "Model is loading", "estimated_time": 20}, Fault(message="Model is loading", retry_after=20)),
        ({"detail": [{"msg": "flagged by our content policy"}]}, Fault(message="flagged by our content policy", kind=RefusedError)),
        ({"data": []}, None),
        (None, None),
    ],
)
def test_an_error_is_understood(body: Any, fault: Fault | None) -> None:
    assert read_fault(400, body) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partner", PARTNERS)
async def test_a_model_is_asked_for_at_the_inference_provider_that_its_name_ends_with(fake: FakeHuggingFace, partner: str) -> None:
    fake.looks = 2
    ear = Ear(calls=lambda: len(fake.seen))
    made = await draw(fake, replace(CAT, seed=7), f"acme/everywhere:{partner}", ear)
    assert made == Generated(images=(Drawn(data=picture(64, 64), seed=SEED if partner == "fal-ai" else 7),), request_id=made.request_id)
    assert all(seen.headers.get("authorization") == f"Bearer {fake.token}" for seen in fake.seen if not seen.path.startswith("/files"))
    assert not any("authorization" in seen.headers for seen in fake.seen if seen.path.startswith("/files"))
    waits = partner in ("fal-ai", "replicate", "wavespeed", "zai-org")
    before = 1 if partner == "hf-inference" else 2
    assert (len(ear.tasks), ear.calls_before_acceptance) == ((1, [before]) if waits else (0, []))
    assert len(ear.said) == (2 if waits else 0)


async def test_the_first_that_is_live_and_can_draw_is_chosen(fake: FakeHuggingFace) -> None:
    await draw(fake)
    assert calls(fake)[:2] == ["GET /api/models/acme/everywhere", "POST /fal-ai/fal-ai/flux/schnell"]
    fake.seen.clear()
    await draw(fake, repo="acme/listed")
    assert calls(fake) == ["GET /api/models/acme/listed", "POST /together/v1/images/generations"]


async def test_the_operator_s_choice_holds_where_the_model_s_name_makes_none(fake: FakeHuggingFace) -> None:
    await draw(fake, HF_INFERENCE_PROVIDER="together")
    await draw(fake, repo="acme/everywhere:nscale", HF_INFERENCE_PROVIDER="together")
    await draw(fake, HF_INFERENCE_PROVIDER="hf-inference")
    assert [call for call in calls(fake) if call.startswith("POST")] == [
        "POST /together/v1/images/generations",
        "POST /nscale/v1/images/generations",
        "POST /hf-inference/models/acme/everywhere",
    ]


@pytest.mark.parametrize("partner", ["fal-ai", "replicate", "together", "wavespeed", "hf-inference"])
async def test_a_picture_is_edited_where_the_model_is_served_for_it(fake: FakeHuggingFace, partner: str) -> None:
    assert (await draw(fake, EDIT, f"acme/edits:{partner}")).images == (Drawn(data=picture(64, 64), seed=SEED if partner == "fal-ai" else None),)
    sent = next(seen for seen in fake.seen if seen.method == "POST")
    assert base64.b64encode(IN.data) in sent.body


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("acme/edits", "acme/edits is not served for text-to-image. It is served by: fal-ai (image-to-image), replicate (image-to-image)"),
        ("acme/lora:together", "acme/lora is not served for text-to-image by together. It is served by: fal-ai (text-to-image)."),
        ("acme/nobody", "acme/nobody is not served for text-to-image. It is served by: nobody."),
        ("acme/unknown", "Repository not found"),
    ],
)
async def test_a_model_that_is_not_served_tells_by_whom_it_is(fake: FakeHuggingFace, repo: str, words: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await draw(fake, repo=repo)
    assert words in caught.value.message
    assert (caught.value.not_accepted, caught.value.may_have_been_billed, len(fake.seen)) == (True, False, 1)


@pytest.mark.parametrize("partner", ["fal-ai", "replicate", "wavespeed", "zai-org"])
async def test_a_task_is_gone_on_with_and_not_submitted_again(fake: FakeHuggingFace, partner: str) -> None:
    fake.looks = 1
    ear = Ear()
    await draw(fake, repo=f"acme/everywhere:{partner}", ear=ear)
    fake.seen.clear()
    provider = provider_at(fake)
    again = Ear()
    made = await provider.resume(ear.tasks[0], CAT, named(f"acme/everywhere:{partner}"), again)
    await provider.aclose()
    assert len(made.images) == 1
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert not any(seen.path.startswith("/api/models") for seen in fake.seen)
    assert again.tasks == []


async def test_a_task_of_nobody_known_is_an_error(fake: FakeHuggingFace) -> None:
    provider = provider_at(fake)
    with pytest.raises(ProviderError, match="no inference provider for the task gone/1"):
        await provider.resume("gone/1", CAT, named("acme/everywhere"), Ear())
    await provider.aclose()


async def test_cancelling_ends_the_looking(fake: FakeHuggingFace) -> None:
    fake.trouble.append(Trouble.NEVER)
    provider = provider_at(fake)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, CAT, named("acme/everywhere"), Ear())
        while len(fake.seen) <= 3:
            await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    await provider.aclose()


async def test_a_task_that_is_never_done_ends_at_the_deadline(fake: FakeHuggingFace) -> None:
    fake.trouble.append(Trouble.NEVER)
    with pytest.raises(UnavailableError, match="was not done after") as caught:
        await draw(fake, deadline=0.05)
    assert caught.value.may_have_been_billed


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, str, type[ProviderError], str, bool, int]] = [
    # trouble, inference provider, class, words, may have been billed, calls besides the one for who serves the model
    (T.NO_CREDITS, "together", QuotaError, "exceeded your monthly included credits", False, 1),
    (T.LOADING, "hf-inference", UnavailableError, "Try again in 90.5 seconds", False, 1),
    (T.RATE_LIMITED, "together", RateLimitedError, "Too many requests", False, 3),
    (T.ERROR_500, "together", UnavailableError, "Internal Server Error", False, 1),
    (T.HANG, "together", UnavailableError, "was silent for too long", True, 1),
    (T.CUT, "together", UnavailableError, "broke the connection", True, 1),
    (T.PAGE, "hf-inference", BadReplyError, "answered with a web page", True, 1),
    (T.ODD, "together", BadReplyError, "together at Hugging Face answered without a picture", True, 1),
    (T.ODD, "hf-inference", BadReplyError, "hf-inference at Hugging Face answered without a picture", True, 1),
    (T.ERROR_200, "fal-ai", ProviderError, "the model is asleep", True, 1),
    (T.NO_PICTURES, "together", BadReplyError, "answered without a picture", True, 1),
    (T.NO_PICTURES, "fal-ai", BadReplyError, "answered without a picture", True, 1),
    (T.KEY_ECHO, "together", ProviderError, r"authorization Bearer \*\*\* is odd", False, 1),
    (T.UNFIT, "fal-ai", RefusedError, "then found unfit", True, 3),
    (T.UNFIT, "wavespeed", RefusedError, "then found unfit", True, 2),
    (T.FAILED, "replicate", ProviderError, "out of memory", True, 1),
    (T.FAILED, "wavespeed", ProviderError, "out of memory", True, 2),
    (T.FAILED, "zai-org", ProviderError, "out of memory", True, 2),
    (T.BLOCKED, "replicate", RefusedError, "NSFW content detected", False, 1),
    (T.BLOCKED, "fal-ai", RefusedError, "flagged by our content policy", False, 3),
    (T.LOST, "wavespeed", ProviderError, "Not found", True, 2),
]


@pytest.mark.parametrize(
    ("trouble", "partner", "kind", "words", "billed", "count"), FAILURES, ids=lambda value: value.name if isinstance(value, Trouble) else None
)
async def test_each_failure_has_its_class_its_words_and_its_number_of_calls(
    fake: FakeHuggingFace, trouble: Trouble, partner: str, kind: type[ProviderError], words: str, billed: bool, count: int
) -> None:
    fake.trouble.extend([trouble] * count)
    error = await failure_of(
        draw(fake, repo=f"acme/everywhere:{partner}", timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.token, match=words
    )
    asked = sum(1 for seen in fake.seen if not seen.path.startswith("/api/models"))
    assert (type(error), error.may_have_been_billed, asked) == (kind, billed, count)
    assert error.provider == "huggingface"


def test_every_trouble_is_in_the_table_or_has_its_own_test() -> None:
    assert {row[0] for row in FAILURES} | {T.NEVER} == set(Trouble)


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_tells_whose_token_it_is(fake: FakeHuggingFace) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Hugging Face accepts the token of ada."
    await provider.aclose()
    wrong = provider_at(fake, HF_TOKEN="hf_wrong9876543210")
    with pytest.raises(AuthError, match=r"Invalid username or password\. Check HF_TOKEN"):
        await wrong.check()
    await wrong.aclose()
    assert set(calls(fake)) == {"GET /api/whoami-v2"}


def test_the_models_that_are_known_can_be_found() -> None:
    assert find_model(MODELS, CATALOGUE.default_model) is MODELS[0]
