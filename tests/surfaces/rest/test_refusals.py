"""Who may do what, and how those are told who may not or cannot be understood."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mcp_image_server.errors import ImageServerError
from mcp_image_server.surfaces.http.problems import trouble_of
from tests.web import Person, token_of

pytestmark = pytest.mark.anyio


async def test_what_belongs_to_somebody_else_is_not_there(ann: Person, bob: Person) -> None:
    stored = await ann.draws()
    job = stored.partition("-")[0]
    upload = (await ann("POST", "/api/v1/uploads", 201, json={}))["id"]
    for method, path, body in (
        ("GET", f"/api/v1/images/{stored}", None),
        ("GET", f"/api/v1/images/{stored}/content", None),
        ("GET", f"/api/v1/images/{stored}/lineage", None),
        ("PATCH", f"/api/v1/images/{stored}", {"title": "mine"}),
        ("DELETE", f"/api/v1/images/{stored}", None),
        ("POST", f"/api/v1/images/{stored}/undelete", None),
        ("GET", f"/api/v1/jobs/{job}", None),
        ("GET", f"/api/v1/jobs/{job}/events", None),
        ("DELETE", f"/api/v1/jobs/{job}", None),
        ("POST", "/api/v1/jobs", {"rerun_of": stored}),
        ("GET", f"/api/v1/uploads/{upload}", None),
        ("DELETE", f"/api/v1/uploads/{upload}", None),
    ):
        theirs = await bob(method, path, 404, json=body)
        unknown = await bob(method, path.replace(stored, "0" * 16 + "-1").replace(job, "0" * 16).replace(upload, "0" * 32), 404, json=body)
        assert theirs["code"] == unknown["code"]
    assert (await bob("GET", f"/api/v1/jobs?before={job}", 200))["jobs"] == []


async def test_who_only_looks_draws_changes_and_sends_nothing(eve: Person) -> None:
    await eve("GET", "/api/v1/images", 200)
    await eve("GET", "/api/v1/templates", 200)
    for method, path, body in (
        ("POST", "/api/v1/jobs", {"prompt": "x"}),
        ("POST", "/api/v1/batches", {"prompts": ["x"]}),
        ("POST", "/api/v1/transformations", {"images": ["x"], "rotate": 90}),
        ("POST", "/api/v1/uploads", {}),
        ("POST", "/v1/images/generations", {"prompt": "x"}),
        ("PUT", "/api/v1/templates/x", {"prompt": "x"}),
        ("DELETE", "/api/v1/templates/x", None),
        ("PUT", "/api/v1/styles/x", {"phrase": "x"}),
        ("DELETE", "/api/v1/styles/x", None),
    ):
        answer = await eve(method, path, 403, json=body)
        assert (answer.get("code") or answer["error"]["code"]) == "forbidden"


async def test_whoever_is_turned_away_is_told_so_in_the_shape_of_the_path(ann: Person) -> None:
    client = ann.site.client
    problem = await client.get("/api/v1/images")
    assert (problem.status_code, problem.headers["content-type"]) == (401, "application/problem+json")
    assert problem.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Unauthorized: Missing or invalid authentication",
        "code": "unauthorized",
        "who_can_fix_it": "the caller",
        "retryable": False,
        "details": {},
    }
    assert problem.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/models")).json()["error"]["code"] == "invalid_api_key"
    told = (await client.post("/mcp", json={})).json()
    assert told == {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "Unauthorized: Missing or invalid authentication"}}


async def test_a_call_that_cannot_be_understood_is_a_problem_with_its_reason(ann: Person) -> None:
    wrong = await ann("POST", "/api/v1/jobs", 400, json={"prompt": "x", "n": 99, "colour": "red"})
    assert wrong["code"] == "invalid_arguments"
    assert [each["field"] for each in wrong["details"]["problems"]] == ["n", "colour"]
    assert (await ann("GET", "/api/v1/jobs?limit=many", 400))["code"] == "invalid_arguments"
    assert (await ann("GET", "/api/v1/images?since=yesterday", 400))["code"] == "invalid_arguments"
    assert (await ann("POST", "/api/v1/jobs", 400, content=b"{", headers={"content-type": "application/json"}))["code"] == "invalid_arguments"
    assert (await ann("POST", "/api/v1/jobs", 415, content=b"x", headers={"content-type": "text/plain"}))["code"] == "unsupported_media_type"
    assert (await ann("GET", "/api/v1/nothing", 404))["code"] == "not_found"
    refused = await ann.site.client.put("/api/v1/jobs", headers={"authorization": f"Bearer {token_of('ann')}"})
    assert (refused.status_code, refused.headers["allow"], refused.json()["code"]) == (405, "GET, HEAD, OPTIONS, POST", "method_not_allowed")


async def test_a_body_that_is_too_large_is_refused_however_it_comes(ann: Person) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(21):
            yield b"x" * 10_000

    form = {"content-type": "multipart/form-data; boundary=b"}
    begin = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'

    async def file() -> AsyncIterator[bytes]:
        yield begin
        async for piece in pieces():
            yield piece

    assert (await ann("POST", "/api/v1/jobs", 413, content=b"x" * 300_000, headers={"content-type": "application/json"}))[
        "code"
    ] == "payload_too_large"
    assert (await ann("POST", "/api/v1/jobs", 413, content=pieces(), headers={"content-type": "application/json"}))["code"] == "payload_too_large"
    assert (await ann("POST", "/v1/images/edits", 413, content=file(), headers=form))["error"]["code"] == "payload_too_large"
    for broken in (b"", b"--b\r\n", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--\r\n"):
        assert (await ann("POST", "/v1/images/edits", 400, content=broken, headers=form))["error"]["type"] == "invalid_request_error"


def kinds(parent: type[ImageServerError] = ImageServerError) -> list[type[ImageServerError]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_somebody_who_can_do_something(kind: type[ImageServerError]) -> None:
    trouble = trouble_of(kind("words"))
    assert 400 <= trouble.status < 600
    assert trouble.who in ("the caller", "the operator", "the service", "the person", "nobody", "the developers")
