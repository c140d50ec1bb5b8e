"""JSON changed where it stands: comments, order, spacing and trailing commas of the rest stay as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BETWEEN = re.compile(r"(?:[\s\ufeff]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(?://[^\r\n]*)?")
_DECODER = json.JSONDecoder()


@dataclass(kw_only=True)
class _Piece:
    """A value and where it stands in the text."""

    start: int
    end: int
    value: Any
    members: dict[str, _Member] | None = None
    """Of an object."""


@dataclass(kw_only=True)
class _Member:
    start: int
    piece: _Piece
    comma: int | None = None
    """Where the comma behind it stands."""


def read(text: str) -> Any:
    """The value that the text holds; None where it holds nothing.

    Raises:
        ValueError: it is no JSON, comments and trailing commas aside; the message names the line.
    """
    found = _read(text)
    return None if found is None else found.value


def put(text: str, path: Sequence[str], value: Any) -> str:
    """The text with that value under that path, through objects that are made where they are missing.

    Raises:
        ValueError: it is no JSON, or something on the path is no object.
    """
    found = _read(text)
    if found is None:
        return json.dumps(_nested(path, value), indent=2, ensure_ascii=False) + "\n"
    wanted = _with(found.value, path, value)
    place, depth = found, 0
    while place.members is not None and depth < len(path) and path[depth] in place.members:
        place, depth = place.members[path[depth]].piece, depth + 1
    ends = "\r\n" if "\r\n" in text else "\n"
    unit = _unit(text, found)
    if depth == len(path):
        written = _written(value, unit, _indent(text, place.start), ends)
        changed = text[: place.start] + written + text[place.end :]
    else:
        outer = _indent(text, place.start)
        inner = outer + unit
        member = f"{json.dumps(path[depth], ensure_ascii=False)}: {_written(_nested(path[depth + 1 :], value), unit, inner, ends)}"
        changed = _added(text, place, member, inner, outer, ends)
    return _sure(changed, wanted)


def drop(text: str, path: Sequence[str]) -> str:
    """The text without what stands under that path; as it is, where nothing does.

    Raises:
        ValueError: it is no JSON.
    """
    found = _read(text)
    place, before = found, None
    for name in path:
        if place is None or place.members is None or name not in place.members:
            return text
        members = list(place.members)
        at = members.index(name)
        before = place.members[members[at - 1]] if at else None
        member = place.members[name]
        place = member.piece
    cuts = [_whole_line(text, member.start, member.piece.end if member.comma is None else member.comma + 1)]
    if member.comma is None and before is not None and before.comma is not None:
        cuts.append((before.comma, before.comma + 1))
    changed = text
    for start, end in sorted(cuts, reverse=True):
        changed = changed[:start] + changed[end:]
    assert found is not None
    return _sure(changed, _without(found.value, path))


def _read(text: str) -> _Piece | None:
    start = _skip(text, 0)
    if start == len(text):
        return None
    found = _value(text, start)
    if _skip(text, found.end) != len(text):
        raise _wrong(text, found.end, "there is more behind the end")
    return found


def _value(text: str, at: int) -> _Piece:
    match text[at : at + 1]:
        case "{":
            return _object(text, at)
        case "[":
            return _array(text, at)
        case _:
            try:
                value, end = _DECODER.raw_decode(text, at)
            except json.JSONDecodeError as error:
                raise _wrong(text, error.pos, error.msg) from error
            return _Piece(start=at, end=end, value=value)


def _object(text: str, start: int) -> _Piece:
    members: dict[str, _Member] = {}
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        key = _value(text, at)
        colon = _skip(text, key.end)
        if not isinstance(key.value, str) or text[colon : colon + 1] != ":":
            raise _wrong(text, at, 'write "name": value')
        piece = _value(text, _skip(text, colon + 1))
        members.pop(key.value, None)
        members[key.value] = member = _Member(start=at, piece=piece)
        at = _skip(text, piece.end)
        if text[at : at + 1] == ",":
            member.comma = at
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "}":
            raise _wrong(text, at, "a comma or } is missing")
    return _Piece(start=start, end=at + 1, value={name: member.piece.value for name, member in members.items()}, members=members)


def _array(text: str, start: int) -> _Piece:
    values: list[Any] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        piece = _value(text, at)
        values.append(piece.value)
        at = _skip(text, piece.end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _wrong(text, at, "a comma or ] is missing")
    return _Piece(start=start, end=at + 1, value=values)


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _wrong(text: str, at: int, words: str) -> ValueError:
    return ValueError(f"line {text.count(chr(10), 0, at) + 1}: {words}")


def _added(text: str, place: _Piece, member: str, inner: str, outer: str, ends: str) -> str:
    """The text with one more member at the end of that object."""
    if not place.members:
        inside = text[place.start + 1 : place.end - 1]
        kept = inside.rstrip() if inside.strip() else ""
        return f"{text[: place.start]}{{{kept}{ends}{inner}{member}{ends}{outer}}}{text[place.end :]}"
    last = max(place.members.values(), key=lambda each: each.start)
    end = last.piece.end
    line = _REST_OF_LINE.match(text, end)
    behind = max(line.end() if line else end, (last.comma or 0) + 1 if last.comma is not None else end)
    comma = "" if last.comma is not None else ","
    return f"{text[:end]}{comma}{text[end:behind]}{ends}{inner}{member}{',' if last.comma is not None else ''}{_closed(text, behind, outer, ends)}"


def _closed(text: str, at: int, outer: str, ends: str) -> str:
    """What follows, with a closing brace on a line of its own."""
    rest = text[at:]
    return f"{ends}{outer}{rest.lstrip(' ')}" if rest.lstrip(" ").startswith("}") else rest


def _written(value: Any, unit: str, indent: str, ends: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", ends + indent)


def _indent(text: str, at: int) -> str:
    """The white space that begins the line."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))].lstrip("\ufeff")


def _unit(text: str, root: _Piece) -> str:
    """What one level is indented by."""
    first = next(iter((root.members or {}).values()), None)
    return (_indent(text, first.start) if first is not None else "") or "  "


def _whole_line(text: str, start: int, end: int) -> tuple[int, int]:
    """That stretch, with the rest of its lines where nothing else stands on them."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    if line_end >= 0 and not text[line_start:start].strip() and not text[end:line_end].strip():
        return line_start, line_end + 1
    return start, end


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _with(whole: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    if not isinstance(whole, Mapping):
        raise ValueError(f"what holds {path[0]!r} has to be an object")
    return {**whole, path[0]: _with(whole.get(path[0], {}), path[1:], value)}


def _without(whole: Any, path: Sequence[str]) -> Any:
    if len(path) == 1:
        return {name: value for name, value in whole.items() if name != path[0]}
    return {**whole, path[0]: _without(whole[path[0]], path[1:])}


def _sure(changed: str, wanted: Any) -> str:
    """The changed text, if it says what it should: somebody's file is at stake."""
    if read(changed) != wanted:
        raise ValueError("it is written in a way that cannot be changed safely")
    return changed
