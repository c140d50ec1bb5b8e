"""`python -m mcp_image_server` and the installed command: without a word, or with `serve`, it serves; every other word is the command line's."""

import gc
import sys


def main() -> None:
    """Runs what the arguments say."""
    words = sys.argv[1:]
    gc.disable()  # nothing that importing makes is garbage; looking for some takes a tenth of the start
    try:
        if not words or (words[0] == "serve" and "--help" not in words):
            from .surfaces.serve import main as run

            gc.freeze()
            gc.enable()
            run(words[1:])
        from .surfaces.cli import app
    finally:
        gc.enable()
    app()


if __name__ == "__main__":
    main()
