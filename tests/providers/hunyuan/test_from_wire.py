"""Answers, translated."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_image_server.errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import Adjustment, Drawn, Generated
from mcp_image_server.net import Fault
from mcp_image_server.providers.hunyuan.tokenhub import read_tokenhub_fault
from mcp_image_server.providers.hunyuan.wire import Envelope, from_wire, kind_of, read_fault, seed_of

from ...fakes.hunyuan import SPECS

pytestmark = pytest.mark.anyio


def recorded(name: str, action: str, **changes: Any) -> Any:
    return Envelope.model_validate({"Response": {**SPECS[name]["examples"][action]["Response"], **changes}}).response


def test_a_recorded_answer_becomes_a_picture_with_its_rewritten_prompt() -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageJob")
    ((link, revised),) = answer.results
    assert link.startswith("https://cos.ap-guangzhou.myqcloud.com/xxx?q-sign-algorithm=sha1&q-ak=xxx&q-sign-time=1731655045;1731658645&")
    assert from_wire(answer, [b"1"], {"Revise": 1}) == Generated(
        images=(Drawn(data=b"1", revised_prompt=revised),), request_id="56b2ecae-46e4-4697-87d2-dc2b3bbbc2c6"
    )
    assert from_wire(answer, [b"1"], {"Seed": 7, "Revise": 0, "Num": 1}).images[0].seed == 7
    assert recorded("hunyuan", "SubmitHunyuanImageJob").job_id == "251197749-1731412663-d4e1f224-fa21-40bc-9ee7-4bb13abece6e-0"
    assert recorded("aiart", "QueryTextToImageJob").results[0][0] == "https://cos.ap-guangzhou.myqcloud.com/xxx.jpg"
    assert len(recorded("hunyuan", "TextToImageLite").results) == 1


def test_a_recorded_round_of_a_conversation_tells_how_to_go_on() -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageChatJob")
    assert from_wire(answer, [b"1"], {}) == Generated(
        images=(Drawn(data=b"1", seed=1549130027, revised_prompt="风格为摄影风格，桌子上摆放着一个红润的苹果，镜头为近景镜头"),),
        request_id="54c4d31e-234b-44b8-802b-7d10fa2e77dc",
        adjustments=(
            Adjustment(
                field="options",
                message='To change this picture, send the next prompt with options {"ChatId": "1248907282106990592"} within 7 days.',
            ),
        ),
    )


@pytest.mark.parametrize(
    ("images", "details", "results", "complaints"),
    [
        (None, None, [], []),
        ([], [], [], []),
        ("u1", None, ["u1"], []),
        (["u1", "u2"], ["Success", "Success"], ["u1", "u2"], []),
        (["u1", ""], ["Success", "blocked"], ["u1"], ["blocked"]),
        (["u1", "u2"], ["Success", "blocked"], ["u1"], ["blocked"]),
        (["u2"], ["blocked", "Success"], ["u2"], ["blocked"]),
        ([None, None], ["blocked", "blocked"], [], ["blocked"]),
    ],
)
def test_pictures_and_complaints_are_told_apart(images: Any, details: Any, results: list[str], complaints: list[str]) -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageJob", ResultImage=images, ResultDetails=details, RevisedPrompt=None)
    assert ([link for link, _ in answer.results], answer.complaints) == (results, complaints)


def test_a_seed_is_told_only_where_it_made_the_picture() -> None:
    bodies = [{"Seed": 7, "Revise": 0}, {"seed": 7, "revise": False}, {"seed": 7}, {"Seed": 7, "Revise": 1}, {"Seed": 7, "Num": 2}, {}]
    assert [seed_of(body) for body in bodies] == [7, 7, 7, None, None, None]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AuthFailure.SecretIdNotFound", AuthError),
        ("UnauthorizedOperation", AuthError),
        ("ResourceUnavailable.NotExist", AuthError),
        ("ResourceUnavailable.LowBalance", QuotaError),
        ("ResourceInsufficient.ChargeResourceExhaust", QuotaError),
        ("LimitExceeded", QuotaError),
        ("RequestLimitExceeded.JobNumExceed", RateLimitedError),
        ("ConcurrentExceeded", RateLimitedError),
        ("OperationDenied.ImageIllegalDetected", RefusedError),
        ("FailedOperation.ModerationFailed", RefusedError),
        ("InternalError.Whatever.Next", UnavailableError),
        ("FailedOperation", ProviderError),
        ("InvalidParameterValue.StyleConflict", ProviderError),
        ("", ProviderError),
    ],
)
def test_tencents_codes_have_their_class(code: str, kind: type[ProviderError]) -> None:
    assert kind_of(code) is kind


@pytest.mark.parametrize("body", [None, [], {}, {"Response": None}, {"Response": {"RequestId": "1"}}, {"error": None}, "text"])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None
    assert read_tokenhub_fault(500, body) in (None, Fault(message="text"))


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (422, {"error": {"code": "1", "message": "no"}}, Fault(message="no", kind=RefusedError, details={"service_code": "1"})),
        (422, "", Fault(message="no reason given", kind=RefusedError)),
        (400, {"code": 400004, "message": "no model"}, Fault(message="no model", details={"service_code": "400004"})),
        (200, {"error": {"code": "content_filter"}}, Fault(message="no reason given", kind=RefusedError, details={"service_code": "content_filter"})),
    ],
)
def test_tokenhubs_errors_are_understood(status: int, body: Any, fault: Fault) -> None:
    assert read_tokenhub_fault(status, body) == fault
