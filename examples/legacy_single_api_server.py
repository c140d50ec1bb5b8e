"""The smallest server: one service only. `python examples/legacy_single_api_server.py hunyuan` serves as usual, and Hunyuan draws what names nobody.

The service's key comes from the environment or `.env`, as always; another service is called only when a request names it.
"""

import os
import sys

from mcp_image_server.surfaces.serve import main

if __name__ == "__main__":
    os.environ["MCP_DEFAULT_PROVIDER"] = sys.argv[1] if len(sys.argv) > 1 else "sketch"
    main()
