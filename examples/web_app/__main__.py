"""`python -m examples.web_app` (or `make demo-web`): serve the app at `PORT`, else 8000 or any free one."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import uvicorn

PORT = 8000


def listen() -> socket.socket:
    """The port that was asked for (0: any), or it is an error; the usual one may be busy, then any."""
    wanted = os.environ.get("PORT")
    if wanted is not None:
        try:
            return socket.create_server(("127.0.0.1", int(wanted)))
        except (OSError, OverflowError, ValueError) as error:
            raise SystemExit(f"PORT={wanted} cannot be used: {error}") from None
    try:
        return socket.create_server(("127.0.0.1", PORT))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def main() -> None:
    """Serve until Ctrl-C; what was not drawn by then is drawn after the next start."""
    with listen() as listener:
        from .app import OUT, app

        host, port = listener.getsockname()
        print(f"The comic is at http://{host}:{port}/ and its files are in {OUT} (Ctrl-C ends it)", flush=True)
        # Streams are ended by asyncjobs when uvicorn is told to stop; the limit is for a download that hangs.
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


if __name__ == "__main__":
    main()
