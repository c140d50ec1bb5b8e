"""What every provider that calls a service promises, whatever the service does; held against scripted faults on a port of this machine.

`mcp-image-server provider check` runs it for any provider, also one of another package; nothing is needed for it but the program itself. What a provider
does when all is well is its own tests' business: only they know what its service answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio import EndOfStream, IncompleteRead
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from ..errors import AuthError, BadReplyError, ConfigError, ProviderError, RateLimitedError, UnavailableError
from ..models import Catalogue, ImageRequest, Limits, Model, find_model
from ..settings import SECRET_WORDS, Environment
from .base import Listing, Provider, Source

SECRET = "sk-never-show-0123456789"  # noqa: S105 - nothing real
"""The key with which every provider is tried. The faulty service repeats it in its complaints, as true ones do."""

PATIENCE = 20.0
"""Seconds in which a provider has to be done with a fault that is told at once."""

_NOWHERE = "http://127.0.0.1:1"
"""Where nobody listens. A port that was free a moment ago might be somebody's by now."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A provider to be tried, and how it is sent to another address."""

    source: Source
    url_variables: tuple[str, ...]
    """Variables that take the address of the service."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further variables. Those that the catalogue names are set by themselves, to values that nobody knows."""

    def environment(self, url: str) -> Environment:
        """The variables with which the provider calls the service at that address."""
        needed = {name: SECRET if any(word in name for word in SECRET_WORDS) else "contract" for name in self.source.CATALOGUE.variables}
        return {**needed, **dict.fromkeys(self.url_variables, url), **self.settings}

    def provider(self, url: str) -> Provider:
        """The provider, which calls the service at that address.

        Raises:
            ConfigError: with these variables it is not there.
        """
        environment = self.environment(url)
        try:
            provider = self.source.load(environment)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"load(environment) must raise nothing but ConfigError, and raises {type(error).__name__}: {error}") from error
        if provider is None:
            raise ConfigError(
                f"With {', '.join(environment)} set, load(environment) returns None. Name the variables that it waits for in CATALOGUE.variables."
            )
        return provider


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the service does, and what must come of it."""

    what: str
    answer: bytes
    """Whole, with status line and headers."""
    kind: type[ProviderError]
    calls: tuple[int, int] = (1, 1)
    """How often the same request must come at least, and may come at most."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one thing that was tried."""

    what: str
    message: str
    code: str = ""
    """Of the error."""
    again: bool = False
    """The same call may help later."""
    billed: bool = False
    """It may have been paid for."""
    calls: int = 0
    """How often the same one was made."""
    broken: tuple[str, ...] = ()
    """Promises that do not hold."""


def http(status: str, body: str, *, media_type: str = "application/json", length: int | None = None, **headers: str) -> bytes:
    """A whole answer of a service, after which it hangs up; with a `length` of more than there is, it is cut off."""
    data = body.encode()
    named = {"content-type": media_type, "content-length": str(len(data) if length is None else length), "connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join((*lines, "", "")).encode() + data


_COMPLAINT = f'{{"error": {{"code": "broken", "message": "something about {SECRET}"}}}}'

CASES = (
    Case(what="401", answer=http("401 Unauthorized", _COMPLAINT), kind=AuthError),
    Case(
        what="429, come back at once",
        answer=http("429 Too Many Requests", _COMPLAINT, retry_after="0"),
        kind=RateLimitedError,
        calls=(2, 4),
    ),
    Case(what="429, come back in an hour", answer=http("429 Too Many Requests", _COMPLAINT, retry_after="3600"), kind=RateLimitedError),
    Case(what="500", answer=http("500 Internal Server Error", _COMPLAINT), kind=UnavailableError),
    Case(what="502 with a web page", answer=http("502 Bad Gateway", "<h1>Bad gateway</h1>", media_type="text/html"), kind=UnavailableError),
    Case(what="503, come back at once", answer=http("503 Service Unavailable", _COMPLAINT, retry_after="0"), kind=UnavailableError, calls=(2, 4)),
    Case(
        what="200 with a web page",
        answer=http("200 OK", "<!doctype html><title>Welcome</title><p>Log in", media_type="text/html"),
        kind=BadReplyError,
    ),
    Case(what="200 with broken JSON", answer=http("200 OK", '{"data": ['), kind=BadReplyError),
    Case(what="200 with an empty object", answer=http("200 OK", "{}"), kind=ProviderError),
    Case(what="200 with a list", answer=http("200 OK", "[1, 2]"), kind=BadReplyError),
    Case(what="200 with null", answer=http("200 OK", "null"), kind=BadReplyError),
    Case(what="a body cut off", answer=http("200 OK", '{"data": [{"b64_json": "iVBOR', length=99_999), kind=ProviderError),
)


@dataclass
class Faulty:
    """A service that answers everything with the same bytes, or with nothing at all."""

    answer: bytes | None
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    """First lines, and how often each came."""
    called: anyio.Event = field(default_factory=anyio.Event)

    @property
    def calls(self) -> int:
        """How often the same request came. A provider may well look at its own progress while it waits."""
        return max(self.requests.values(), default=0)

    async def serve(self, stream: SocketStream) -> None:
        """Answers one connection and ends it."""
        async with stream:
            try:
                self.requests[await _read_request(BufferedByteReceiveStream(stream))] += 1
                self.called.set()
                if self.answer is None:
                    await anyio.sleep_forever()
                else:
                    await stream.send(self.answer)
            except (EndOfStream, IncompleteRead, anyio.BrokenResourceError):  # the caller has left
                return


@asynccontextmanager
async def faulty(answer: bytes | None) -> AsyncIterator[Faulty]:
    """A service on a port of this machine that answers with these bytes, or with None: not at all."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        service = Faulty(answer, url=f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")  # noqa: S610 - no database is near
        tasks.start_soon(listener.serve, service.serve)
        yield service
        tasks.cancel_scope.cancel()


async def check(trial: Trial) -> tuple[Finding, ...]:
    """Everything that was tried, with the promises that do not hold.

    Raises:
        ConfigError: the provider cannot be loaded with the variables of the trial.
    """
    trial.provider(_NOWHERE)
    nobody = Case(what="nobody listens", answer=b"", kind=UnavailableError, calls=(0, 0))
    tries: tuple[Callable[[], Awaitable[Sequence[Finding]]], ...] = (
        *(partial(_answered, trial, case) for case in CASES),
        partial(_drawn, trial, nobody, Faulty(None, url=_NOWHERE)),
        partial(_asked, trial),
        partial(_hanging, trial),
    )
    findings: dict[int, Sequence[Finding]] = {}

    async def one(place: int) -> None:
        findings[place] = await tries[place]()

    async with anyio.create_task_group() as tasks:  # all at once, since some of them wait between two calls
        for place in range(len(tries)):
            tasks.start_soon(one, place)
    return (_offered(trial.source), _switched_off(trial.source), *(finding for place in sorted(findings) for finding in findings[place]))


def _offered(source: Source) -> Finding:
    """Whether the catalogue is complete."""
    catalogue = source.CATALOGUE
    names = [name for model in catalogue.models for name in (model.id, *model.aliases)]
    promises = {
        "The catalogue needs a title.": bool(catalogue.title),
        f"There is no model {catalogue.default_model!r}, which should be the default one.": find_model(catalogue.models, catalogue.default_model)
        is not None,
        f"Every model needs a title and the provider {catalogue.provider!r}.": all(
            model.title and model.provider == catalogue.provider for model in catalogue.models
        ),
        "Two models have the same id or alias.": len(names) == len(set(names)),
        "Every style needs its own key and a label.": all(style.key == key and style.label for key, style in catalogue.styles.items()),
        "There must be at least one resolution to choose.": bool(catalogue.resolutions),
    }
    fields = getattr(getattr(source, "Config", None), "model_fields", None)
    if fields is not None:
        unread = set(catalogue.variables) - {str(info.alias or name) for name, info in fields.items()}
        promises[f"Config does not read {', '.join(sorted(unread))}, which CATALOGUE.variables names."] = not unread
    words = f"Models: {len(catalogue.models)}; the default one is {catalogue.default_model}."
    return Finding(what="the catalogue is read", message=words, broken=tuple(promise for promise, kept in promises.items() if not kept))


def _switched_off(source: Source) -> Finding:
    """Whether the provider stays away where nothing is set for it."""
    try:
        there = source.load({}) is not None
    except Exception as error:  # whatever it is, it is the finding
        broken: tuple[str, ...] = (f"load({{}}) must return None, and raises {type(error).__name__}.",)
    else:
        broken = ("load({}) must return None.",) if there else ()
    return Finding(
        what="no variable is set", message="The provider is there all the same." if broken else "The provider is not there.", broken=broken
    )


async def _answered(trial: Trial, case: Case) -> Sequence[Finding]:
    """What comes of a request that the service answers so."""
    async with faulty(case.answer) as service:
        return await _drawn(trial, case, service)


async def _drawn(trial: Trial, case: Case, service: Faulty) -> Sequence[Finding]:
    """What a plain request ends with."""
    provider = trial.provider(service.url)
    broken = _objections(provider, trial.source.CATALOGUE)
    error: Exception | None = None
    with anyio.move_on_after(PATIENCE) as scope:
        try:
            await provider.generate(*_plain(provider.catalogue), _Nobody())
        except Exception as raised:  # whatever it is, it is the finding
            error = raised
    await provider.aclose()
    if error is None:
        words = f"It was still at it after {PATIENCE:g} seconds." if scope.cancelled_caught else "It returned as if all had gone well."
        return [Finding(what=case.what, message="no error", calls=service.calls, broken=(*broken, words))]
    if not isinstance(error, ProviderError):
        return [Finding(what=case.what, message=str(error), calls=service.calls, broken=(*broken, _stranger(error)))]
    fewest, most = case.calls
    promises = {
        f"The error must be of the class {case.kind.__name__}, not {type(error).__name__}.": isinstance(error, case.kind),
        f"The error must name the provider {provider.name!r}, not {error.provider!r}.": error.provider == provider.name,
        f"The same call may be made {fewest if fewest == most else f'{fewest} to {most}'} times, not {service.calls}.": fewest
        <= service.calls
        <= most,
        "What may have been paid for must not be tried again.": not (error.may_have_been_billed and service.calls > 1),
        "What reached nobody was not paid for.": not (error.may_have_been_billed and most == 0),
        _SHOWN: not _shows_the_key(error),
    }
    finding = Finding(
        what=case.what,
        code=error.code,
        again=error.retryable,
        billed=error.may_have_been_billed,
        calls=service.calls,
        message=error.message.replace(SECRET, "***"),
        broken=(*broken, *(promise for promise, kept in promises.items() if not kept)),
    )
    return [finding]


async def _asked(trial: Trial) -> Sequence[Finding]:
    """What comes of questions that cost nothing when the key is wrong."""
    findings = []
    async with faulty(CASES[0].answer) as service:
        provider = trial.provider(service.url)
        questions: dict[str, Callable[[], Awaitable[object]]] = {"401 when doctor asks": provider.check}
        if isinstance(provider, Listing):
            questions["401 when asked for models"] = provider.listed
        for what, ask in questions.items():
            service.requests.clear()
            try:
                with anyio.fail_after(PATIENCE):
                    await ask()
            except ProviderError as error:
                broken = (_SHOWN,) if _shows_the_key(error) else ()
                message = error.message.replace(SECRET, "***")
                findings.append(Finding(what=what, code=error.code, again=error.retryable, calls=service.calls, message=message, broken=broken))
            except Exception as error:  # whatever it is, it is the finding
                findings.append(Finding(what=what, calls=service.calls, message=str(error), broken=(_stranger(error),)))
            else:
                findings.append(Finding(what=what, calls=service.calls, message="no error", broken=("It returned as if all were well.",)))
        await provider.aclose()
    return findings


async def _hanging(trial: Trial) -> Sequence[Finding]:
    """Whether a service that says nothing is left when the job is cancelled."""
    broken: tuple[str, ...] = ()
    async with faulty(None) as service:
        provider = trial.provider(service.url)
        with anyio.move_on_after(PATIENCE) as patience:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_suppressed, provider)
                await service.called.wait()
                tasks.cancel_scope.cancel()
        if patience.cancelled_caught:
            broken = ("It never called the service, or did not end when it was cancelled.",)
        await provider.aclose()
        return [Finding(what="silence until cancelled", calls=service.calls, message="The service is left at once.", broken=broken)]


async def _suppressed(provider: Provider) -> None:
    """A request whose failure is not of interest; a cancellation passes."""
    try:
        await provider.generate(*_plain(provider.catalogue), _Nobody())
    except Exception:
        return


def _objections(provider: Provider, catalogue: Catalogue) -> tuple[str, ...]:
    """Promises of the provider itself that do not hold."""
    if missing := [name for name in ("name", "catalogue", "account", "limits", "repeatable") if not hasattr(provider, name)]:
        return (f"The provider has no {', '.join(missing)}.",)
    promises = {
        f"The provider's name must be {catalogue.provider!r}, as in the catalogue.": provider.name
        == provider.catalogue.provider
        == catalogue.provider,
        "The account must be named without its key: use account_of.": SECRET not in provider.account,
        "The limits must be of the class Limits.": isinstance(provider.limits, Limits),
        "The key must not show when the provider is printed.": SECRET not in repr(provider),
    }
    return tuple(promise for promise, kept in promises.items() if not kept)


def _plain(catalogue: Catalogue) -> tuple[ImageRequest, Model]:
    default = find_model(catalogue.models, catalogue.default_model) or catalogue.models[0]
    return ImageRequest(prompt="a cat", shape=default.default_size), default


_SHOWN = "The key must be in no message, no detail and no cause."


def _shows_the_key(error: ProviderError) -> bool:
    return SECRET in f"{error}{error.message}{error.details}{error.__cause__!r}"


def _stranger(error: BaseException) -> str:
    return f"It must raise nothing but ProviderError, and raises {type(error).__name__}."


async def _read_request(stream: BufferedByteReceiveStream) -> str:
    """The first line of a request, which is taken in whole, so that the caller is done with sending before it is answered."""
    head = (await stream.receive_until(b"\r\n\r\n", 65_536)).decode("latin-1").lower()
    headers: dict[str, Any] = dict(line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
    if "chunked" in headers.get("transfer-encoding", ""):
        await stream.receive_until(b"0\r\n\r\n", 2**26)
    elif length := int(headers.get("content-length", 0)):
        await stream.receive_exactly(length)
    return head.split("\r\n")[0]


class _Nobody:
    """A job that does not care."""

    async def report(self, fraction: float, words: str) -> None:
        """Not of interest."""

    async def accepted(self, task_id: str) -> None:
        """Not of interest."""

    async def preview(self, data: bytes) -> None:
        """Not of interest."""
