"""The web server shows the metrics of all workers and web servers, from a bounded number of files."""

import re
import socket
import sys

import pytest
import requests

from keysat.core import metrics
from keysat.embedded.commands import child_environment
from keysat.tasks.tasks import reconcile_invoice
from tests.builders import load_licenses, make_invoice, set_account
from tests.nodes import ProcessContainer, wait_until, worker_command

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")


def value(text, name, **labels):
    """A sample's value, or 0 if it is missing."""
    wanted = ",".join(f'{label}="{of}"' for label, of in sorted(labels.items()))
    found = re.search(rf"^{name}{re.escape('{' + wanted + '}') if wanted else ''} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture
def web_environment(settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    own = {"KEYSAT_METRICS_DIR": str(tmp_path / "metrics"), "KEYSAT_WEB_PORT": port, "KEYSAT_LOG_LEVEL": "INFO"}
    return {**child_environment(settings), **own}


@pytest.fixture
def own_web_url(web_environment):
    process = ProcessContainer([sys.executable, "-m", "keysat", "web"], "Keysat listens at", web_environment)
    try:
        assert process.ready()
        yield f"http://127.0.0.1:{web_environment['KEYSAT_WEB_PORT']}"
    finally:
        process.teardown()


def scrape(url):
    answer = requests.get(f"{url}/metrics", timeout=120)
    assert answer.status_code == 200
    return answer.text


def test_worker_metrics_in_web(shop, own_web_url, web_environment, tmp_path):
    """The web server's metrics include the workers', and the files don't pile up."""
    extra = ("--max-tasks-per-child", "1")
    worker = ProcessContainer(worker_command(concurrency=2, extra=extra), " ready.", web_environment)
    try:
        worker.ready()
        waiting, paid = make_invoice(), make_invoice()
        shop.pay(paid.provider_invoice_id)
        for _ in range(4):
            reconcile_invoice.delay(str(waiting.id))
        reconcile_invoice.delay(str(paid.id))
        wait_until(lambda: load_licenses(paid.id))
        wait_until(lambda: value(scrape(own_web_url), "keysat_reconciles_total", action="keep") == 4)
        text = scrape(own_web_url)
    finally:
        worker.teardown()
    assert value(text, "keysat_reconciles_total", action="settle") == 1
    assert value(text, "keysat_provider_seconds_count", account="main", call="get_invoice") == 5
    assert value(text, "keysat_licenses_issued_total", source="purchase") == 1
    assert value(text, "keysat_payment_to_license_seconds_count", source="purchase") == 1
    assert value(text, "keysat_payment_to_license_seconds_sum", source="purchase") < 60
    assert value(text, "keysat_http_requests_total", route="/metrics", method="GET", status="200") >= 1
    files = {path.name for path in (tmp_path / "metrics").iterdir()}
    # Two processes at a time, one more where it begins before another's end is through, their parent, the web server.
    assert len(files) <= 5


def test_backlog_metrics_are_read_on_request(shop, own_web_url):
    make_invoice(next_check_at=None)
    make_invoice()
    set_account(paused_at="2026-01-01T00:00:00Z", pause_reason="by hand")
    text = scrape(own_web_url)
    assert value(text, "keysat_up") == 1
    assert value(text, "keysat_invoices_pending") == 1
    assert value(text, "keysat_invoices_due") == 0
    assert value(text, "keysat_account_paused", account="main") == 1


def test_methods_that_somebody_made_up_are_counted_as_one(api):
    for method in ("BREW", "ZZ0", "ZZ1"):
        assert api.call(method, "/v1/products").status_code == 405
    text = metrics.exposition().decode()
    assert "BREW" not in text
    assert "ZZ0" not in text
    assert 'method="other"' in text


def test_secret_token_of_a_path_is_hidden(api):
    api.post("/v1/btcpay/webhook/01a21076-4515-7464-8cda-93e2d050f870/a-secret-token", data=b"{}")
    assert "a-secret-token" not in metrics.exposition().decode()
    assert 'route="/v1/{kind}/webhook/{account_id}/{token}"' in metrics.exposition().decode()


def test_directory_that_cannot_be_written_costs_the_figures_only(settings, own_web_url, web_environment, tmp_path):
    (tmp_path / "file").touch()
    web_environment |= {"KEYSAT_METRICS_DIR": str(tmp_path / "file" / "below"), "KEYSAT_WEB_PORT": "8932"}
    process = ProcessContainer([sys.executable, "-m", "keysat", "web"], "Keysat listens at", web_environment)
    try:
        assert process.ready()
        assert "metrics are not stored" in process.logs()
        assert value(scrape("http://127.0.0.1:8932"), "keysat_up") == 1
    finally:
        process.teardown()
