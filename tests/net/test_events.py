from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp

from mcp_image_server.errors import BadReplyError, UnavailableError
from mcp_image_server.net import Event
from mcp_image_server.net.events import EventParser

from ..fakes.server import Scripted
from .acme import Task, again, net_to

pytestmark = pytest.mark.anyio

STREAM = b"\xef\xbb\xbf: hello\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\n\ndata:\n\nevent: lonely\n\nid: 7\ndata:  x: y\r\r: ping\n\ndata: \xe5\xb0\x8f\xe7\x8c\xab\n\n"
EVENTS = [Event("a", "1\n2"), Event("message", ""), Event("message", " x: y"), Event("message", "小猫")]


def parsed(chunks: list[bytes]) -> list[Event]:
    parser = EventParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    assert not parser.unfinished
    return events


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def test_a_stream_with_every_line_end_is_understood() -> None:
    assert parsed([STREAM]) == EVENTS


@given(st.lists(st.integers(0, 1000)))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    assert parsed(chunked(STREAM, cuts)) == EVENTS


_LINES = st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(st.tuples(_LINES.filter(bool), st.lists(_LINES, min_size=1, max_size=3)), max_size=5),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.lists(st.integers(0, 5000)),
)
def test_what_is_written_is_read_whatever_the_line_end_and_the_chunks(events: list[tuple[str, list[str]]], end: str, cuts: list[int]) -> None:
    text = "".join("".join([f"event: {kind}{end}", *(f"data: {line}{end}" for line in lines), end]) for kind, lines in events)
    assert parsed(chunked(text.encode(), cuts)) == [Event(kind, "\n".join(lines)) for kind, lines in events]


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000)))
def test_no_bytes_break_the_parser(data: bytes, cuts: list[int]) -> None:
    whole, cut = EventParser(), EventParser()
    assert whole.feed(data) == [event for chunk in chunked(data, cuts) for event in cut.feed(chunk)]
    assert whole.unfinished == cut.unfinished


def test_a_long_line_in_many_pieces_stays_linear() -> None:
    parser = EventParser()
    events = [event for piece in [b"data: ", *[b"x" * 1024] * 20_000, b"\n\n"] for event in parser.feed(piece)]
    assert [len(event.data) for event in events] == [20_480_000]


@pytest.mark.parametrize("endless", [[b"data: " + b"x" * 10], [b": " + b"x" * 10], [b"data: x\n"]])
def test_an_event_without_an_end_is_refused_at_the_limit(endless: list[bytes]) -> None:
    parser = EventParser(max_bytes=1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        all(parser.feed(piece) == [] for piece in endless * 1000)


def test_comments_that_keep_the_line_open_do_not_count() -> None:
    parser = EventParser(max_bytes=1000)
    for _ in range(1000):
        assert parser.feed(b": ping\nretry: 5\n") == []


async def pieces(*texts: str, cut: bool = False) -> AsyncIterator[str]:
    for text in texts:
        yield text
    if cut:
        raise ConnectionError("cut on purpose")


def event_stream(*texts: str, cut: bool = False) -> ASGIApp:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(pieces(*texts, cut=cut), media_type="text/event-stream")(scope, receive, send)

    return answer


async def test_events_come_as_they_are_sent() -> None:
    with Scripted(again({"retry-after": "0"}), event_stream("event: a\nda", "ta: 1\n\n", "data: [DONE]\n\n")) as server:
        net = net_to(server)
        async with net.stream("POST", "x", json={"stream": True}, params={"v": "2"}) as events:
            assert [event async for event in events] == [Event("a", "1"), Event("message", "[DONE]")]
            assert (events.is_stream, events.cut_short, events.reply.status) == (True, False, 200)
        await net.aclose()
    assert [(seen.headers["accept"], seen.query) for seen in server.seen] == [("text/event-stream, application/json", {"v": "2"})] * 2


async def test_what_an_event_says_is_read_as_a_reply_is() -> None:
    with Scripted(event_stream('data: {"id": "t1"}\n\n', "data: []\n\n")) as server:
        net = net_to(server)
        async with net.stream("POST", "x") as events:
            good, odd = [event async for event in events]
            assert events.parse(good, Task) == Task(id="t1")
            with pytest.raises(BadReplyError, match="a reply of an unknown form") as caught:
                events.parse(odd, Task)
        await net.aclose()
    assert caught.value.may_have_been_billed


async def test_a_stream_that_breaks_off_is_a_failure_after_the_events_that_came() -> None:
    with Scripted(event_stream("data: 1\n\ndata: 2", cut=True)) as server:
        net = net_to(server)
        async with net.stream("POST", "x") as events:
            came = aiter(events)
            assert await anext(came) == Event("message", "1")
            with pytest.raises(UnavailableError, match="broke the connection") as caught:
                await anext(came)
        await net.aclose()
    assert caught.value.may_have_been_billed


async def test_a_stream_that_ends_inside_an_event_says_so() -> None:
    with Scripted(event_stream("data: 1\n\ndata: 2\n")) as server:
        net = net_to(server)
        async with net.stream("POST", "x") as events:
            assert [event async for event in events] == [Event("message", "1")]
            assert events.cut_short
            error = events.ended_early()
        await net.aclose()
    assert (type(error), error.may_have_been_billed) == (UnavailableError, True)


async def test_one_answer_instead_of_events_is_there_as_a_whole() -> None:
    with Scripted(JSONResponse({"id": "t1"})) as server:
        net = net_to(server)
        async with net.stream("POST", "x") as events:
            assert not events.is_stream
            assert [event async for event in events] == []
            assert events.reply.parse(Task) == Task(id="t1")
        await net.aclose()


async def test_a_reader_may_leave_a_stream_early() -> None:
    with Scripted(event_stream("data: 1\n\n", "data: 2\n\n")) as server:
        net = net_to(server)
        async with net.stream("POST", "x") as events:
            async for event in events:
                assert event.data == "1"
                break
        assert (await net.send("GET", "x")).status == 200
        await net.aclose()


async def test_an_event_that_is_too_large_is_a_bad_reply() -> None:
    with Scripted(event_stream("data: " + "x" * 5000)) as server:
        net = net_to(server)
        async with net.stream("POST", "x", max_event_bytes=1000) as events:
            with pytest.raises(BadReplyError, match="larger than 1000 bytes"):
                await anext(aiter(events))
        await net.aclose()


async def test_a_mistake_in_the_block_is_not_dressed_up_as_a_failure_of_the_service() -> None:
    with Scripted(event_stream("data: 1\n\n")) as server:
        net = net_to(server)
        with pytest.raises(UnicodeEncodeError):
            async with net.stream("POST", "x"):
                "é".encode("ascii")
        await net.aclose()
