"""The yardstick: a Celery task that makes the query of a reconcile and nothing else. For the benchmark's worker."""

import requests

from keysat.worker import app

_session = requests.Session()


@app.task(name="bench.bare_query", queue="reconcile")
def bare_query(url: str, api_key: str) -> None:
    """GET an invoice and read its status."""
    answer = _session.get(url, headers={"Authorization": f"token {api_key}"}, timeout=10)
    assert answer.json()["status"] == "New"


__all__ = ["app"]
