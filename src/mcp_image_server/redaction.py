"""Secrets are taken out of text before anybody reads it. The last look, behind all the others: no message should hold any to begin with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from .settings import SECRET_WORDS, Environment

MARK = "***"

_SHORTEST = 6
"""A shorter value is no secret but a placeholder, and would tear up plain words."""

_FORMS = (
    (r"(?i)\b(bearer|basic)(\s+)[a-z0-9._~+/=-]{6,}", rf"\1\2{MARK}"),
    # A header or a field of JSON, also as a program shows it: b'x-api-key', b'…'. Each word is gone through once, from its beginning: anybody may write them.
    (
        r"""(?ix) ( (?<![\w-]) [\w-]* (?: authorization | cookie | api[_-]?key | token | secret | password ) ['"]? \s* [:=,] \s* b?['"] )
        [^'"]{6,} """,
        rf"\1{MARK}",
    ),
    (r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*)(?!['\"b])[^\s,;]{6,}", rf"\1{MARK}"),
    # A part of an address's query.
    (r"(?i)([?&](?:[\w.-]*(?:signature|token|key|secret|password|credential)|sig)=)[^&\s'\"]+", rf"\1{MARK}"),
    # A password before the host of an address.
    (r"(://[^/\s:@]*:)[^/\s@]+@", rf"\1{MARK}@"),
    # Values that tell of themselves: our own tokens, and keys of services.
    (r"\b(mis_|sk-|r8_|hf_|xai-|key-)[\w-]{12,}", rf"\1{MARK}"),
)
"""What a secret looks like, and what is shown in its place."""

_known: frozenset[str] = frozenset()


def remember(environment: Environment) -> None:
    """From now on the secrets among these variables are taken out. What was remembered before still is: it may be good yet."""
    global _known
    _known |= {text for name, value in environment.items() if any(word in name for word in SECRET_WORDS) for text in _secrets(value.strip())}


def redacted(text: str) -> str:
    """The text without any secret that is known, or that looks like one."""
    for pattern, words in _patterns(_known):
        text = pattern.sub(words, text)
    return text


@lru_cache(maxsize=1)
def _patterns(known: frozenset[str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Made for the first line of the log: a start has no time for it."""
    values = [("|".join(map(re.escape, sorted(known, key=len, reverse=True))), MARK)] if known else []
    return tuple((re.compile(form), words) for form, words in (*values, *_FORMS))


def _secrets(value: str) -> Iterator[str]:
    """A variable's secrets, in each form that may turn up: the value, or the texts in it where it is JSON. The name of a file that holds one is none."""
    if value[:1] in ("{", "["):
        try:
            parts = list(_texts(json.loads(value)))
        except ValueError:
            parts = [value]
    else:
        parts = [value]
    for part in parts:
        if len(part) >= _SHORTEST and not _is_file(part):
            yield from {part, quote(part, safe=""), json.dumps(part)[1:-1]}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _is_file(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long for a name, or half a surrogate
        return False
