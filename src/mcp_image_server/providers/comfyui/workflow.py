"""Workflows in ComfyUI's API format (Workflow → Export (API)), in which placeholders stand for what a request says.

A text value that is nothing but a placeholder becomes the value itself, a number where it is one; inside a longer text it is written out. The placeholders:
`{prompt}`, `{negative_prompt}`, `{model}` (a checkpoint's file name), `{width}`, `{height}`, `{count}`, `{seed}`, `{strength}` (how much noise, 0 to 1),
`{image}`, `{image_2}`, `{image_3}` … (input pictures, for LoadImage) and `{mask}` (for LoadImageMask, channel alpha: transparent where it is painted anew).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError

Graph = Mapping[str, Any]
"""Node id to `{"class_type": …, "inputs": {…}}`."""

IMAGES = ("image", *(f"image_{number}" for number in range(2, 10)))
"""The placeholders of input pictures, in order."""

_PLACEHOLDER = re.compile(r"\{(prompt|negative_prompt|model|width|height|count|seed|strength|image(?:_[2-9])?|mask)\}")


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One workflow, and what a request can tell it."""

    name: str
    """For messages: a file's path, or what it does."""
    graph: Graph

    @property
    def placeholders(self) -> frozenset[str]:
        return frozenset(name for text in _texts(self.graph) for name in _PLACEHOLDER.findall(text))

    @property
    def pictures(self) -> int:
        """How many input pictures it takes."""
        return len(self.placeholders.intersection(IMAGES))

    @property
    def inputs(self) -> frozenset[str]:
        """The names under which a node's own input can be set: `steps` for every node that has one, `sampler.steps` for that of one node."""
        return frozenset(name for node, facts in self.graph.items() for own in facts["inputs"] for name in (own, f"{node}.{own}"))

    def filled(self, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The graph to be run.

        Args:
            values: what stands for each placeholder.
            inputs: values for nodes' own inputs, which win over everything; names as in `inputs`.
        """
        graph: dict[str, Any] = _filled(self.graph, values)
        for node, facts in graph.items():
            for own in facts["inputs"]:
                for name in (own, f"{node}.{own}"):
                    if name in inputs:
                        facts["inputs"][own] = inputs[name]
        return graph


def built_in(name: str) -> Workflow:
    """The workflow of that name beside this file."""
    return Workflow(name=f"the built-in workflow for {name}", graph=json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")))


def read_workflow(path: Path, variable: str, needs: tuple[str, ...]) -> Workflow:
    """The operator's own workflow.

    Raises:
        ConfigError: it cannot be read, is no workflow in API format, or lacks a placeholder without which it could not do its work.
    """
    try:
        graph = json.loads(path.expanduser().read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{variable}: {path} cannot be read as JSON ({error}). Write the path of a workflow that ComfyUI exported.") from error
    if isinstance(graph, dict) and isinstance(graph.get("prompt"), dict):
        graph = graph["prompt"]  # as it is sent, with its surroundings
    if not isinstance(graph, dict) or not graph or not all(_is_node(node) for node in graph.values()):
        raise ConfigError(f"{variable}: {path} is no workflow in API format. In ComfyUI choose Workflow, then Export (API), and name that file.")
    workflow = Workflow(name=str(path), graph=graph)
    strange = [f"{{{name}}}" for name in ("image", "mask") if name in workflow.placeholders and name not in needs]
    if strange:
        raise ConfigError(
            f"{variable}: {path} has {' and '.join(strange)}, but nothing is given there. Name that file in the variable for what it does."
        )
    missing = [f"{{{name}}}" for name in needs if name not in workflow.placeholders]
    if missing:
        words = f"{variable}: {path} has no {' and no '.join(missing)}. Write it into the node's input in the place of the value that is to change."
        raise ConfigError(words)
    return workflow


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), value)
