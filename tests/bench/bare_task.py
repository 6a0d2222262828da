"""The yardsticks: Celery tasks that make the query of a reconcile, or an echo, and nothing else."""

import requests

from keysat.tasks.app import app

_session = requests.Session()


@app.task(name="bench.bare_query", queue="reconcile")
def bare_query(url: str, api_key: str) -> None:
    """GET an invoice and read its status."""
    answer = _session.get(url, headers={"Authorization": f"token {api_key}"}, timeout=10)
    assert answer.json()["status"] == "New"


ECHOES = "bench.echoes"


@app.task(name="bench.echo", queue="issue")
def echo() -> None:
    """Respond through a list of the broker's server."""
    with app.pool.acquire(block=True) as connection:
        connection.default_channel.client.rpush(ECHOES, "here")


__all__ = ["app"]
