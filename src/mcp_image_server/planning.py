"""Who takes a request, what is changed so that it fits, what it will cost, and who may draw instead. Calls nobody and writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .configuration import Configuration, switches_of
from .errors import ImageServerError, NotFoundError, RequestError, UnavailableError
from .models import ECONOMY, Adjustment, Breaker, Catalogue, Cost, ImageRequest, Model, Offer, Style
from .negotiate import negotiate
from .policy import breaker as breakers
from .policy.budget import Budgets, dearest, estimate
from .policy.ranking import Candidate, Ranked, rank
from .policy.routing import ending_words, route

NOBODY = "none"
"""What a caller writes who wants no other provider to draw instead."""

ANYBODY = "any"
"""Every configured service may; never the embedded engine, which is no AI model."""


@dataclass(frozen=True, kw_only=True)
class Today:
    """What is known just now about models: those that failed lately, and how many seconds their jobs took."""

    breakers: Collection[Breaker] = ()
    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def breaker(self, provider: str, model: str, now: datetime) -> Breaker | None:
        """The breaker of that model, where nothing is sent to it now."""
        found = (each for each in self.breakers if (each.provider, each.model) == (provider, model))
        return next((each for each in found if breakers.is_open(each, now)), None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request, who will take it, what was changed so that it fits, and what it will cost."""

    request: ImageRequest
    catalogue: Catalogue
    model: Model
    adjustments: tuple[Adjustment, ...] = ()
    estimate: Cost | None = None
    """None: nobody knows."""
    alternates: tuple[Plan, ...] = ()
    """Who may draw instead, while nobody has accepted the work."""
    ranking: tuple[Ranked, ...] = ()
    """Everybody who could, best first, where the best was looked for."""

    def offer(self, account: str) -> Offer:
        """The plan as the work on it needs it."""
        return Offer(
            request=self.request,
            provider=self.catalogue.provider,
            model=self.model.id,
            account=f"{account}{ECONOMY}" if self.request.economy else account,
            adjustments=self.adjustments,
            estimate=self.estimate,
        )

    def highest(self, budgets: Budgets) -> Cost | None:
        """The most it may come to, whoever draws in the end; None when that is not known."""
        return dearest((self.estimate, *(plan.estimate for plan in self.alternates)), budgets)

    @property
    def name(self) -> str:
        """Provider and model."""
        return f"{self.catalogue.provider}/{self.model.id}"


class Planner:
    """Plans requests for one configuration.

    Args:
        own_styles: those that people here wrote.
    """

    def __init__(self, configuration: Configuration, own_styles: Mapping[str, Style] | None = None) -> None:
        self._configuration = configuration
        self._own_styles = own_styles or {}

    def plan(self, request: ImageRequest, today: Today, *, fallback: Sequence[str] = ()) -> Plan:
        """Who takes the request, with those who may draw instead.

        Args:
            fallback: whom the caller allows: providers, provider/model, `any` or `none`; empty: whom the operator allows.

        Raises:
            RequestError: the request cannot be done; the message says what could.
            UnavailableError: the model is failing, and nobody may draw instead.
        """
        now = datetime.now(UTC)
        ranking = self.ranking(request, today) if self._is_free(request) else ()
        chosen = self._best(request, ranking) if ranking else self._fit(request)
        others = self._others(request, chosen, fallback)
        shut = {plan.name: breaker for plan in (chosen, *others) if (breaker := today.breaker(plan.catalogue.provider, plan.model.id, now))}
        open_ones = [plan for plan in (chosen, *others) if plan.name not in shut]
        if not open_ones:
            raise _left_alone(shut[chosen.name], now)
        first, *rest = open_ones
        if first is not chosen:
            words = Adjustment(field="provider", message=f"{breakers.words(shut[chosen.name], now)}; {first.name} draws instead, as allowed.")
            first = replace(first, adjustments=(words, *first.adjustments))
        return replace(first, alternates=tuple(rest))

    def _is_free(self, request: ImageRequest) -> bool:
        """Nobody was named, and the best is to be looked for."""
        return self._configuration.settings.routing == "auto" and request.provider is None and request.model is None

    def _best(self, request: ImageRequest, ranking: Sequence[Ranked]) -> Plan:
        """The best that takes the request, with what speaks for it and why the better ones do not take it. The engine never takes a service's place.

        Raises:
            RequestError: nobody takes it; what the best of all says.
        """
        refusals: list[RequestError] = []
        best, *others = ranking
        for ranked in (best, *(each for each in others if each.candidate.catalogue.variables)):
            candidate = ranked.candidate
            try:
                plan = self._fit(replace(request, provider=candidate.catalogue.provider, model=candidate.model.id))
            except RequestError as error:
                refusals.append(error)
                continue
            words = [f"{plan.name} was chosen: {ranked.reason}.", *(f"A better one would not take it: {error.message}" for error in refusals)]
            return replace(plan, adjustments=(Adjustment(field="provider", message=" ".join(words)), *plan.adjustments), ranking=tuple(ranking))
        raise refusals[0]

    def _fit(self, request: ImageRequest) -> Plan:
        configuration = self._configuration
        chosen = route(request, configuration.catalogues, default=configuration.default_provider, switches=switches_of)
        others = [model for catalogue in configuration.catalogues for model in catalogue.models]
        fitted = negotiate(request, chosen.model, styles=self._styles(chosen.catalogue) if request.style else {}, others=others)
        words = ending_words(chosen.model, datetime.now(UTC).date())
        warning = (Adjustment(field="model", message=words),) if words else ()
        return Plan(
            request=fitted.request,
            catalogue=chosen.catalogue,
            model=chosen.model,
            adjustments=chosen.adjustments + warning + fitted.adjustments,
            estimate=self._estimate(fitted.request, chosen.catalogue, chosen.model),
        )

    def _styles(self, catalogue: Catalogue) -> Mapping[str, Style]:
        return {**self._configuration.styles(catalogue), **self._own_styles}

    def _estimate(self, request: ImageRequest, catalogue: Catalogue, model: Model) -> Cost | None:
        cost = estimate(request, model, self._configuration.price(model.provider, model.id))
        if cost is None and not catalogue.variables:
            return Cost(micros=0, currency=self._configuration.settings.budget_currency, source="list_price")  # it is our own machine that draws
        return cost

    def _others(self, request: ImageRequest, chosen: Plan, fallback: Sequence[str]) -> list[Plan]:
        """Those who can take the request besides, in the order allowed.

        Raises:
            NotFoundError: the caller names a provider or a model that is not there.
        """
        plans: list[Plan] = []
        for name in self._allowed(chosen.catalogue.provider, fallback):
            provider, _, model = name.partition("/")
            try:
                plan = self._fit(replace(request, provider=provider, model=model or None))
            except NotFoundError:
                if fallback:
                    raise
                continue  # the operator's list names services for days on which they are configured
            except ImageServerError:
                continue  # it could not do it
            if plan.name not in (chosen.name, *(other.name for other in plans)):
                plans.append(plan)
        return plans

    def _allowed(self, provider: str, fallback: Sequence[str]) -> list[str]:
        """Who may draw in the provider's place, as the caller says, else as the operator does: providers, or provider/model."""
        operators = self._configuration.settings.fallback
        allowed: list[str] = []
        for name in (each.strip() for each in fallback or operators.get(provider, operators.get("*", ()))):
            if name.lower() == NOBODY:
                return []
            if name.lower() == ANYBODY:
                allowed += [catalogue.provider for catalogue in self._configuration.catalogues if catalogue.variables]
            else:
                wanted, slash, model = name.partition("/")
                allowed.append(f"{wanted.lower()}{slash}{model}")
        return allowed

    def ranking(self, request: ImageRequest, today: Today) -> list[Ranked]:
        """Every configured model that can do what is asked, best first."""
        now = datetime.now(UTC)
        configuration, budgets = self._configuration, self._configuration.budgets
        candidates = []
        for catalogue in configuration.catalogues:
            for model in catalogue.models:
                cost = self._estimate(request, catalogue, model)
                candidates.append(
                    Candidate(
                        catalogue=catalogue,
                        model=model,
                        price=budgets.worth(cost) if cost is not None else None,
                        seconds=today.seconds.get((catalogue.provider, model.id)),
                        failing=today.breaker(catalogue.provider, model.id, now) is not None,
                        preferred=catalogue.provider == configuration.settings.default_provider,
                    )
                )
        return rank(request, candidates, today=now.date())


def _left_alone(breaker: Breaker, now: datetime) -> UnavailableError:
    wait = max(0.0, (breaker.open_until - now).total_seconds()) if breaker.open_until is not None else 0.0
    return UnavailableError(
        f"{breakers.words(breaker, now)}. Ask again then, or use another provider; with fallback='any' another one may draw instead.",
        provider=breaker.provider,
        retry_after=round(wait, 1),
        not_accepted=True,
    )
