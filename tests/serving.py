"""Keysat's web server in a thread of the run, over real HTTP."""

import threading
from contextlib import contextmanager

import uvicorn

from keysat.web.app import create_app
from tests.nodes import wait_until


def serving_with(**options):
    """Serve the API with options of uvicorn's."""
    return serving(create_app(), **options)


@contextmanager
def serving(app, **options):
    """Serve an application on loopback. Yields its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, proxy_headers=False, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
