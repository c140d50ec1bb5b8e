"""The environment, read: settings and the providers they switch on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from . import providers as provider_list
from .errors import ConfigError
from .models import Catalogue, Limits, Model, Price, Style, find_model
from .policy.budget import Budgets
from .providers import Provider
from .redaction import remember
from .settings import Environment, Settings, parse, read_dotenv, read_process

if TYPE_CHECKING:
    from .model_file import ModelFile

log = logging.getLogger(__name__)

CONFIG_FILE = "mcp-image-server.toml"
"""Name of the file with settings that is looked for in the working directory, beside `.env`."""

NOTHING: Environment = MappingProxyType({})


def read_environment(
    dotenv: Path, *, dotenv_wins: bool = False, process: Mapping[str, str] | None = None, options: Environment = NOTHING
) -> Environment:
    """What all places together set. Empty values count as unset.

    Args:
        dotenv: the `.env` file; the TOML file is looked for beside it, unless MCP_CONFIG_FILE names another.
        dotenv_wins: the `.env` file decides before the process environment does.
        options: what the command line said.

    Raises:
        ConfigError: a file is there but cannot be read or understood.
    """
    places = read_places(dotenv, dotenv_wins=dotenv_wins, process=process, options=options)
    merged = {name: value for place in reversed(places.values()) for name, value in place.items()}
    return {name: value for name, value in merged.items() if value.strip()}


def read_places(
    dotenv: Path, *, dotenv_wins: bool = False, process: Mapping[str, str] | None = None, options: Environment = NOTHING
) -> dict[str, Environment]:
    """What each place sets: `option`, `process`, `.env` and `file`, the one that decides first.

    Raises:
        ConfigError: a file is there but cannot be read or understood.
    """
    places = {"option": options, "process": read_process(process), ".env": read_dotenv(dotenv)}
    if dotenv_wins:
        places = {"option": options, ".env": places[".env"], "process": places["process"]}
    path = config_path(dotenv, places.values())
    if path is None:
        return {**places, "file": NOTHING}
    from .config_file import read_file

    return {**places, "file": read_file(path)}


def config_path(dotenv: Path, places: Iterable[Environment]) -> Path | None:
    """The TOML file that these places lead to; None where none is named and none lies beside `.env`."""
    named = next((place["MCP_CONFIG_FILE"] for place in places if "MCP_CONFIG_FILE" in place), "").strip()
    if named:
        return dotenv.parent / Path(named).expanduser()
    path = dotenv.parent / CONFIG_FILE
    return path if path.is_file() else None


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One value that a reload replaces as a whole."""

    environment: Environment
    settings: Settings
    providers: Mapping[str, Provider]
    broken: Mapping[str, str] = field(default_factory=dict)
    """Providers of other packages that could not be loaded, and why."""
    model_file: ModelFile | None = None
    """What the operator knows better about models."""

    @classmethod
    def read(cls, environment: Environment) -> Configuration:
        """What this environment says.

        Raises:
            ConfigError: something in it is wrong.
        """
        remember(environment)  # from now on the log shows none of its secrets, those of a reload as well
        settings = parse(Settings, environment)
        broken: dict[str, str] = {}
        providers = provider_list.load(environment, broken)
        for name, words in broken.items():
            log.error("The provider %s is left out. %s", name, words)
        _check_names(settings)
        wanted = settings.default_provider
        if wanted is not None and wanted not in providers:
            if wanted not in provider_list.names():
                raise ConfigError(f"MCP_DEFAULT_PROVIDER is {wanted!r}; there are: {', '.join(provider_list.names())}.")
            cannot = next((f"{name}: {words}" for name, words in broken.items() if name.partition(" ")[0] == wanted), None)
            advice = cannot or f"set {' and '.join(switches_of(wanted))} as well."
            raise ConfigError(f"MCP_DEFAULT_PROVIDER is {wanted!r}, which is not configured; {advice}")
        configuration = cls(
            environment=environment, settings=settings, providers=providers, broken=broken, model_file=_read_models(settings.models_file)
        )
        for name in configuration.model_file.providers if configuration.model_file is not None else ():
            configuration.catalogue(name)  # so that what is wrong with it is said now
        return configuration

    @property
    def known_providers(self) -> tuple[str, ...]:
        """Every provider's name, configured or not."""
        return tuple(dict.fromkeys((*provider_list.names(), *self.providers)))

    @property
    def catalogues(self) -> tuple[Catalogue, ...]:
        """What the configured providers offer, most preferred first."""
        return tuple(self._corrected(provider.catalogue) for provider in self.providers.values())

    @property
    def all_catalogues(self) -> tuple[Catalogue, ...]:
        """What every provider offers, with the configured ones as they are configured."""
        found = (self.catalogue(name) for name in self.known_providers)
        return tuple(catalogue for catalogue in found if catalogue is not None)

    def catalogue(self, provider: str) -> Catalogue | None:
        """What that provider offers, as it is configured or as it would be; None where there is none of that name."""
        if provider in self.providers:
            return self._corrected(self.providers[provider].catalogue)
        source = provider_list.source(provider)
        return self._corrected(source.CATALOGUE) if source is not None else None

    def _corrected(self, catalogue: Catalogue) -> Catalogue:
        return catalogue if self.model_file is None else self.model_file.applied(catalogue)

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

    def styles(self, catalogue: Catalogue | None = None) -> dict[str, Style]:
        """Every style that the program knows: in the words of this catalogue, where it has some of its own; else of the library, else of the first that has."""
        from .library.styles import STYLES

        own = {key: style for key, style in catalogue.styles.items() if style.phrase} if catalogue is not None else {}
        known: dict[str, Style] = {}
        for styles in (own, STYLES, *(each.styles for each in (*self.catalogues, *provider_list.catalogues().values()))):
            for key, style in styles.items():
                known.setdefault(key, style)
        return known

    def model(self, provider: str, name: str) -> Model:
        """The facts about that model, as far as anything is known."""
        catalogue = self.catalogue(provider)
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
            if name.partition("/")[0] not in (*provider_list.names(), *others):
                raise ConfigError(f"{variable} names {name!r}; there are: {', '.join(provider_list.names())}.")


def _read_models(path: Path | None) -> ModelFile | None:
    if path is None:
        return None
    from .model_file import ModelFile

    return ModelFile.read(path.expanduser().absolute(), provider_list.names())


def switches_of(provider: str) -> tuple[str, ...]:
    """What the operator sets to use that provider; empty where there is none of that name."""
    source = provider_list.source(provider)
    return source.CATALOGUE.variables if source is not None else ()
