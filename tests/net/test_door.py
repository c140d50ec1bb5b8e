from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from starlette.responses import JSONResponse, Response

from mcp_image_server.errors import BadReplyError, ProviderError, RateLimitedError, RefusedError, TimedOutError, UnavailableError
from mcp_image_server.net import File, Net, Pace

from ..fakes.server import Hanging, Scripted, picture
from .acme import ACME, KEY, again, net_to
from .internet import Internet

pytestmark = pytest.mark.anyio


async def test_a_call_sends_the_key_and_the_body_and_gives_the_whole_answer() -> None:
    with Scripted(JSONResponse({"id": "t1"}, 201, headers={"X-Request-Id": "r1"})) as server:
        net = net_to(server)
        reply = await net.send("POST", "/tasks", json={"prompt": "小猫"}, params={"v": "2"}, headers={"X-Mode": "async"})
        await net.aclose()
    assert (reply.status, reply.json(), reply.request_id, reply.paid) == (201, {"id": "t1"}, "r1", True)
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.query, seen.json()) == ("POST", "/v1/tasks", {"v": "2"}, {"prompt": "小猫"})
    assert (seen.headers["x-key"], seen.headers["x-mode"]) == (KEY, "async")
    assert seen.headers["user-agent"].startswith("image-gen-mcp-server/")


@pytest.mark.parametrize(("base", "path"), [("", "/tasks"), ("/", "/tasks"), ("/a/b", "/a/b/tasks"), ("/a/b/", "/a/b/tasks")])
async def test_the_base_url_is_used_as_given(base: str, path: str) -> None:
    with Scripted(JSONResponse({})) as server:
        net = net_to(f"{server.url}{base}")
        await net.send("GET", "tasks")
        await net.aclose()
    assert server.seen[0].path == path


async def test_multipart_goes_out_in_order_and_scalars_have_no_media_type() -> None:
    with Scripted(JSONResponse({})) as server:
        net = net_to(server)
        await net.send("POST", "edits", parts=[("prompt", "a hat"), ("image[]", File(name="a.png", media_type="image/png", data=b"A")), ("n", "2")])
        await net.aclose()
    boundary = server.seen[0].headers["content-type"].partition("boundary=")[2]
    assert server.seen[0].body.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na hat\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image[]"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nA\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n--{boundary}--\r\n'
    )


async def test_the_body_is_signed_as_it_is_sent_and_anew_for_each_try() -> None:
    signed: list[tuple[str, str, bytes]] = []

    def sign(method: str, url: str, body: bytes) -> dict[str, str]:
        signed.append((method, url, body))
        return {"Authorization": f"signature {len(signed)}"}

    with Scripted(JSONResponse({}, 429, headers={"retry-after": "0"}), JSONResponse({})) as server:
        net = net_to(server, sign=sign)
        await net.send("POST", "", json={"Prompt": "雨"})
        await net.aclose()
    assert signed == [("POST", f"{server.url}/v1/", seen.body) for seen in server.seen]
    assert [seen.headers["authorization"] for seen in server.seen] == ["signature 1", "signature 2"]


async def test_a_whole_url_is_called_only_on_hosts_that_may_see_the_key() -> None:
    with Scripted(JSONResponse({"status": "done"})) as server:
        net = net_to(server, trusted_hosts=("acme.example",))
        assert (await net.send("GET", f"{server.url}/v1/tasks/1")).json() == {"status": "done"}
        for url in ("https://evil.example/t", "https://acme.example.evil.example/t", "https://notacme.example/t", "ftp://eu.acme.example/t"):
            with pytest.raises(BadReplyError, match="must not see the key") as caught:
                await net.send("GET", url)
            assert caught.value.may_have_been_billed
        with pytest.raises(UnavailableError, match=r"eu\.acme\.example"):
            await net.send("GET", "https://eu.acme.example/t")
        await net.aclose()
    assert len(server.seen) == 1


async def test_a_call_can_be_cancelled_while_the_service_is_silent() -> None:
    with Scripted(Hanging()) as server:
        net = net_to(server)
        with anyio.move_on_after(0.2) as scope:
            await net.send("POST", "x")
        await net.aclose()
    assert scope.cancelled_caught


async def test_two_first_calls_at_once_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx2.AsyncClient] = []
    create = httpx2.AsyncClient.__init__

    def counted(self: httpx2.AsyncClient, **arguments: Any) -> None:
        made.append(self)
        create(self, **arguments)

    monkeypatch.setattr(httpx2.AsyncClient, "__init__", counted)
    with Scripted(JSONResponse({})) as server:
        net = net_to(server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(net.send, "GET", "a")
            tasks.start_soon(net.send, "GET", "b")
        await net.aclose()
        await net.aclose()
    assert len(made) == 1
    assert made[0].is_closed


# Polling -------------------------------------------------------------------------------------------------------------------------------------

FAST = Pace(first=0.001, longest=0.002, deadline=60)


def asked(*answers: str | Exception | None) -> Callable[[], Any]:
    left = iter(answers)

    async def ask() -> str | None:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


async def test_what_goes_wrong_while_looking_says_nothing_about_work_that_was_taken() -> None:
    with Scripted(JSONResponse({"id": "t1"}), JSONResponse({"message": "no such task"}, 404)) as server:
        net = net_to(server)
        reply = await net.look("tasks/t1", params={"logs": "1"}, headers={"X-Mode": "look"})
        with pytest.raises(ProviderError, match="no such task") as caught:
            await net.look("tasks/t1")
        await net.aclose()
    assert (reply.json(), reply.paid) == ({"id": "t1"}, True)
    assert (caught.value.not_accepted, caught.value.may_have_been_billed) == (False, True)
    first = server.seen[0]
    assert (first.method, first.path, first.query, first.headers["x-mode"]) == ("GET", "/v1/tasks/t1", {"logs": "1"}, "look")


async def test_a_task_that_is_done_at_once_is_not_waited_for() -> None:
    with anyio.fail_after(60):
        assert await Net(ACME).poll(asked("done"), pace=Pace(first=1000)) == "done"


async def test_polling_outlasts_hiccups_that_pass() -> None:
    hiccups = (UnavailableError("502"), None, RateLimitedError("429", retry_after=0.001), "done")
    assert await Net(ACME).poll(asked(*hiccups), pace=FAST) == "done"


async def test_polling_ends_at_a_failure_that_stays() -> None:
    with pytest.raises(RefusedError, match="unsafe"):
        await Net(ACME).poll(asked(None, RefusedError("unsafe")), pace=FAST)


async def test_polling_ends_at_its_deadline_with_a_word_on_the_bill() -> None:
    async def never() -> None:
        return None

    with pytest.raises(TimedOutError, match=r"not done after 0\.01 seconds.*may have been billed") as caught:
        await Net(ACME).poll(never, pace=Pace(first=0.001, deadline=0.01))
    assert caught.value.may_have_been_billed


@pytest.mark.parametrize(
    ("polling", "expected"),
    [
        ({}, Pace(first=0.5, factor=1.3, longest=3, deadline=600)),
        ({"interval": 2}, Pace(first=0.5, factor=1.3, longest=2, deadline=600)),
        ({"interval": 0.2, "attempts": 10}, Pace(first=0.2, factor=1.3, longest=0.2, deadline=2)),
        ({"backoff": 1}, Pace(first=0.5, factor=1.3, longest=30, deadline=600)),
        ({"backoff": 1, "interval": 2, "max_interval": 20, "attempts": 5}, Pace(first=0.5, factor=1.3, longest=20, deadline=100)),
        ({"backoff": 0, "max_interval": 20}, Pace(first=0.5, factor=1.3, longest=3, deadline=600)),
    ],
)
def test_a_pace_keeps_to_the_callers_bounds(polling: dict[str, float], expected: Pace) -> None:
    assert Pace(first=0.5, factor=1.3, longest=3, deadline=600).within(polling) == expected


async def test_polling_can_be_cancelled() -> None:
    with anyio.move_on_after(0.05) as scope:
        await Net(ACME).poll(asked(None, "never asked"), pace=Pace(first=1000, deadline=10_000))
    assert scope.cancelled_caught


# Silence -------------------------------------------------------------------------------------------------------------------------------------


async def test_no_address_and_no_key_reaches_a_log(internet: Internet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Scripted(again({"retry-after": "0"}), JSONResponse({"message": KEY}, 400)) as server, Scripted(Response(picture(8, 8))) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        net = net_to(server)
        with pytest.raises(ProviderError):
            await net.send("POST", "x", params={"key": KEY})
        await net.download("http://cdn.example/a.png?signature=hush-hush")
        await net.aclose()
    assert KEY not in caplog.text
    assert "hush-hush" not in caplog.text


def test_the_door_is_light_until_it_is_opened() -> None:
    code = "import sys, mcp_image_server.net; print([m for m in ('httpx2', 'httpcore2', 'stamina', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
