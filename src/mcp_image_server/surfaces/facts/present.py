"""What values are made of everywhere: what is there, and amounts of money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...policy.budget import MICROS, shown


def present(*, always: Sequence[str] = (), **values: Any) -> dict[str, Any]:
    """The values that are there.

    Args:
        always: names of those that stay although they are None.
    """
    return {name: value for name, value in values.items() if value is not None or name in always}


def amounts(sums: Mapping[str, int]) -> dict[str, float]:
    """Currency to its units, of sums in millionths."""
    return {currency: micros / MICROS for currency, micros in sums.items()}


def amounts_words(sums: Mapping[str, int]) -> str:
    """The same for people; empty where there are none."""
    return " + ".join(shown(micros, currency) for currency, micros in sums.items())
