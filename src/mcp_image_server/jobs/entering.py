"""How an offer becomes a job that can be entered into the record."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..models import Cost, Job, JobState, Model, Offer

if TYPE_CHECKING:
    from ..history import Entry, Order

ModelOf = Callable[[str, str], Model]
"""The facts about that provider's model."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One item of a batch, ready to be entered."""

    position: int
    offer: Offer
    alternates: tuple[Offer, ...] = ()
    promised: Cost | None = None
    tries: int = 0
    """Jobs that there were for it before."""


def new_job(
    principal: str, offers: Sequence[Offer], model_of: ModelOf, *, owner: str, store_url: str, now: datetime, deadline: datetime | None
) -> Job:
    """A job in line for the first of the offers; the others may draw instead while nobody has accepted the work.

    Args:
        owner: the server process that will begin it.
    """
    seed = secrets.randbelow(2**31)
    chosen, *others = (_with_seed(each, seed, model_of) for each in offers)
    return Job(
        id=secrets.token_hex(8),
        principal=principal,
        state=JobState.QUEUED,
        request=chosen.request,
        provider=chosen.provider,
        model=chosen.model,
        account=chosen.account,
        store_url=store_url,
        alternates=tuple(others),
        estimate=chosen.estimate,
        adjustments=chosen.adjustments,
        message="waiting in line",
        owner=owner,
        created_at=now,
        deadline=deadline,
    )


def entry_of(order: Order, part: Part, model_of: ModelOf, *, owner: str, store_url: str, now: datetime, lease_until: datetime) -> Entry:
    """The job of a batch's item, ready to be entered. It has no deadline in line, and is the same one for as many tries as there were before."""
    from ..history import Entry

    job = new_job(order.principal, (part.offer, *part.alternates), model_of, owner=owner, store_url=store_url, now=now, deadline=None)
    return Entry(
        job=replace(job, batch_id=order.id, position=part.position),
        lease_until=lease_until,
        fingerprint=fingerprint(part.offer),
        idempotency_key=f"{order.id}/{part.position}/{part.tries}",
        promised=part.promised,
    )


def _with_seed(offer: Offer, seed: int, model_of: ModelOf) -> Offer:
    """The offer with a seed, where naming one changes nothing else: what is drawn can be drawn again."""
    model = model_of(offer.provider, offer.model)
    if offer.request.seed is not None or not model.seed or not model.seed_is_free:
        return offer
    return replace(offer, request=replace(offer.request, seed=seed))


def fingerprint(offer: Offer) -> str:
    """The same for two offers that ask the same of the same model."""
    from ..history import request_to_json

    value = [offer.provider, offer.model, request_to_json(offer.request)]
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
