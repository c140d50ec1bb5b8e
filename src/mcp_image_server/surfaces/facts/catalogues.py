"""What can be chosen, as JSON: services, models, styles and templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...models import Caller, Catalogue, Model, SizeList, SizeRange, Style
from ...studio import Studio
from .present import present

if TYPE_CHECKING:
    from ...library import Template
    from ...providers.contract import Finding
    from ...survey import Comparison


def catalogue_facts(catalogue: Catalogue) -> dict[str, Any]:
    """One provider and its models."""
    return {
        "provider": catalogue.provider,
        "title": catalogue.title,
        "default_model": catalogue.default_model,
        "models": [model_facts(model) for model in catalogue.models],
        "styles": {key: style.label for key, style in catalogue.styles.items()},
        "resolutions": dict(catalogue.resolutions),
    }


def model_facts(model: Model) -> dict[str, Any]:
    """One model and what it can do."""
    return present(
        provider=model.provider,
        model=model.id,
        title=model.title or None,
        operations=sorted(model.operations),
        sizes=size_words(model.sizes),
        max_n=model.max_count,
        seed=model.seed,
        negative_prompt=model.negative_prompt,
        qualities=list(model.qualities) or None,
        backgrounds=list(model.backgrounds) or None,
        formats=list(model.formats) or None,
        max_input_images=model.max_images or None,
        price=present(amount=model.price.amount, currency=model.price.currency, per=model.price.per, as_of=model.price.as_of.isoformat())
        if model.price
        else None,
        ends=model.ends.isoformat() if model.ends else None,
        note=model.note or None,
    )


def size_words(sizes: SizeList | SizeRange | None) -> str:
    """The sizes a model draws, for people and language models."""
    match sizes:
        case SizeList():
            return ", ".join(map(str, sizes.sizes))
        case SizeRange():
            grid = f", in steps of {sizes.multiple}" if sizes.multiple > 1 else ""
            area = f", {sizes.min_pixels / 1e6:.2f}-{sizes.max_pixels / 1e6:.2f} megapixels" if sizes.max_pixels < sizes.max_edge**2 else ""
            ratio = f", up to {sizes.max_ratio:g}:1" if sizes.max_ratio < 16 else ""
            return f"any, edges {sizes.min_edge}-{sizes.max_edge} pixels{grid}{area}{ratio}"
        case None:
            return "as the service decides"


def brief_sizes(sizes: SizeList | SizeRange | None) -> str:
    """The same in the width of a table's column."""
    match sizes:
        case SizeList():
            return f"{sizes.sizes[0]}" + (f" +{len(sizes.sizes) - 1}" if len(sizes.sizes) > 1 else "")
        case SizeRange():
            return f"any to {sizes.max_edge}"
        case None:
            return "its own"


async def models_facts(studio: Studio, caller: Caller, provider: str = "") -> dict[str, Any]:
    """The configured services with their models, and the styles and templates that the caller can use; or that provider alone.

    Raises:
        NotFoundError: it is not configured, or there is none of that name.
    """
    catalogues = [studio.catalogue(provider)] if provider else studio.catalogues()
    listed = [catalogue_facts(catalogue) for catalogue in catalogues]
    library = {} if provider else _library_facts(await studio.library.styles(caller), await studio.library.templates(caller))
    return {"default_provider": studio.default_provider, "providers": listed, **library}


def _library_facts(styles: Mapping[str, Style], templates: Mapping[str, Template]) -> dict[str, Any]:
    """Styles for every model by key, and templates with what they take."""
    takes = {key: "; ".join(variable.words for variable in template.variables) for key, template in templates.items()}
    return {
        "styles": {key: style.label for key, style in styles.items()},
        "templates": {key: {"title": template.title, "variables": takes[key]} for key, template in templates.items()},
    }


def style_facts(style: Style, *, paths: bool = True) -> dict[str, Any]:
    """One style, and what is written into prompts for it.

    Args:
        paths: it is told where on this machine its file lies.
    """
    file = str(style.source) if paths and style.source is not None and style.source.is_absolute() else None  # what the record keeps has none
    return present(key=style.key, label=style.label, phrase=style.phrase, phrase_zh=style.phrase_zh or None, file=file)


def template_facts(template: Template, *, paths: bool = True) -> dict[str, Any]:
    """One template, and what its variables take."""
    variables = {
        variable.name: present(
            type=variable.kind,
            description=variable.description or None,
            required=True if variable.default is None else None,
            default=variable.default,
            choices=list(variable.choices) or None,
            min=variable.least,
            max=variable.most,
        )
        for variable in template.variables
    }
    settings = ("provider", "model", "style", "resolution", "negative_prompt", "quality", "background", "output_format")
    return {
        "template": template.key,
        "title": template.title,
        "description": template.description,
        "prompt": template.prompt,
        "variables": variables,
        **{name: value for name in settings if (value := getattr(template, name))},
        **present(file=str(template.source) if paths and template.is_own and template.source.is_absolute() else None),
    }


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """The table of models of one provider, held against its service's list."""
    return present(
        provider=found.provider,
        ok=found.ok,
        gone=list(found.gone),
        new=list(found.new),
        ending=[{"model": model.id, "ends": model.ends.isoformat()} for model in found.ending if model.ends is not None],
        message=found.words or None,
    )


def finding_facts(found: Finding) -> dict[str, Any]:
    """What became of one fault that a provider was tried with."""
    return {
        "what": found.what,
        "ok": not found.broken,
        "error": found.code or None,
        "retryable": found.again,
        "may_have_been_billed": found.billed,
        "calls": found.calls,
        "message": found.message,
        "broken": list(found.broken),
    }
