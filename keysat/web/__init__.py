"""The HTTP API for buyers' programs, payment providers and operators' tools.

`app` assembles it. Each other module has one noun's routes, thin wrappers of the plain functions below. Routes are
plain functions that FastAPI runs in threads. A route reads its input, calls, commits, and then sends messages.
Errors are always `{"ok": false, "error": "<code>", "message": "<a sentence>"}`.
"""
