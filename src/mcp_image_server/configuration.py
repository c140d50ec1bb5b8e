"""The environment, read: settings and the providers they switch on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

from . import providers as provider_list
from .errors import ConfigError
from .models import Catalogue, Limits, Model, Price, Style, find_model
from .policy.budget import Budgets
from .providers import Provider
from .settings import Environment, Settings, parse


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One value that a reload replaces as a whole."""

    environment: Environment
    settings: Settings
    providers: Mapping[str, Provider]

    @classmethod
    def read(cls, environment: Environment) -> Configuration:
        """What this environment says.

        Raises:
            ConfigError: something in it is wrong.
        """
        settings = parse(Settings, environment)
        providers = provider_list.load(environment)
        _check_names(settings)
        wanted = settings.default_provider
        if wanted is not None and wanted not in providers:
            if wanted not in provider_list.ORDER:
                raise ConfigError(f"MCP_DEFAULT_PROVIDER is {wanted!r}; there are: {', '.join(provider_list.ORDER)}.")
            raise ConfigError(f"MCP_DEFAULT_PROVIDER is {wanted!r}, which is not configured; set {' and '.join(switches_of(wanted))} as well.")
        return cls(environment=environment, settings=settings, providers=providers)

    @property
    def catalogues(self) -> tuple[Catalogue, ...]:
        """What the configured providers offer, most preferred first."""
        return tuple(provider.catalogue for provider in self.providers.values())

    @property
    def default_provider(self) -> str:
        """Who takes a request that names nobody."""
        return self.settings.default_provider or next(iter(self.providers))

    @property
    def budgets(self) -> Budgets:
        """What may be spent."""
        settings = self.settings
        return Budgets(
            currency=settings.budget_currency,
            rates=settings.currency_rates,
            day=settings.budget_day,
            month=settings.budget_month,
            principal_day=settings.budget_principal_day,
            principal_month=settings.budget_principal_month,
        )

    def styles(self) -> dict[str, Style]:
        """Every style anybody knows; the first provider that has a key defines it."""
        library: dict[str, Style] = {}
        for catalogue in (*self.catalogues, *provider_list.catalogues().values()):
            for key, style in catalogue.styles.items():
                library.setdefault(key, style)
        return library

    def model(self, provider: str, name: str) -> Model:
        """The facts about that model, as far as anything is known."""
        catalogue = next((catalogue for catalogue in self.catalogues if catalogue.provider == provider), provider_list.catalogues().get(provider))
        known = find_model(catalogue.models, name) if catalogue else None
        return known or replace((catalogue and catalogue.unknown) or Model(provider=provider, id=name), id=name)

    def price(self, provider: str, model: str) -> Price | None:
        """What the operator says that model costs; None where nothing was said."""
        own = self.settings.prices.get(f"{provider}/{model}") or self.settings.prices.get(provider)
        if own is None:
            return None
        return Price(amount=own.amount, currency=own.currency or self.settings.budget_currency, as_of=datetime.now(UTC).date(), per=own.per)

    def limits(self, provider: str) -> Limits:
        """What the account at that provider may have: as the operator says, else as is known."""
        known = self.providers[provider].limits if provider in self.providers else Limits()
        own = self.settings.limits.get(provider)
        if own is None:
            return known
        return Limits(
            concurrent=own.concurrent or known.concurrent,
            per_second=own.per_second or known.per_second,
            images_per_minute=own.images_per_minute or known.images_per_minute,
        )


def _check_names(settings: Settings) -> None:
    """A provider that is misspelt in a setting would be a setting that does nothing."""
    written: dict[str, tuple[Iterable[str], tuple[str, ...]]] = {
        "MCP_LIMITS": (settings.limits, ()),
        "MCP_PRICES": (settings.prices, ()),
        "MCP_FALLBACK": (chain(settings.fallback, *settings.fallback.values()), ("*", "any", "none")),
    }
    for variable, (names, others) in written.items():
        for name in names:
            if name.partition("/")[0] not in (*provider_list.ORDER, *others):
                raise ConfigError(f"{variable} names {name!r}; there are: {', '.join(provider_list.ORDER)}.")


def switches_of(provider: str) -> tuple[str, ...]:
    """What the operator sets to use that provider; empty where there is none of that name."""
    catalogue = provider_list.catalogues().get(provider)
    return catalogue.variables if catalogue is not None else ()
