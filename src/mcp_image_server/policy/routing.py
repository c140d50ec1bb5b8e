"""Which model of which provider takes a request. Pure: it sees catalogues, never a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from ..errors import ConfigError, NotFoundError, RequestError
from ..models import Adjustment, Catalogue, ImageRequest, Model, Shape, find_model, parse_shape

Switches = Callable[[str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """Who takes the request."""

    catalogue: Catalogue
    model: Model
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Address:
    """What a caller wrote to say who should draw, how and how large, taken apart."""

    provider: str | None
    model: str | None
    style: str | None
    shape: Shape | None


def read_address(*, provider: str, model: str, style: str, resolution: str, known: Sequence[str]) -> Address:
    """Who, which style and which size, from arguments that may carry `provider:style`, `provider:resolution` or `provider/model`.

    Only names of known providers are prefixes, so `768:768` and `Qwen/Qwen-Image` stay whole. An explicit provider wins over a prefix.

    Raises:
        RequestError: the resolution cannot be read (`invalid_resolution`).
    """
    by_style, style = _split(style.strip(), ":", known)
    by_resolution, resolution = _split(resolution.strip(), ":", known)
    by_model, model = _split(model.strip(), "/", known)
    try:
        shape = parse_shape(resolution)
    except ValueError as error:
        raise RequestError(f"{error}.", code="invalid_resolution", details={"resolution": resolution}) from error
    return Address(
        provider=provider.strip().lower() or by_model or by_style or by_resolution or None,
        model=model or None,
        style=style or None,
        shape=shape,
    )


def _split(text: str, mark: str, known: Sequence[str]) -> tuple[str | None, str]:
    prefix, found, rest = text.partition(mark)
    if found and prefix.lower() in known:
        return prefix.lower(), rest
    return None, text


def route(request: ImageRequest, configured: Sequence[Catalogue], *, default: str | None = None, switches: Switches = lambda provider: ()) -> Route:
    """The provider and model for this request: what it names, else the default provider, else the first that is configured.

    Args:
        configured: in order of preference.
        switches: the variables that switch a provider on, for advice about one that is off.

    Raises:
        NotFoundError: the provider (`provider_unavailable`) or model (`model_not_found`) is not there.
        ConfigError: nothing is configured (`provider_missing`).
    """
    if not configured:
        raise ConfigError("No image provider is configured.", code="provider_missing", details={"available_providers": []})
    names = [catalogue.provider for catalogue in configured]
    if request.provider is not None:
        catalogue = named(request.provider, configured, switches)
    elif request.model is not None and (owner := next((c for c in configured if find_model(c.models, request.model)), None)):
        catalogue = owner
    else:
        catalogue = configured[names.index(default)] if default in names else configured[0]
    return _with_model(catalogue, request.model)


ENDING_SOON = timedelta(days=60)


def ending_words(model: Model, today: date) -> str | None:
    """What to tell about a model that its service switches off within 60 days, or has; None for any other."""
    if model.ends is None or model.ends - today > ENDING_SOON:
        return None
    when = f"is switched off on {model.ends.isoformat()}" if model.ends > today else f"was switched off on {model.ends.isoformat()}"
    return f"{model.provider}/{model.id} {when}; choose another model before long."


def named(name: str, configured: Sequence[Catalogue], switches: Switches) -> Catalogue:
    """The configured provider of that name.

    Raises:
        NotFoundError: there is none (`provider_unavailable`).
    """
    for catalogue in configured:
        if catalogue.provider == name:
            return catalogue
    names = [catalogue.provider for catalogue in configured]
    wanted = switches(name)
    advice = f" To use {name}, the operator sets {' and '.join(wanted)}." if wanted else ""
    raise NotFoundError(
        f"Provider '{name}' not available. Available providers: {names}.{advice}",
        code="provider_unavailable",
        details={"provider": name, "available_providers": names},
    )


def _with_model(catalogue: Catalogue, name: str | None) -> Route:
    model = find_model(catalogue.models, name or catalogue.default_model)
    if model is not None:
        if name is None or model.id == name:
            return Route(catalogue=catalogue, model=model)
        words = f"{name} stands for {model.id} today."
        return Route(catalogue=catalogue, model=model, adjustments=(Adjustment(field="model", message=words),))
    if name is None or catalogue.unknown is not None:
        chosen = name or catalogue.default_model
        words = f"Nothing is known about {catalogue.provider}/{chosen}; it is asked for as written, with the service's defaults."
        adjustments = (Adjustment(field="model", message=words),)
        return Route(
            catalogue=catalogue, model=replace(catalogue.unknown or Model(provider=catalogue.provider, id=chosen), id=chosen), adjustments=adjustments
        )
    known = [model.id for model in catalogue.models]
    raise NotFoundError(
        f"{catalogue.provider} has no model {name!r}. Its models: {', '.join(known)}.",
        code="model_not_found",
        details={"provider": catalogue.provider, "model": name, "available_models": known},
    )
