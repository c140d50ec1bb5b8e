"""Who is calling, what their program can do, and how they are asked a question in the middle of a call."""

from __future__ import annotations

import json
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from anyio import move_on_after
from mcp import types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from ...models import LOCAL, Ask, Caller, Client
from ...policy.clients import ClientFacts, facts_of
from ...studio import Studio

Session = Context[Any, Any]
"""One call, as tools and resources see it."""

Request = ServerRequestContext[Any, Any]
"""The same, as extensions and middleware see it."""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whom an answer is for."""

    facts: ClientFacts
    nearby: bool
    """On this machine, so that paths mean something to it."""
    paths: bool
    """Whoever calls is the operator, and may know where on this machine files lie."""
    links: bool
    """Its protocol has resource links."""
    structured: bool
    """Gets output schemas in the list of tools and structured content in their answers: never one without the other."""


def audience_of(studio: Studio, request: Request, *, structured: bool = True) -> Audience:
    """Whom the answer to this request is for.

    Args:
        structured: whether answers can be structured at all.
    """
    facts = facts_of(client_of(request), studio.settings)
    current = request.protocol_version >= "2025-06-18"  # which brought resource links and structured content
    return Audience(
        facts=facts,
        nearby=headers_of(request) is None,
        paths=caller_of(request).principal == LOCAL,
        links=current,
        structured=current and structured and facts.structured,
    )


def client_of(request: Request) -> Client:
    """What the program said about itself."""
    params = request.session.client_params
    info = params.client_info if params else None
    return Client(name=info.name if info else "", version=info.version if info else "", protocol_version=request.protocol_version)


def caller_of(request: Request) -> Caller:
    """Who is calling: over a pipe the user of this machine, who started the server; over HTTP whoever the gate let in. Cannot be asked anything.

    Raises:
        MCPError: it came over HTTP, and not through the gate.
    """
    caller = Caller() if request.request is None else _let_in(request)
    return replace(caller, client=client_of(request))


async def only_through_the_gate(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Middleware of a server over HTTP, where nobody is the user of this machine unless the gate says so."""
    _let_in(ctx)
    return await call_next(ctx)


def _let_in(request: Request) -> Caller:
    """Whom the gate left in the state of the HTTP request."""
    caller = getattr(getattr(request.request, "state", None), "caller", None)
    if not isinstance(caller, Caller):
        raise MCPError(code=UNAUTHORIZED, message="Unauthorized: the request did not come through the gate.")
    return caller


UNAUTHORIZED = -32001
"""The code with which the gate, too, turns away whom it does not know."""

_REQUEST: ContextVar[Request] = ContextVar("request")


async def remembering(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Middleware: what the SDK calls without the request can still ask who is calling."""
    token = _REQUEST.set(ctx)
    try:
        return await call_next(ctx)
    finally:
        _REQUEST.reset(token)


def current_caller() -> Caller:
    """Who is calling, where the SDK hands the request to nobody: lists of prompts, completions, and resources without variables."""
    return caller_of(_REQUEST.get())


def tool_caller_of(context: Session) -> Caller:
    """Who calls a tool, and can be asked in the middle of it."""
    return replace(caller_of(context.request_context), ask=ask_of(context))


async def with_folders(caller: Caller, studio: Studio, context: Session) -> Caller:
    """The caller with the folders in which files may be written: none over HTTP, where its disk is not ours."""
    if context.headers is not None:
        return caller
    return replace(caller, folders=(*studio.open_folders, *await _roots(context)))


def is_modern(request: Request) -> bool:
    """Spoken to without a handshake: every request says for itself who sends it, and the server asks nothing by itself."""
    return request.protocol_version >= "2026-07-28"


def headers_of(request: Request) -> Any:
    """The headers it came with; None over stdio."""
    return getattr(request.request, "headers", None)


async def _roots(context: Session) -> list[Path]:
    """The folders that the client says are open, where it can say."""
    if context.client_capabilities is None or context.client_capabilities.roots is None:
        return []
    with suppress(MCPError), move_on_after(2):
        # Not `list_roots`, which warns that roots are on their way out: the clients that have them are not gone yet.
        listed = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
        uris = [urlsplit(str(root.uri)) for root in listed.roots]
        return [Path(url2pathname(uri.path)) for uri in uris if uri.scheme == "file"]
    return []


# ---------------------------------------------------------------------- asking

_YES_OR_NO: dict[str, Any] = {"type": "object", "properties": {"yes": {"type": "boolean", "title": "Yes"}}, "required": ["yes"]}

_KEY = "answer"
"""Under which the answer to the question of a round comes back."""


class Unanswered(Exception):  # noqa: N818 - nothing went wrong
    """A question for the person. The call ends here with `result`, and comes again with the answer."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("a question is open")
        self.result = result


def ask_of(context: Session) -> Ask | None:
    """How the person behind this call is asked; None where the client has no way to.

    Until 2025-11-25 the question travels to the client while the call waits. Since 2026-07-28 the call ends with the question, and the client repeats it
    with the answer; what was asked and answered in earlier rounds travels with it, sealed by the SDK.
    """
    elicitation = context.client_capabilities.elicitation if context.client_capabilities else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):  # `{}` means forms, as before there was anything else
        return None
    if is_modern(context.request_context):
        return _Rounds(context).ask
    if not context.session.can_send_request:
        return None

    async def ask(question: str) -> bool:
        with suppress(MCPError, ValidationError):  # a client that cannot put the question after all has not said yes
            return _is_yes(await context.session.elicit_form(question, _YES_OR_NO, related_request_id=context.request_id))
        return False

    return ask


class _Rounds:
    """Questions to a client that repeats the call with each answer."""

    def __init__(self, context: Session) -> None:
        state = json.loads(context.request_state) if context.request_state else {"asked": None, "answers": {}}
        self._answers: dict[str, bool] = state["answers"]
        responses = context.input_responses or {}
        if state["asked"] is not None and _KEY in responses:
            self._answers[state["asked"]] = _is_yes(responses[_KEY])

    async def ask(self, question: str) -> bool:
        if question in self._answers:
            return self._answers[question]
        request = types.ElicitRequest(params=types.ElicitRequestFormParams(message=question, requested_schema=_YES_OR_NO))
        state = json.dumps({"asked": question, "answers": self._answers})
        raise Unanswered(types.InputRequiredResult(input_requests={_KEY: request}, request_state=state))


def _is_yes(response: object) -> bool:
    return isinstance(response, types.ElicitResult) and response.action == "accept" and (response.content or {}).get("yes") is True
