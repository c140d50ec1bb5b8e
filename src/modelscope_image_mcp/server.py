"""`python -m modelscope_image_mcp.server`: the same as the command `modelscope-image-mcp`."""

from mcp_image_server.surfaces.serve import modelscope_main as main

if __name__ == "__main__":
    main()
