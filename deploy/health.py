"""Ends with 0 when the server on this machine answers `/health`, and with 1 when it does not."""

import os
import sys
from urllib.request import ProxyHandler, build_opener

address = f"http://127.0.0.1:{os.environ.get('MCP_PORT', '8000')}/health"
try:
    build_opener(ProxyHandler({})).open(address, timeout=4).close()  # no proxy: the way leads nowhere else
except OSError as error:
    sys.exit(f"{address}: {error}")
