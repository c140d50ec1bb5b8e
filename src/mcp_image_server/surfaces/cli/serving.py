"""The server, started: `serve`."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML file with settings. Default: MCP_CONFIG_FILE, else mcp-image-server.toml here, if there.")
    ] = None,
    transport: Annotated[str | None, typer.Option(help="stdio or http. Default: MCP_TRANSPORT, else stdio when standard input is a pipe.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on over HTTP. Default: MCP_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on over HTTP. Default: MCP_PORT, else 8000.")] = None,
) -> None:
    """Run the MCP server. The bare command does the same."""
    from ..serve import main

    options = {"--config": config, "--transport": transport, "--host": host, "--port": port}
    main([word for name, value in options.items() if value is not None for word in (name, str(value))])
