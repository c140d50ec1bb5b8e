"""The name under which `modelscope-image-mcp` is imported. The server behind it is `mcp_image_server`."""
