"""Values go into JSON and come back the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.history.codecs import (
    adjustments_from_json,
    adjustments_to_json,
    cost_from_json,
    cost_to_json,
    failure_from_json,
    failure_to_json,
    request_from_json,
    request_to_json,
)
from mcp_image_server.models import Adjustment, AspectRatio, Cost, Edges, Failure, ImageRequest, Operation, Picture, Size

text = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
options = st.dictionaries(text, json_values, max_size=3)
edges = st.integers(1, 100_000)
pictures = st.builds(
    Picture, data=st.just(b""), media_type=st.sampled_from(["image/png", "image/webp"]), size=st.builds(Size, width=edges, height=edges)
)
requests = st.builds(
    ImageRequest,
    prompt=text,
    provider=st.none() | text,
    model=st.none() | text,
    negative_prompt=st.none() | text,
    original_prompt=st.none() | text,
    shape=st.none() | st.builds(Size, width=edges, height=edges) | st.builds(AspectRatio, width=edges, height=edges),
    count=st.integers(1, 10),
    seed=st.none() | st.integers(0, 2**64 - 1),
    style=st.none() | text,
    quality=st.none() | text,
    background=st.none() | st.sampled_from(["transparent", "opaque", "auto"]),
    output_format=st.none() | text,
    output_compression=st.none() | st.integers(0, 100),
    moderation=st.none() | text,
    images=st.lists(pictures, max_size=2).map(tuple),
    mask=st.none() | pictures,
    style_image=st.none() | pictures,
    action=st.none() | st.sampled_from(Operation),
    extend=st.none() | st.builds(Edges, left=st.integers(0, 99), bottom=st.integers(0, 99)),
    strength=st.none() | st.floats(0, 1),
    parents=st.lists(text, max_size=2).map(tuple),
    file_prefix=st.none() | text,
    options=options,
)


@given(requests)
def test_a_request_comes_back_as_it_was(request: ImageRequest) -> None:
    assert request_from_json(json.loads(json.dumps(request_to_json(request)))) == request


@given(st.lists(st.builds(Adjustment, field=text, message=text), max_size=3).map(tuple))
def test_adjustments_come_back_as_they_were(adjustments: tuple[Adjustment, ...]) -> None:
    assert adjustments_from_json(json.loads(json.dumps(adjustments_to_json(adjustments)))) == adjustments


@given(st.none() | st.builds(Failure, code=text, message=text, retryable=st.booleans(), may_have_been_billed=st.booleans(), details=options))
def test_a_failure_comes_back_as_it_was(failure: Failure | None) -> None:
    assert failure_from_json(json.loads(json.dumps(failure_to_json(failure)))) == failure


@given(st.none() | st.builds(Cost, micros=st.integers(), currency=text, source=st.sampled_from(["reported", "computed", "list_price"])))
def test_a_cost_comes_back_as_it_was(cost: Cost | None) -> None:
    assert cost_from_json(json.loads(json.dumps(cost_to_json(cost)))) == cost


def test_input_images_are_written_down_without_their_bytes() -> None:
    picture = Picture(data=b"secret pixels", media_type="image/png", size=Size(width=2, height=1))
    request = ImageRequest(prompt="bluer", images=(picture,), mask=picture)
    described = {"media_type": "image/png", "width": 2, "height": 1, "sha256": hashlib.sha256(b"secret pixels").hexdigest()}
    written = request_to_json(request)
    assert (written["images"], written["mask"]) == ([described], described)
    read = request_from_json(written)
    assert (read.images[0].sha256, request_to_json(read)) == (picture.sha256, written)
    assert read == replace(request, images=(replace(picture, data=b""),), mask=replace(picture, data=b""))
    assert read.operation is Operation.INPAINT
