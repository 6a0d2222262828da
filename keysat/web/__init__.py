"""The HTTP API: what buyers' programs, payment providers and operators' tools speak to.

`app` puts it together; each other module is one noun's routes, thin over the plain functions below. Routes are plain
functions, which FastAPI runs in threads; a route reads its input, calls, commits, and sends messages after that.
Errors are always `{"ok": false, "error": "<code>", "message": "<a sentence>"}`.
"""
