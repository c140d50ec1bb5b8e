"""What an adapter says about its service, and how an error speaks in the service's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a service's error body says, in our words. `None` means: judge by the status."""

    message: str
    """The service's own words, for the caller to read."""
    kind: type[ProviderError] | None = None
    retry_after: float | None = None
    """Seconds, where the body and not a header names them."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready: the service's own code, the parameter at fault, the reasons for a refusal."""


ReadFault = Callable[[int, Any], Fault | None]
"""Status and body of a reply that is no success, decoded where it is JSON and else a text, to what they mean; None when its form is unknown. Pure."""

Sign = Callable[[str, str, bytes], Mapping[str, str]]
"""Method, whole URL and the body exactly as it will be sent, to the headers that sign it. Called for each try, so a time stamp stays fresh."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service as seen from the door: where it is, how to be let in, how to read its complaints, and the names for a message."""

    provider: str
    title: str
    base_url: str
    """Used as given: paths are put behind it with one slash between."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each call to the service, and to nobody else."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Never shown, even when the service repeats them."""
    sign: Sign | None = field(default=None, repr=False)
    trusted_hosts: tuple[str, ...] = ()
    """Domains besides the base URL's host that may be called with the key, subdomains included."""
    read_fault: ReadFault = field(default=lambda status, body: None, repr=False)
    key_variable: str = ""
    """The operator's variable for the key, to name in a message."""
    url_variable: str = ""
    """The operator's variable for the base URL, to name in a message."""
    free: bool = False
    """It is the operator's own engine: nothing it does is billed, and no error says so."""

    def hides(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self.secrets:
            if len(secret) >= 4:  # a shorter one is no secret but a placeholder, and would tear up plain words
                text = text.replace(secret, "***")
        return text

    def failure(
        self,
        kind: type[ProviderError],
        words: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        may_have_been_billed: bool = False,
        not_accepted: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> ProviderError:
        """An error of that kind in the service's name, without secrets, with the advice that fits."""
        advice = self._advice(kind, retry_after)
        may_have_been_billed = may_have_been_billed and not self.free
        billed = "It may have been billed although no picture came back." if may_have_been_billed else ""
        return kind(
            " ".join(part for part in (_sentence(self.hides(words)), advice, billed) if part),
            provider=self.provider,
            status=status,
            request_id=request_id,
            retry_after=retry_after,
            may_have_been_billed=may_have_been_billed,
            not_accepted=not_accepted,
            details={name: self._clean(value) for name, value in (details or {}).items()},
        )

    def _advice(self, kind: type[ProviderError], retry_after: float | None) -> str:
        if kind is AuthError:
            return f"Check {self.key_variable}, and what its account is allowed to use." if self.key_variable else ""
        if kind is QuotaError:
            return "Credit or allowance of the account is used up: raise it with the service, or use another provider."
        if kind is RateLimitedError:
            return f"Try again in {retry_after:g} seconds." if retry_after else "Try again a little later."
        if kind is RefusedError:
            return "The same words will be refused again: ask for something else."
        if kind is UnavailableError:
            return f"Try again in {retry_after:g} seconds." if retry_after else "Try again later, or use another provider."
        return ""

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hides(value)
        if isinstance(value, Mapping):
            return {self.hides(str(name)): self._clean(inner) for name, inner in value.items()}
        if isinstance(value, Sequence):
            return [self._clean(inner) for inner in value]
        return value

    def check_base_url(self) -> str:
        """The advice for a reply that is not from the interface we expect."""
        url = re.sub(r"//[^/@]*@", "//", self.base_url)  # a password may stand before the host
        where = f"{self.url_variable} ({url})" if self.url_variable else url
        return f"Check that {where} is the address of the programming interface; many services want it to end in a version such as /v1."


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", "。", "！", "？")) else f"{text}."
