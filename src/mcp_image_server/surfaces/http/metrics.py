"""Numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ... import __version__, telemetry
from ...errors import StorageError
from ...models import JobState
from ...policy.breaker import is_open
from ...studio import Studio
from .callers import caller_of

if TYPE_CHECKING:
    from ...condition import Burden

OTHER = "other"
"""In place of a model that nobody here has heard of: callers may name any, and each name would be a series for good."""


class Metrics:
    """What is counted in this process, and the work under way in all processes that share the database: the latter is the same in each of them."""

    def __init__(self, studio: Studio) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which no query needs
        self._studio = studio
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {
            each.name: Counter(each.name, each.words, each.labels, registry=self._registry)
            for each in telemetry.MEASURES
            if isinstance(each, telemetry.Counter)
        }
        self._histograms = {
            each.name: Histogram(each.name, each.words, each.labels, buckets=each.buckets, registry=self._registry)
            for each in telemetry.MEASURES
            if isinstance(each, telemetry.Histogram)
        }

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"mcp_image_{name}", words, labels, registry=self._registry)

        gauge("build_info", "Always 1; the label tells the version.", "version").labels(version=__version__).set(1)
        self._database = gauge(
            "database_up", "1 when the database could be read for these numbers, else 0; then those of the whole database are missing."
        )
        self._jobs = gauge("jobs", "Unfinished jobs in the whole database: queued or running.", "provider", "state")
        self._oldest = gauge("jobs_oldest_seconds", "Time since the oldest of them was asked for; 0 where there is none.", "provider", "state")
        self._breakers = gauge("breaker_open", "1 while nothing is sent to a model that failed several times in a row, else 0.", "provider", "model")

    @property
    def routes(self) -> list[BaseRoute]:
        """`/metrics`, for those who may look at everything or only look."""
        return [Route("/metrics", self._answer, methods=["GET"])]

    def added(self, counter: telemetry.Counter, amount: float, labels: Mapping[str, str]) -> None:
        """Counted."""
        self._counters[counter.name].labels(**self._bounded(labels)).inc(amount)

    def observed(self, histogram: telemetry.Histogram, seconds: float, labels: Mapping[str, str]) -> None:
        """Timed."""
        self._histograms[histogram.name].labels(**self._bounded(labels)).observe(seconds)

    async def _answer(self, request: Request) -> Response:
        caller = caller_of(request)
        if not (caller.is_admin or caller.only_looks):
            return JSONResponse({"error": "Needed is a token with the role viewer or admin."}, status_code=403)
        try:
            burden = await self._studio.upkeep.burden()
        except StorageError:
            burden = None
        self._show(burden)
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": media_type, "cache-control": "no-store"})

    def _show(self, burden: Burden | None) -> None:
        for gauge in (self._jobs, self._oldest, self._breakers):
            gauge.clear()
        self._database.set(burden is not None)
        if burden is None:
            return
        for catalogue in self._studio.catalogues():
            self._breakers.labels(**self._bounded({"provider": catalogue.provider, "model": catalogue.default_model})).set(0)
            for state in (JobState.QUEUED, JobState.RUNNING):
                for gauge in (self._jobs, self._oldest):
                    gauge.labels(provider=catalogue.provider, state=state.value).set(0)
        for load in burden.loads:
            self._jobs.labels(provider=load.provider, state=load.state.value).set(load.jobs)
            self._oldest.labels(provider=load.provider, state=load.state.value).set(max(0.0, (burden.at - load.oldest).total_seconds()))
        for breaker in burden.breakers:
            if is_open(breaker, burden.at):
                self._breakers.labels(**self._bounded({"provider": breaker.provider, "model": breaker.model})).set(1)

    def _bounded(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        model = labels.get("model")
        if model is None:
            return labels
        catalogue = next((each for each in self._studio.catalogues() if each.provider == labels["provider"]), None)
        known = catalogue is not None and (model == catalogue.default_model or any(each.id == model for each in catalogue.models))
        return labels if known else {**labels, "model": OTHER}
