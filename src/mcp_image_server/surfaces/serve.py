"""The server: MCP and the web put together, over stdio or HTTP. Imports only what the first answers need."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from .. import telemetry
from ..audit import start_audit
from ..configuration import NOTHING, read_environment
from ..errors import ConfigError, ImageServerError, StorageError
from ..models import Caller
from ..redaction import remember
from ..settings import OBSOLETE, Environment, Settings, parse
from ..studio import Studio, open_studio
from .logs import start_log
from .mcp import Voice, build_server
from .tracing import send_what_is_left, tracing

if TYPE_CHECKING:
    import uvicorn
    from mcp.server import MCPServer
    from starlette.types import ASGIApp

    from .http.health import Health

log = logging.getLogger(__name__)

MCP_PATHS = ("/mcp", "/mcp/v1/messages")

GOODBYE = 5
"""Seconds that open HTTP requests have to end when the server is told to stop; their jobs live on."""

AWAKEN_AFTER = 2.0
"""Seconds after start at which jobs that an earlier server left behind are taken up, if no call did so before."""


def main(arguments: Sequence[str] = (), *, voice: Voice | None = None) -> NoReturn:
    """`mcp-image-server [serve]`: runs until the client goes or a signal comes; exits 1 with words when it cannot start."""
    said = _parser().parse_args(arguments)
    variables = {"MCP_CONFIG_FILE": said.config, "MCP_TRANSPORT": said.transport, "MCP_HOST": said.host, "MCP_PORT": said.port}
    options = {name: value for name, value in variables.items() if value is not None}
    try:
        environment = read_environment(Path.cwd() / ".env", options=options)
        if voice is not None and voice.log_level_variable in environment and "MCP_LOG_LEVEL" not in environment:
            options["MCP_LOG_LEVEL"] = environment[voice.log_level_variable]
            environment = {**environment, **options}
        settings = parse(Settings, environment)
        remember(environment)
        start_log(settings)
        for name in OBSOLETE.keys() & environment.keys():
            log.warning("%s does nothing any more: %s. Remove it.", name, OBSOLETE[name])
        over_pipe = (settings.transport or _transport_for_stdin()) == "stdio"
        start_audit(settings.audit_file, in_log=not over_pipe)  # whoever starts a server of their own knows who they are
        with tracing(environment):
            if over_pipe:
                anyio.run(serve_stdio, environment, options, voice)
            else:
                anyio.run(serve_http, environment, options)
    except ImageServerError as error:
        sys.exit(f"mcp-image-server: {error.message}")
    except ExceptionGroup as group:  # as what is raised beside running tasks comes out
        expected: BaseException | None = group.subgroup(ImageServerError)
        while isinstance(expected, ExceptionGroup):
            expected = expected.exceptions[0]
        if not isinstance(expected, ImageServerError):
            raise
        sys.exit(f"mcp-image-server: {expected.message}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mcp-image-server serve", description="Run the MCP server. Options win over the environment.")
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings; default: MCP_CONFIG_FILE, else mcp-image-server.toml")
    parser.add_argument("--transport", choices=["stdio", "http"], help="default: MCP_TRANSPORT, else stdio when standard input is a pipe")
    parser.add_argument("--host", help="address to listen on over HTTP; default: MCP_HOST, else 127.0.0.1")
    parser.add_argument("--port", help="port to listen on over HTTP; default: MCP_PORT, else 8000")
    return parser


def _transport_for_stdin() -> str:
    """A pipe, socket or file is a client; a terminal, `/dev/null` or nothing at all is not."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return "http"
    return "http" if stat.S_ISCHR(mode) else "stdio"


async def _awaken(studio: Studio) -> None:
    """Opens the history a little after start, so that abandoned jobs are taken up although nobody calls."""
    await anyio.sleep(AWAKEN_AFTER)
    if studio.has_history:
        try:
            await studio.open()
        except ImageServerError as error:
            log.error("%s", error.message)


# ---------------------------------------------------------------------- stdio


def modelscope_main() -> NoReturn:
    """`modelscope-image-mcp`: the same server over stdio, in the voice of the one of that name."""
    from .mcp.modelscope import ModelScopeVoice

    main(["--transport", "stdio"], voice=ModelScopeVoice())


async def serve_stdio(environment: Environment, options: Environment = NOTHING, voice: Voice | None = None) -> None:
    """Serves the client on standard input and output until it closes its end, and what it has asked until then is answered.

    Args:
        options: what the command line said, and the environment holds already.
    """
    try:
        await _serve_stdio(environment, options, voice)
    except* BrokenPipeError:
        log.warning("The client closed its end before the last answer.")


async def _serve_stdio(environment: Environment, options: Environment, voice: Voice | None) -> None:
    from mcp.server.stdio import stdio_server

    async with open_studio(environment, options=options) as studio, anyio.create_task_group() as tasks:
        server = build_server(studio, voice)._lowlevel_server  # noqa: SLF001 - the only way to hand the SDK streams of our own
        tasks.start_soon(_leave_on_signal, studio)
        tasks.start_soon(_awaken, studio)
        async with stdio_server() as (reading, writing), _answering_to_the_end(reading, writing) as (requests, replies):
            await server.run(requests, replies, server.create_initialization_options())
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _answering_to_the_end(
    reading: ObjectReceiveStream[Any], writing: ObjectSendStream[Any]
) -> AsyncIterator[tuple[ObjectReceiveStream[Any], ObjectSendStream[Any]]]:
    """The same streams, but the end of input is passed on only after every request was answered.

    The SDK drops what it is working on when input ends; then nobody could pipe a conversation in, and a client's last picture would be cut off.
    """
    requests_in, requests = anyio.create_memory_object_stream[Any]()
    replies, replies_out = anyio.create_memory_object_stream[Any]()
    open_requests: set[Any] = set()
    answered = anyio.Event()

    async def read() -> None:
        async with requests_in:
            async for item in reading:
                match getattr(item, "message", None):
                    case JSONRPCRequest(id=identity, method=method) if method != "subscriptions/listen":  # that one is never answered
                        open_requests.add(identity)
                    case JSONRPCNotification(method="notifications/cancelled", params=params):
                        open_requests.discard((params or {}).get("requestId"))  # a cancelled request is not answered
                await requests_in.send(item)
            while open_requests:
                await answered.wait()

    async def write() -> None:
        nonlocal answered
        async with writing:
            async for item in replies_out:
                await writing.send(item)
                if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                    open_requests.discard(item.message.id)
                    answered.set()
                    answered = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        yield requests, replies


async def _leave_on_signal(studio: Studio) -> None:
    """Hands over the jobs and ends the process when it is told to.

    The thread that waits for the next line of input cannot be interrupted, so the process does not wait for it.
    """
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            with anyio.CancelScope(shield=True):
                await studio.close()
                await anyio.to_thread.run_sync(send_what_is_left)
            sys.stderr.flush()
            os._exit(0)


# ---------------------------------------------------------------------- HTTP


def base_url(settings: Settings) -> str | None:
    """Where this server's pictures are found when nothing else is set; None when it listens everywhere, which is no address."""
    if settings.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


async def serve_http(environment: Environment, options: Environment = NOTHING) -> None:
    """Serves MCP and the web until a signal comes.

    Args:
        options: what the command line said, and the environment holds already.

    Raises:
        ConfigError: it may not or cannot listen there.
    """
    settings = parse(Settings, environment)
    may_listen(settings)
    with _listener(settings) as listener:
        async with open_studio(environment, options=options, base_url=base_url) as studio, anyio.create_task_group() as tasks:
            tasks.start_soon(_awaken, studio)
            tasks.start_soon(_reload_on_signal, studio)
            address = base_url(settings)
            where = f"{address}/mcp" if address else f"port {settings.port} of every address of this machine, for MCP at /mcp"
            log.info("Listening on %s; the gallery is at %s/", where, address or "")
            await web_server(studio).serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _reload_on_signal(studio: Studio) -> None:
    """Reads the settings again at each SIGHUP, and says what came of it. Windows has no such signal."""
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            try:
                reloaded = await studio.upkeep.reload(Caller(), dotenv_wins=False)
            except ImageServerError as error:
                log.error("The settings stay as they were. %s", error.message)
            except Exception:
                log.exception("The settings stay as they were.")
            else:
                log.info("The settings were read again; changed: %s.", ", ".join(reloaded.changed) or "nothing")


def web_server(studio: Studio, server: MCPServer | None = None) -> uvicorn.Server:
    """The HTTP server over this studio, to be run on a socket.

    Args:
        server: what speaks MCP; None: the server over the studio as it is.
    """
    import uvicorn

    from .http.health import Health
    from .http.leaving import Server

    health = Health(studio)
    config = uvicorn.Config(
        http_app(studio, server, health=health),
        log_config=None,
        log_level="debug" if studio.settings.debug else "warning",
        access_log=False,  # `Watch` writes one that tells more
        server_header=False,
        proxy_headers=bool(studio.settings.trusted_proxies),
        forwarded_allow_ips=list(studio.settings.trusted_proxies),
        ws="none",
        timeout_graceful_shutdown=GOODBYE,
    )
    return Server(config, health, drain=studio.settings.drain_seconds)


def http_app(studio: Studio, server: MCPServer | None = None, *, health: Health | None = None) -> ASGIApp:
    """Everything served over HTTP, as one ASGI application; `server` as for `web_server`.

    Args:
        health: what `/ready` tells; None: nobody ever says that the server is leaving.
    """
    from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
    from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from ..identity import Doorkeeper
    from .http import Gate, across_origins, metadata_routes, resources_of, routes
    from .http.health import Health
    from .http.plain import Plain
    from .http.watch import Watch, naming
    from .mcp.bounds import within_an_event
    from .mcp.callers import only_through_the_gate

    doorkeeper = Doorkeeper(studio.settings, resources=resources_of(studio), together=studio.count_together)
    server = server or build_server(studio, state_key=_state_key(studio.settings))
    server.middleware[:0] = [within_an_event, only_through_the_gate]
    # The gate looks at Host and Origin on every path, so the SDK's own look at one path is switched off.
    server.streamable_http_app(
        max_request_body_size=studio.settings.max_body_bytes,
        stateless_http=not studio.settings.enable_sessions,
        session_idle_timeout=studio.settings.session_timeout,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    endpoint = Plain(AuthContextMiddleware(StreamableHTTPASGIApp(server.session_manager)))

    async def no_stream(_: Request) -> Response:
        return JSONResponse({"error": "SSE is not enabled on this server"}, status_code=501)

    async def no_session(_: Request) -> Response:
        words = "Without sessions (MCP_ENABLE_SESSIONS=false) there is nothing to listen to; answers come to POST."
        return JSONResponse({"error": words}, status_code=405, headers={"Allow": "POST"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        with ExitStack() as stack:
            if metrics is not None:
                stack.enter_context(telemetry.listening(metrics))
            async with server.session_manager.run(), aclosing(doorkeeper):
                yield {}

    metrics = None
    if studio.settings.metrics:
        from .http.metrics import Metrics

        metrics = Metrics(studio)
    watching = [*(health or Health(studio)).routes, *(metrics.routes if metrics is not None else ())]
    silent = no_stream if not studio.settings.enable_sse else None if studio.settings.enable_sessions else no_session
    streams = [Route(path, silent, methods=["GET"]) for path in MCP_PATHS] if silent is not None else []
    messages = [Route(path, endpoint) for path in MCP_PATHS]
    inside = Starlette(routes=[*streams, *messages, *watching, *metadata_routes(studio), *routes(studio)], lifespan=lifespan)
    gate = Gate(naming(inside), studio, doorkeeper)
    return Watch(across_origins(gate, studio.settings), log_requests=studio.settings.access_log)


def _state_key(settings: Settings) -> bytes | None:
    """What seals the rounds of a question, the same for all servers that share the secret; None where there is no place to keep one."""
    from ..secret import derived, server_secret

    try:
        return derived(server_secret(settings), "states")
    except StorageError as error:
        log.warning("%s Until then, questions to callers are forgotten when this server ends.", error.message)
        return None


def may_listen(settings: Settings) -> None:
    """Passes when an HTTP server may listen where it is to.

    Raises:
        ConfigError: anybody could use it.
    """
    if not settings.is_local and not settings.has_identities and not settings.allow_unauthenticated:
        raise ConfigError(
            f"Listening on {settings.host} without a token would let anybody spend your money. Set MCP_AUTH_TOKEN, MCP_TOKENS_FILE or MCP_OAUTH_ISSUER; "
            "or MCP_HOST=127.0.0.1; or MCP_ALLOW_UNAUTHENTICATED=true if something in front of the server asks who comes."
        )


def _listener(settings: Settings) -> socket.socket:
    family, kind, protocol, _, address = _resolved(settings)
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
            "Another program may have the port: stop it, or set MCP_PORT to a free one."
        ) from error
    return listener


def _resolved(settings: Settings) -> tuple[Any, ...]:
    try:
        return socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigError(f"MCP_HOST is {settings.host!r}, which is no address of this machine: {error.strerror or error}.") from error
