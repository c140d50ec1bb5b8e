"""Batches over HTTP: many pictures asked for at once, and what has become of them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...batches import MAX_ITEMS, Batch, Item, expand, numbered
from ...studio import Studio
from ..facts import batch_body, batch_estimate_facts, listed_batch_facts
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply, while_listening
from .links import link_of, seen_in
from .paging import LINK, Next, PageQuery, page
from .schemas import AdjustmentFacts, FailureFacts, ImageFacts
from .waiting import PREFER, WaitQuery, applied, wait_of

ITEMS = 100
"""Of a batch that are told of, where the caller does not say how many."""


# What is asked --------------------------------------------------------------------------------------------------------------------------------


class NewBatch(Arguments):
    """Pictures that are wanted. The same of the same caller is the same batch: nothing is drawn or paid twice."""

    prompts: list[str] = Field([], max_length=MAX_ITEMS, description="A picture of each.", examples=[["A lighthouse", "A boat"]])
    items: list[dict[str, Any]] = Field([], max_length=MAX_ITEMS, description="Arguments of generate_image, for each picture its own.")
    models: list[Annotated[str, Field(max_length=300)]] = Field(
        [], max_length=20, description="provider/model; with several, each prompt is drawn by each."
    )
    n: int = Field(1, ge=1, le=100, description="Pictures of each.")
    economy: bool = Field(False, description="Half the price, within a day, where the service offers that.")
    new: bool = Field(False, description="Draw all anew, although there is such a batch.")


class ToldQuery(WaitQuery):
    """How long to wait, and how much to tell."""

    items: int = Field(ITEMS, ge=0, le=MAX_ITEMS, description="At most so many items are told of, those without pictures first.")


class NewTry(Arguments):
    """Which items are entered anew."""

    which: Literal["failed", "maybe_billed"] = Field("failed", description="Those that surely were not billed, or those that may have been.")


# What is answered -----------------------------------------------------------------------------------------------------------------------------


class ItemImage(BaseModel):
    """A picture of an item."""

    id: str
    url: str = Field(description="A link that opens without a token for a while.")


class ItemFacts(BaseModel):
    """One picture that was asked for."""

    number: int
    place: str
    prompt: str
    state: str
    job_id: str
    provider: str
    model: str
    images: list[ItemImage]
    error: FailureFacts | None = None
    tries: int | None = None


class ListedBatch(BaseModel):
    """How far a batch has come."""

    id: str = Field(examples=["batch-0123456789abcdef"])
    state: Literal["running", "succeeded", "incomplete"]
    created_at: str
    total: int
    succeeded: int
    failed: int
    running: int
    progress: float
    spent: dict[str, float] | None = Field(None, description="Currency to amount.")
    perhaps_billed: dict[str, float] | None = None


class BatchFacts(ListedBatch):
    """How far a batch has come, and its items."""

    items: list[ItemFacts]
    items_left_out: int | None = None


class BatchesAnswer(BaseModel):
    """A page of batches, newest first."""

    batches: list[ListedBatch]
    next: Next


class BatchAnswer(BaseModel):
    """A batch as it stands. `ok` is false where it has ended and items are without pictures."""

    version: str
    ok: bool
    images: list[ImageFacts] = Field(description="The contact sheet, once it has ended.")
    error: FailureFacts | None
    batch: BatchFacts


class BatchChange(AdjustmentFacts):
    """One thing that would be changed."""

    items: int = Field(description="For how many.")


class BatchEstimateAnswer(BaseModel):
    """Who would draw how many pictures, what would be changed, and what it would cost."""

    pictures: int
    by_model: dict[str, int]
    estimate: dict[str, float] = Field(description="Currency to amount.")
    unknown_prices: list[str] | None = None
    adjustments: list[BatchChange]
    needs_confirmation: bool | None = None
    would_be_refused: FailureFacts | None = None


# The calls ------------------------------------------------------------------------------------------------------------------------------------


def endpoints(studio: Studio) -> list[Endpoint]:
    """What begins batches and looks after them."""
    api = _Api(studio)
    path = "/api/v1/batches/{batch_id}"
    every = partial(Endpoint, path="/api/v1/batches", tag="Batches")
    one = partial(Endpoint, path=path, tag="Batches", parameters={"batch_id": "Id of a batch."}, faults=(404,))
    where = {"Location": "The batch."}
    standing = {200: Reply(words="The batch as it stands.", model=BatchAnswer)}
    begun = {
        201: Reply(words="It has ended.", model=BatchAnswer, headers=where),
        202: Reply(words="It is under way.", model=BatchAnswer, headers=where),
    }
    return [
        every(
            method="POST",
            summary="Draw many pictures",
            words="They go on without whoever asked. Without `wait` the answer comes at once.",
            answer=api.begin,
            headers=PREFER,
            query=ToldQuery,
            body=NewBatch,
            replies=begun,
            faults=(404,),
        ),
        every(
            method="GET",
            summary="The latest batches",
            answer=api.some,
            query=PageQuery,
            replies={200: Reply(words="A page of batches, without their items.", model=BatchesAnswer, headers=LINK)},
        ),
        every(
            method="POST",
            path="/api/v1/batches/estimates",
            summary="What a batch would come to",
            words="Draws nothing and costs nothing.",
            answer=api.estimate,
            body=NewBatch,
            replies={200: Reply(words="The estimate.", model=BatchEstimateAnswer)},
            faults=(404,),
        ),
        one(method="GET", summary="A batch, waited for", answer=api.one, headers=PREFER, query=ToldQuery, replies=standing),
        one(
            method="POST",
            path=f"{path}/cancel",
            summary="End a batch",
            words="Items that have ended already stay as they are.",
            answer=api.cancel,
            replies=standing,
        ),
        one(
            method="POST",
            path=f"{path}/retry",
            summary="Draw anew what brought no picture",
            answer=api.retry,
            headers=PREFER,
            query=ToldQuery,
            body=NewTry,
            replies=begun,
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def begin(self, call: Call[ToldQuery, NewBatch]) -> Response:
        seconds = wait_of(call)
        work = partial(self._studio.batches.begin, call.caller, _items(call.body), new=call.body.new, wait_seconds=seconds)
        return self._begun(call, await while_listening(call.request, work), seconds)

    async def estimate(self, call: Call[None, NewBatch]) -> Response:
        return JSONResponse(batch_estimate_facts(await self._studio.batches.estimate(call.caller, _items(call.body))))

    async def some(self, call: Call[PageQuery, None]) -> Response:
        found = await self._studio.batches.latest(call.caller, limit=call.query.enough, before=call.query.before)
        return page(call, "batches", found, listed_batch_facts)

    async def one(self, call: Call[ToldQuery, None]) -> Response:
        seconds = wait_of(call)
        work = partial(self._studio.batches.status, call.caller, call.named("batch_id"), wait_seconds=seconds)
        batch = await while_listening(call.request, work)
        return JSONResponse(self._batch(call.request, batch, call.query.items), headers=applied(call, seconds))

    async def cancel(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._batch(call.request, await self._studio.batches.cancel(call.caller, call.named("batch_id")), ITEMS))

    async def retry(self, call: Call[ToldQuery, NewTry]) -> Response:
        seconds, billed = wait_of(call), call.body.which == "maybe_billed"
        again = partial(self._studio.batches.retry, call.caller, call.named("batch_id"), failed=not billed, maybe_billed=billed)
        return self._begun(call, await while_listening(call.request, partial(again, wait_seconds=seconds)), seconds)

    def _begun(self, call: Call[ToldQuery, Any], batch: Batch, seconds: float) -> Response:
        headers = {"location": f"/api/v1/batches/{batch.id}", **applied(call, seconds)}
        return JSONResponse(self._batch(call.request, batch, call.query.items), 201 if batch.headway.ended else 202, headers)

    def _batch(self, request: Request, batch: Batch, most: int) -> dict[str, Any]:
        sheet = [batch.sheet] if batch.sheet is not None else []
        facts = seen_in(self._studio, request, sheet, batch_body(self._studio, batch, most=most))
        links = {image.id: link_of(self._studio, request, image) for image in batch.images}
        for item in facts["batch"]["items"]:
            item["images"] = [{"id": image["id"], "url": links[image["id"]]} for image in item["images"]]
        return facts


def _items(body: NewBatch) -> list[Item]:
    return expand(numbered([*body.prompts, *body.items]), models=body.models, n=body.n, economy=body.economy)
