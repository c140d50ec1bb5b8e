"""A server with the wire shape of Tencent's signed image actions and of TokenHub, and the faults of the true ones on demand.

Parameters are checked against Tencent's own description of its actions (tests/specs/tencent), signatures by working them out again.
`python -m tests.fakes.hunyuan --port 9002 --looks 3` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import re
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

SPECS = {
    spec["metadata"]["serviceShortName"]: spec
    for path in sorted((Path(__file__).parents[1] / "specs" / "tencent").glob("*.json"))
    for spec in [json.loads(path.read_text(encoding="utf-8"))]
}
QUERY_OF = {
    "SubmitHunyuanImageJob": "QueryHunyuanImageJob",
    "SubmitHunyuanImageChatJob": "QueryHunyuanImageChatJob",
    "SubmitTextToImageJob": "QueryTextToImageJob",
}
PRESETS = ("768:768", "768:1024", "1024:768", "1024:1024", "720:1280", "1280:720", "768:1280", "1280:768")
STYLES = frozenset(
    {"riman", "shuimo", "monai", "bianping", "xiangsu", "ertonghuiben", "3dxuanran", "manhua", "heibaimanhua", "xieshi", "dongman", "bijiasuo"}
    | {"saibopengke", "youhua", "masaike", "qinghuaci", "xinnianjianzhi", "xinnianhuayi"}
)
LITE_STYLES = frozenset({"000", *map(str, (*range(101, 120), *range(201, 205), 301, 401))})
HUB_MODELS = {
    "/v1/wand/hunyuan-image/v3-generation": "hy-image-v3",
    "/v1/wand/hunyuan-image/v35-generation": "hy-image-v3.5-preview",
    "/v1/api/image/lite": "hy-image-lite",
}
HUB_PARAMETERS = {
    "hy-image-v3": {"model", "prompt", "images", "size", "seed", "footnote", "revise"},
    "hy-image-v3.5-preview": {"model", "messages", "size", "seed", "generate_max_pixels", "footnote"},
    "hy-image-lite": {"model", "prompt", "negative_prompt", "resolution", "seed", "logo_add", "rsp_img_type"},
}
CLOCK_SKEW = 300


class Trouble(StrEnum):
    """What the server can do to the next piece of work instead of drawing."""

    TAKEN = "RequestLimitExceeded.JobNumExceed"
    TOO_FAST = "RequestLimitExceeded"
    ENGINE_BUSY = "FailedOperation.EngineServerLimitExceeded"
    BLOCKED = "OperationDenied.TextIllegalDetected"
    ARREARS = "ResourceUnavailable.InArrears"
    EXHAUSTED = "FailedOperation.ResourcePackExhausted"
    SOLD_OUT = "ResourcesSoldOut.ChargeStatusException"
    NOT_ACTIVATED = "FailedOperation.ServiceNotActivated"
    NOT_ALLOWED = "AuthFailure.UnauthorizedOperation"
    NO_SUCH_ACTION = "InvalidAction"
    WRONG_VALUE = "InvalidParameterValue.ParameterValueError"
    INTERNAL = "InternalError"
    TIMED_OUT = "FailedOperation.RequestTimeout"
    KEY_ECHO = "an error that repeats the id and the key"
    ERROR_500 = "an error page"
    ERROR_503_SIGNED = "the error of an action with a status of its own"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    PAGE = "a web page with status 200"
    REDIRECT = "points elsewhere"
    NO_JSON = "status 200 and broken JSON"
    NO_JOB_ID = "takes the job and gives it no id"
    BAD_BASE64 = "a picture that is no base64"
    MORE_FIELDS = "a picture and fields nobody knows"

    JOB_BLOCKED = "the task fails: OperationDenied.ImageIllegalDetected"
    JOB_REVIEWED = "the task fails: FailedOperation.GenerateImageFailed"
    JOB_BROKE = "the task fails: FailedOperation.InnerError"
    JOB_LATE = "the task fails: FailedOperation.EngineRequestTimeout"
    JOB_MUTE = "the task fails without a word"
    JOB_EMPTY = "the task ends without a picture"
    JOB_PARTLY = "the task draws all but the first picture"
    JOB_ALL_BAD = "the task ends with complaints instead of pictures"
    JOB_ONE_TEXT = "the task ends with a link outside of a list"
    JOB_FORGOTTEN = "nobody knows the task: FailedOperation.JobNotExist"
    LOOK_BUSY = "a look at the task meets a limit"
    LOOK_BROKE = "a look at the task meets an internal error"
    LINK_GONE = "the link to the picture has expired"

    HUB_FILTERED = "TokenHub refuses with status 200"
    HUB_REFUSED = "TokenHub refuses with status 422"
    HUB_FAILED = "TokenHub fails with status 200"
    HUB_NO_CREDIT = "TokenHub wants money"
    HUB_BUSY = "TokenHub is called too often"
    HUB_FORBIDDEN = "TokenHub has not opened the model"
    HUB_NO_MODEL = "TokenHub does not know the model"
    HUB_EMPTY = "TokenHub answers without a picture"


REFUSALS: Mapping[Trouble, str] = {
    Trouble.TAKEN: "The number of concurrent jobs has reached the limit, please try again later.",
    Trouble.TOO_FAST: "The number of requests exceeds the frequency limit.",
    Trouble.ENGINE_BUSY: "The engine is over its limit; try again later.",
    Trouble.BLOCKED: "The text contains illegal content.",
    Trouble.ARREARS: "The account is in arrears.",
    Trouble.EXHAUSTED: "The resource pack is used up.",
    Trouble.SOLD_OUT: "The state of billing is abnormal.",
    Trouble.NOT_ACTIVATED: "The service is not activated.",
    Trouble.NOT_ALLOWED: "You are not allowed to do this; check your CAM policies.",
    Trouble.NO_SUCH_ACTION: "The action is invalid.",
    Trouble.WRONG_VALUE: "A parameter has a wrong value.",
    Trouble.INTERNAL: "An internal error has occurred.",
    Trouble.TIMED_OUT: "The backend did not answer in time.",
}
"""Troubles that are an error in the answer of the action; their value is Tencent's code."""

JOB_FAILURES: Mapping[Trouble, str] = {
    Trouble.JOB_BLOCKED: "The picture contains illegal content.",
    Trouble.JOB_REVIEWED: "The picture did not pass the review.",
    Trouble.JOB_BROKE: "An error inside the service.",
    Trouble.JOB_LATE: "The engine did not answer in time.",
    Trouble.JOB_MUTE: "",
}


@dataclass
class Task:
    """One job as the server keeps it."""

    action: str
    body: Mapping[str, Any]
    trouble: Trouble | None
    looks: int = 0
    ended: bool = False
    chat_id: str = field(default_factory=lambda: str(uuid.uuid4().int)[:19])


class FakeHunyuan(Server):
    """Tencent on a port of this machine; `url` is what goes into TENCENT_ENDPOINT and TENCENT_TOKENHUB_ENDPOINT.

    Args:
        looks: how often a task is found under way before it is done.
        places: tasks of one action that may be under way at once.

    `trouble` is a queue: each new piece of work takes the first one from it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        secret_id: str = "AKIDfake0123456789",
        secret_key: str = "fakeSECRET0123456789",
        hub_key: str = "sk-hub-0123456789",
        looks: int = 0,
        places: int = 1,
    ) -> None:
        self.secret_id, self.secret_key, self.hub_key = secret_id, secret_key, hub_key
        self.looks = looks
        self.places = places
        self.clock = time.time
        self.lists_models = True
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Task] = {}
        routes = [
            Route("/", self._signed, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/files/{size}/{name}", self._file),
            *(Route(path, self._hub, methods=["POST"]) for path in HUB_MODELS),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()
        self.looks, self.places = 0, 1
        self.clock = time.time
        self.lists_models = True

    # Signed actions ---------------------------------------------------------------------------------------------------------------------------

    async def _signed(self, request: Request) -> ASGIApp:
        body = await request.body()
        if (refusal := self._refuse_signature(request, body)) is not None:
            return refusal
        action, version = request.headers.get("x-tc-action", ""), request.headers.get("x-tc-version", "")
        name = request.headers["authorization"].split("/")[2]
        spec = SPECS.get(name)
        if spec is None or action not in spec["actions"]:
            return error("InvalidAction", f"The API action `{action}` is not found.")
        if version != spec["metadata"]["apiVersion"]:
            return error("NoSuchVersion", f"The version `{version}` is not found.")
        if request.headers.get("x-tc-region") != "ap-guangzhou":
            return error("UnsupportedRegion", "The region is not supported.")
        try:
            parameters = json.loads(body)
        except ValueError:
            return error("InvalidParameter", "The request body is not valid JSON.")
        complaint = misfit(spec, spec["actions"][action]["input"], parameters) or broken_rule(action, parameters)
        if complaint is not None:
            return error(*complaint)
        if action.startswith("Query"):
            return self._look(action, parameters["JobId"])
        return self._start(action, parameters)

    def _refuse_signature(self, request: Request, body: bytes) -> Response | None:
        given = re.fullmatch(
            r"TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d\d-\d\d)/(\w+)/tc3_request, SignedHeaders=content-type;host, Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        stamp = request.headers.get("x-tc-timestamp", "")
        if given is None or not stamp.isdigit():
            return error("AuthFailure.InvalidAuthorization", "The authorization is not in a valid format.")
        if abs(self.clock() - int(stamp)) > CLOCK_SKEW:
            return error("AuthFailure.SignatureExpire", "The signature has expired.")
        secret_id, date, name, signature = given.groups()
        if secret_id != self.secret_id:
            return error("AuthFailure.SecretIdNotFound", f"The SecretId {secret_id} is not found.")
        headers = f"content-type:{request.headers.get('content-type', '')}\nhost:{request.headers['host']}\n"
        canonical = "\n".join([request.method, request.url.path, "", headers, "content-type;host", sha256(body).hexdigest()])
        text = "\n".join(["TC3-HMAC-SHA256", stamp, f"{date}/{name}/tc3_request", sha256(canonical.encode()).hexdigest()])
        key = f"TC3{self.secret_key}".encode()
        for part in (date, name, "tc3_request", text):
            key = hmac.new(key, part.encode(), sha256).digest()
        right_day = datetime.fromtimestamp(int(stamp), UTC).strftime("%Y-%m-%d")
        if date != right_day or not hmac.compare_digest(key.hex(), signature):
            return error("AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct.")
        return None

    def _start(self, action: str, body: Mapping[str, Any]) -> ASGIApp:
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and trouble in REFUSALS:
            return error(str(trouble), REFUSALS[trouble])
        if (answer := self._common(trouble)) is not None:
            return answer
        if trouble is Trouble.KEY_ECHO:
            return error("InvalidParameter", f"Cannot use {self.secret_id} with {self.secret_key} here.")
        if trouble is Trouble.ERROR_503_SIGNED:
            return JSONResponse({"Response": {"Error": {"Code": "InternalError", "Message": "Down for a moment."}, "RequestId": "r-503"}}, 503)
        if action == "TextToImageLite":
            return answered(ResultImage=self._inline(body, trouble), **_more(trouble))
        under_way = [task for task in self.tasks.values() if task.action == action and not task.ended]
        if len(under_way) >= self.places:
            return error(str(Trouble.TAKEN), REFUSALS[Trouble.TAKEN])
        if trouble is Trouble.NO_JOB_ID:
            return answered()
        job_id = f"251197749-{int(time.time())}-{uuid.uuid4()}-0"
        self.tasks[job_id] = Task(action=action, body=body, trouble=trouble)
        return answered(JobId=job_id, **_more(trouble))

    def _look(self, action: str, job_id: str) -> Response:
        task = self.tasks.get(job_id)
        if task is None or QUERY_OF[task.action] != action or task.trouble is Trouble.JOB_FORGOTTEN:
            return error("FailedOperation.JobNotExist", "The job does not exist.")
        if task.trouble in (Trouble.LOOK_BUSY, Trouble.LOOK_BROKE):
            code = "InternalError" if task.trouble is Trouble.LOOK_BROKE else "RequestLimitExceeded"
            task.trouble = None
            return error(code, "Not now.")
        task.looks += 1
        empty: dict[str, Any] = {"JobErrorCode": "", "JobErrorMsg": "", "ResultImage": [], "ResultDetails": [], "RevisedPrompt": []}
        if task.looks <= self.looks:
            code, words = ("1", "排队中") if task.looks == 1 else ("2", "处理中")
            return answered(**empty, JobStatusCode=code, JobStatusMsg=words)
        task.ended = True
        if task.trouble is not None and task.trouble in JOB_FAILURES:
            code = str(task.trouble).partition(": ")[2]
            nothing = dict.fromkeys(("ResultImage", "ResultDetails", "RevisedPrompt"))
            return answered(JobStatusCode="4", JobStatusMsg="处理失败", JobErrorCode=code, JobErrorMsg=JOB_FAILURES[task.trouble], **nothing)
        return answered(JobStatusCode="5", JobStatusMsg="处理完成", **{**empty, **self._results(task)}, **_more(task.trouble))

    def _results(self, task: Task) -> dict[str, Any]:
        body, trouble = task.body, task.trouble
        count = body.get("Num", 1)
        expires = "past" if trouble is Trouble.LINK_GONE else "later"
        links = [
            f"{self.url}/files/{body.get('Resolution', '1024:1024')}/{number}.png?q-sign-time=1;2&q-signature={expires}" for number in range(count)
        ]
        details, revised = ["Success"] * count, [f"更细致的：{body['Prompt']}" if body.get("Revise", 1) else body["Prompt"]] * count
        match trouble:
            case Trouble.JOB_EMPTY:
                return {"ResultImage": None, "ResultDetails": None, "RevisedPrompt": None}
            case Trouble.JOB_ALL_BAD:
                return {"ResultImage": [""] * count, "ResultDetails": ["OperationDenied.ImageIllegalDetected"] * count}
            case Trouble.JOB_PARTLY:
                links[0], details[0] = "", "did not pass the review"
            case Trouble.JOB_ONE_TEXT:
                return {"ResultImage": links[0]}
        results: dict[str, Any] = {"ResultImage": links, "ResultDetails": details}
        if task.action != "SubmitHunyuanImageChatJob":
            return {**results, "RevisedPrompt": revised}
        this = {"ChatId": task.chat_id, "Prompt": body["Prompt"], "RevisedPrompt": revised[0], "Seed": 1549130027}
        return {**results, "ChatId": task.chat_id, "History": [{"ChatId": "1", "Prompt": None, "RevisedPrompt": None, "Seed": None}, this]}

    def _inline(self, body: Mapping[str, Any], trouble: Trouble | None) -> str:
        size = body.get("Resolution", "768:768")
        if body.get("RspImgType") == "url":
            return f"{self.url}/files/{size}/lite.png?q-sign-time=1;2&q-signature=later"
        return "not base64!" if trouble is Trouble.BAD_BASE64 else base64.b64encode(drawn(size)).decode()

    def _common(self, trouble: Trouble | None) -> ASGIApp | None:
        """What can befall any call."""
        match trouble:
            case Trouble.ERROR_500:
                return Response("<html><body><h1>500 Internal Server Error</h1></body></html>", 500, media_type="text/html")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"Response": {"JobId": "1')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body>Welcome</body></html>", media_type="text/html")
            case Trouble.REDIRECT:
                return RedirectResponse("/elsewhere?signature=abc", 307)
            case Trouble.NO_JSON:
                return Response('{"Response": {"Job', media_type="application/json")
            case _:
                return None

    async def _file(self, request: Request) -> Response:
        if request.query_params.get("q-signature") != "later":
            return Response("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", 403, media_type="application/xml")
        return Response(drawn(request.path_params["size"]), media_type="application/octet-stream")

    # TokenHub ---------------------------------------------------------------------------------------------------------------------------------

    def _refuse_key(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.hub_key}":
            return None
        return hub_error(401, "invalid_api_key", f"Invalid API key: {request.headers.get('authorization', '').removeprefix('Bearer ')}")

    async def _models(self, request: Request) -> Response:
        if not self.lists_models:
            return hub_error(404, "not_found", "no such path")
        entries = [{"id": name, "object": "model"} for name in (*HUB_MODELS.values(), "hy3")]
        return self._refuse_key(request) or JSONResponse({"object": "list", "data": entries})

    async def _hub(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if (answer := self._common(trouble) or _hub_trouble(trouble)) is not None:
            return answer
        body = await request.json()
        expected = HUB_MODELS[request.url.path]
        if body.get("model") != expected:
            return hub_error(400, "400004", f"model {body.get('model')} does not exist")
        if (complaint := broken_hub_rule(body)) is not None:
            return hub_error(400, "400001", complaint)
        size = (body.get("size") or body.get("resolution") or "1024x1024").replace("x", ":")
        link = f"{self.url}/files/{size}/hub.png?q-sign-time=1;2&q-signature={'past' if trouble is Trouble.LINK_GONE else 'later'}"
        envelope = {"id": "4-WandImage-1", "created": 1_790_000_000, "request_id": "hub-1", **_more(trouble)}
        if trouble is Trouble.HUB_EMPTY:
            return JSONResponse({**envelope, "data": []})
        if "messages" in body:
            image = {"url": link, "width": 2048, "height": 2048, "source": "generate"}
            choice = {"index": 0, "delta": {"type": "image", "image": image}, "finish_reason": None}
            return JSONResponse({**envelope, "object": "image.chat.completion.chunk", "round": 0, "choices": [choice], "assembled_history": [{}]})
        entry = {"url": link} if expected == "hy-image-lite" else {"url": link, "revised_prompt": f"finer: {body['prompt']}"}
        return JSONResponse({**envelope, "data": [entry], "tokenhub_usage": {"total_tokens": 1024}})


def _hub_trouble(trouble: Trouble | None) -> Response | None:
    match trouble:
        case Trouble.HUB_FILTERED | Trouble.HUB_FAILED:
            code = "content_filter" if trouble is Trouble.HUB_FILTERED else "upstream_failed"
            problem = {"type": "upstream_error", "code": code, "message": "No picture was made.", "request_id": "hub-2"}
            return JSONResponse({"error": problem, "choices": [{"finish_reason": "error"}]})
        case Trouble.HUB_REFUSED:
            return hub_error(422, "422001", "The prompt contains sensitive content.")
        case Trouble.HUB_NO_CREDIT:
            return hub_error(402, "402001", "The balance is used up.")
        case Trouble.HUB_BUSY:
            return hub_error(429, "429001", "Too many requests.")
        case Trouble.HUB_FORBIDDEN:
            return hub_error(403, "403001", "The model has not been switched to payment after use.")
        case Trouble.HUB_NO_MODEL:
            return hub_error(400, "400004", "model hy-image-v9 does not exist")
        case _:
            return None


def _more(trouble: Trouble | None) -> dict[str, Any]:
    return {"Unheard": {"Of": [1]}, "unheard_of": 1} if trouble is Trouble.MORE_FIELDS else {}


def answered(**facts: Any) -> Response:
    """An answer in Tencent's envelope."""
    return JSONResponse({"Response": {**facts, "RequestId": str(uuid.uuid4())}})


def error(code: str, message: str) -> Response:
    """An error in Tencent's envelope, with status 200 like everything."""
    return answered(Error={"Code": code, "Message": message})


def hub_error(status: int, code: str, message: str) -> Response:
    """An error in TokenHub's shape."""
    return JSONResponse({"error": {"type": "error", "code": code, "message": message}, "request_id": "hub-3"}, status)


def drawn(size: str) -> bytes:
    """A small picture in the proportions of a size written as 768:1024."""
    width, height = map(int, size.split(":"))
    return picture(max(width // 16, 1), max(height // 16, 1))


TYPES: Mapping[str, type | tuple[type, ...]] = {"string": str, "int": int, "float": (int, float), "bool": bool, "list": list, "object": dict}


def misfit(spec: Mapping[str, Any], name: str, value: Any, path: str = "") -> tuple[str, str] | None:
    """Where a value is not of the type of that name in Tencent's description: code and message."""
    if not isinstance(value, dict):
        return "InvalidParameter", f"The type of `{path or name}` is not valid."
    members = {member["name"]: member for member in spec["objects"][name]["members"]}
    for key in value:
        if key not in members:
            return "UnknownParameter", f"The parameter `{path}{key}` is not recognized."
    for key, member in members.items():
        if key not in value:
            if member["required"]:
                return "MissingParameter", f"The request is missing a required parameter `{path}{key}`."
            continue
        entry = value[key]
        if not isinstance(entry, TYPES[member["type"]]) or (isinstance(entry, bool) and member["type"] != "bool"):
            return "InvalidParameter", f"The type of `{path}{key}` is not valid."
        if member["type"] == "object" and (found := misfit(spec, member["member"], entry, f"{path}{key}.")):
            return found
        if member["type"] == "list" and member["member"] == "string" and not all(isinstance(one, str) for one in value[key]):
            return "InvalidParameter", f"The type of `{path}{key}` is not valid."
    return None


LONGEST = {"SubmitTextToImageJob": 8192, "TextToImageLite": 256}


def broken_rule(action: str, body: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a request breaks of the rules that stand in the documentation's text: code and message."""
    if action.startswith("Query"):
        return None
    longest = LONGEST.get(action, 1024)
    if any(len(body.get(name, "")) > longest for name in ("Prompt", "NegativePrompt")):
        return "InvalidParameterValue.TextLengthExceed", "The text is too long."
    styles = {"SubmitHunyuanImageJob": STYLES, "TextToImageLite": LITE_STYLES}.get(action, frozenset())
    wrong = (
        (body.get("Style", "") and body["Style"] not in styles)
        or not 1 <= body.get("Num", 1) <= 4
        or not 1 <= body.get("Seed", 1) <= 4_294_967_295
        or body.get("Revise", 1) not in (0, 1)
        or body.get("RspImgType", "url") not in ("url", "base64")
        or body.get("Clarity", "x2") not in ("x2", "x4")
        or len(body.get("Images", ())) > 3
        or not _draws(action, body)
    )
    return ("InvalidParameterValue.ParameterValueError", "A parameter has a wrong value.") if wrong else None


def _draws(action: str, body: Mapping[str, Any]) -> bool:
    resolution = body.get("Resolution")
    if resolution is None:
        return True
    if action == "SubmitTextToImageJob":
        return within(resolution.replace(":", "x"), 512, 2048, 1024 * 1024)
    more = ("1080:1920", "1920:1080") if action == "TextToImageLite" else ()
    return resolution in (PRESETS[:4] if "ContentImage" in body else (*PRESETS, *more))


def broken_hub_rule(body: Mapping[str, Any]) -> str | None:
    """What a request breaks of TokenHub's rules."""
    model = body["model"]
    for name in body:
        if name not in HUB_PARAMETERS[model]:
            return f"unknown parameter {name}"
    if not 0 <= body.get("seed", 0) <= 4_294_967_295:
        return "seed is out of range"
    if model == "hy-image-v3.5-preview":
        parts = [part for message in body["messages"] for part in message["content"]]
        pictures = [part for part in parts if part["type"] == "image_url"]
        if len(pictures) > 20 or not all(part["image_url"]["url"].startswith(("https://", "data:image/")) for part in pictures):
            return "the pictures are not valid"
        return None if within(body.get("size", "1024x1024"), 256, 8192, 4096 * 4096) else "size is out of range"
    if len(body["prompt"]) > 8192 or len(body.get("images", ())) > 3:
        return "too much"
    return None if model == "hy-image-lite" or within(body.get("size", "1024x1024"), 512, 2048, 1024 * 1024) else "size is out of range"


def within(size: str, least: int, most: int, area: int) -> bool:
    """Whether both edges and the area of a size written as 768x1024 are within bounds."""
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        return False
    width, height = int(match[1]), int(match[2])
    return least <= min(width, height) and max(width, height) <= most and width * height <= area


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake of Tencent's image services.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--looks", type=int, default=2, help="how often a task is found under way before it is done")
    arguments.add_argument("--places", type=int, default=1, help="tasks of one action that may be under way at once")
    given = arguments.parse_args()
    fake = FakeHunyuan(port=given.port, looks=given.looks, places=given.places)
    print(f"TENCENT_SECRET_ID={fake.secret_id} TENCENT_SECRET_KEY={fake.secret_key} TENCENT_ENDPOINT={fake.url}", flush=True)
    print(f"TENCENT_TOKENHUB_API_KEY={fake.hub_key} TENCENT_TOKENHUB_ENDPOINT={fake.url}", flush=True)
    fake.run()
