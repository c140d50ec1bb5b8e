"""The fake is faithful: Tencent's own library is its witness."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tencentcloud.aiart.v20221229 import aiart_client  # type: ignore[import-untyped]
from tencentcloud.aiart.v20221229 import models as aiart_models
from tencentcloud.common.credential import Credential  # type: ignore[import-untyped]
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException  # type: ignore[import-untyped]
from tencentcloud.common.profile.client_profile import ClientProfile  # type: ignore[import-untyped]
from tencentcloud.common.profile.http_profile import HttpProfile  # type: ignore[import-untyped]
from tencentcloud.hunyuan.v20230901 import hunyuan_client  # type: ignore[import-untyped]
from tencentcloud.hunyuan.v20230901 import models as hunyuan_models

from mcp_image_server.models import ImageRequest
from mcp_image_server.providers.hunyuan.models import Form, Way
from mcp_image_server.providers.hunyuan.sign import sign

from ...fakes.hunyuan import FakeHunyuan, Trouble, drawn
from .place import BODIES, IMAGE, LITE, V3, draw

pytestmark = pytest.mark.anyio

T = Trouble

library = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")


def library_client(fake: FakeHunyuan, kind: Any = hunyuan_client.HunyuanClient, **credential: str) -> Any:
    keys = {"secret_id": fake.secret_id, "secret_key": fake.secret_key, **credential}
    http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{fake.port}", reqTimeout=5)
    return kind(Credential(keys["secret_id"], keys["secret_key"]), "ap-guangzhou", ClientProfile(httpProfile=http))


def library_request(models: Any, way: Way, body: Mapping[str, Any]) -> Any:
    """The library's own request with those parameters; it complains about names it does not know."""
    made = getattr(models, f"{way.action}Request")()
    made.from_json_string(json.dumps(body))
    return made


@library
@pytest.mark.parametrize(("way", "request_", "body"), [row for row in BODIES if row[0].form is Form.ACTION])
async def test_the_library_sends_the_same_call_with_the_same_signature(
    fake: FakeHunyuan, way: Way, request_: ImageRequest, body: dict[str, Any]
) -> None:
    client, models = (aiart_client.AiartClient, aiart_models) if way is V3 else (hunyuan_client.HunyuanClient, hunyuan_models)
    answer = getattr(library_client(fake, client), way.action)(library_request(models, way, body))
    assert base64.b64decode(answer.ResultImage) == drawn(body.get("Resolution", "768:768")) if way is LITE else answer.JobId in fake.tasks
    fake.tasks.clear()
    await draw(fake, way, request_)
    theirs, ours = fake.seen[:2]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    for name in ("content-type", "host", "x-tc-action", "x-tc-version", "x-tc-region"):
        assert theirs.headers[name] == ours.headers[name]
    signed = sign(
        secret_id=fake.secret_id,
        secret_key=fake.secret_key,
        service=way.service,
        host=theirs.headers["host"],
        body=theirs.body,
        timestamp=int(theirs.headers["x-tc-timestamp"]),
    )
    assert signed["Authorization"] == theirs.headers["authorization"]


@library
def test_the_library_sees_a_task_through(fake: FakeHunyuan) -> None:
    fake.looks = 2
    client = library_client(fake)
    job_id = client.SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat", "Num": 2})).JobId
    look = hunyuan_models.QueryHunyuanImageJobRequest()
    look.JobId = job_id
    answers = [client.QueryHunyuanImageJob(look) for _ in range(3)]
    assert [answer.JobStatusCode for answer in answers] == ["1", "2", "5"]
    assert answers[-1].ResultDetails == ["Success"] * 2
    assert len(answers[-1].ResultImage) == 2


@library
@pytest.mark.parametrize(
    "trouble", [T.TAKEN, T.TOO_FAST, T.BLOCKED, T.ARREARS, T.NOT_ACTIVATED, T.NOT_ALLOWED, T.NO_SUCH_ACTION, T.WRONG_VALUE, T.INTERNAL, T.TIMED_OUT]
)
def test_the_library_sees_the_same_failures(fake: FakeHunyuan, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(TencentCloudSDKException) as caught:
        library_client(fake).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
    assert caught.value.get_code() == str(trouble)
    assert caught.value.get_request_id()


@library
@pytest.mark.parametrize(
    ("way", "body", "code"),
    [
        (IMAGE, {}, "MissingParameter"),
        (IMAGE, {"Prompt": "a cat", "Num": "2"}, "InvalidParameter"),
        (IMAGE, {"Prompt": "a cat", "Num": 5}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "a cat", "Style": "cubism"}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "a cat", "Resolution": "512:512"}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "x" * 1025}, "InvalidParameterValue.TextLengthExceed"),
        (LITE, {"Prompt": "x" * 257}, "InvalidParameterValue.TextLengthExceed"),
    ],
)
def test_the_library_sees_the_same_rules(fake: FakeHunyuan, way: Way, body: dict[str, Any], code: str) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        getattr(library_client(fake), way.action)(library_request(hunyuan_models, way, body))
    assert caught.value.get_code() == code


@library
def test_the_library_is_let_in_with_the_right_key_only(fake: FakeHunyuan) -> None:
    for wrong, code in (({"secret_id": "AKIDother"}, "AuthFailure.SecretIdNotFound"), ({"secret_key": "other"}, "AuthFailure.SignatureFailure")):
        with pytest.raises(TencentCloudSDKException) as caught:
            library_client(fake, **wrong).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
        assert caught.value.get_code() == code
    fake.clock = lambda: 1_000_000_000.0
    with pytest.raises(TencentCloudSDKException) as caught:
        library_client(fake).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
    assert caught.value.get_code() == "AuthFailure.SignatureExpire"
