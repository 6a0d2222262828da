"""Broken metric files affect no request and no task, and the operator is notified."""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys

import pytest
import requests

from keysat.core import metric_files
from keysat.core.metric_values import Store, Totals
from keysat.core.metrics import _registry
from keysat.embedded.commands import child_environment
from keysat.tasks.tasks import reconcile_invoice
from tests.builders import load_licenses, make_invoice
from tests.nodes import ProcessContainer, wait_until, worker_command

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")

GARBAGE = {
    "noise": b"\xff" * 4096,
    "text": b"this is no file of metrics at all\n" * 9,
    "one byte": b"x",
    "negative": struct.pack("ii", -8, 0),
    "longer than it is": struct.pack("ii", 1 << 30, 0) + bytes(100),
    "an entry that never ends": struct.pack("iii", 64, 0, 1 << 28) + bytes(52),
    "no number": struct.pack("iii4sdd", 32, 0, 4, b"[] []"[:4], float("nan"), 0.0),
}
LABELS = ("counter", "keysat_things", "keysat_things_total", ("what",), ("one",), "Things.")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "metrics"


@pytest.fixture
def web_environment(settings, directory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"KEYSAT_METRICS_DIR": str(directory), "KEYSAT_WEB_PORT": str(port), "KEYSAT_LOG_LEVEL": "INFO"}
    return {**child_environment(settings), **own}


@pytest.fixture
def start(web_environment):
    started = []

    def begin(command, said, **more):
        process = ProcessContainer(command, said, {**web_environment, **more})
        started.append(process)
        assert process.ready()
        return process

    yield begin
    for process in started:
        process.teardown()


def web(start):
    return start([sys.executable, "-m", "keysat", "web"], "Keysat listens at")


def get(environment, path):
    return requests.get(f"http://127.0.0.1:{environment['KEYSAT_WEB_PORT']}{path}", timeout=120)


def total(environment, name):
    answer = get(environment, "/metrics")
    assert answer.status_code == 200
    return sum(float(count) for count in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.text, re.MULTILINE))


def paid_invoice(shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    return invoice


def test_corrupt_files_of_every_name_stop_neither_requests_nor_licenses(shop, start, web_environment, directory):
    directory.mkdir()
    for number, data in enumerate(GARBAGE.values()):
        for program in ("worker", f"web{web_environment['KEYSAT_WEB_PORT']}"):
            (directory / f"counter_{program}-{number}.db").write_bytes(data)
    (directory / f"counter_{socket.gethostname()}-worker-0.db").write_bytes(b"\xff" * 4096)
    (directory / "histogram_old.db").mkdir()
    web(start)
    start(worker_command(concurrency=2), " ready.")
    invoice = paid_invoice(shop)
    reconcile_invoice.delay(str(invoice.id))
    wait_until(lambda: load_licenses(invoice.id))
    assert [get(web_environment, path).status_code for path in ("/livez", "/readyz", "/v1/products")] == [200] * 3
    wait_until(lambda: total(web_environment, "keysat_licenses_issued_total") == 1)
    doctor = subprocess.run(
        [sys.executable, "-m", "keysat", "doctor"],
        env={**os.environ, **web_environment},
        capture_output=True,
        check=False,
    )
    assert doctor.returncode == 3
    assert b"FAIL  metrics:" in doctor.stdout
    status = subprocess.run(
        [sys.executable, "-m", "keysat", "status"],
        env={**os.environ, **web_environment},
        capture_output=True,
        check=False,
    )
    assert status.returncode == 3
    assert b"metrics" in status.stderr


def test_folder_that_vanishes_or_becomes_a_file_later_stops_nothing(shop, start, web_environment, directory):
    web(start)
    start(worker_command(concurrency=1), " ready.")
    for spoil in (shutil.rmtree, lambda path: [shutil.rmtree(path), path.write_bytes(b"")]):
        spoil(directory)
        invoice = paid_invoice(shop)
        reconcile_invoice.delay(str(invoice.id))
        wait_until(lambda invoice=invoice: load_licenses(invoice.id))
        assert get(web_environment, "/livez").status_code == get(web_environment, "/metrics").status_code == 200


def test_two_workers_of_one_role_count_each_license(shop, start, web_environment):
    web(start)
    invoices = [paid_invoice(shop) for _ in range(40)]
    for name in ("one", "two"):
        start([*worker_command(concurrency=2), "--hostname", f"{name}@%h"], " ready.")
    for invoice in invoices:
        reconcile_invoice.delay(str(invoice.id))
    wait_until(lambda: total(web_environment, "keysat_licenses_issued_total") == len(invoices), timeout=120)


def counted(store):
    return sum(value for key, value in store.samples() if "keysat_things" in key)


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_corrupt_file_is_set_aside(directory, data):
    directory.mkdir()
    (directory / "counter_test-0.db").write_bytes(data)
    store = Store(directory, "test")
    store.value(*LABELS).inc(3)
    assert (directory / "counter_test-0.db.corrupt").read_bytes() == data
    assert counted(Store(directory, "other")) == counted(store) == 3
    assert "set aside" in " ".join(map(str, metric_files.trouble_in(directory)))


def test_process_keeps_counting_over_what_becomes_of_its_file(directory, monkeypatch):
    monkeypatch.setattr(metric_files, "CHECK_SECONDS", 0)
    store = Store(directory, "test")
    value, file = store.value(*LABELS), directory / "counter_test-0.db"
    spoils = [
        lambda: file.write_bytes(b"\xff" * 4096),
        lambda: file.write_bytes(b""),
        lambda: os.truncate(file, 9),
        file.unlink,
        lambda: shutil.rmtree(directory),
        lambda: file.rename(directory / "elsewhere"),
        lambda: [file.unlink(), file.mkdir()],
    ]
    for count, spoil in enumerate(spoils, 1):
        value.inc(1)
        spoil()
        value.inc(0)
        assert sum(of for key, of in metric_files.read_file(file) if "keysat_things" in key) == count


def test_full_disk_costs_figures_until_there_is_room(directory, monkeypatch):
    monkeypatch.setattr("keysat.core.metric_values.RETRY_SECONDS", 0)
    store, full = Store(directory, "test"), os.open("/dev/full", os.O_WRONLY)
    value = store.value(*LABELS)
    value.inc(1)
    file = store._file
    kept, file._descriptor = file._descriptor, full
    monkeypatch.setattr(type(file), "lost", False)
    file._whole = False
    value.inc(1)
    file._descriptor = kept
    value.inc(1)
    os.close(full)
    assert counted(Store(directory, "other")) == 3


def test_next_process_takes_over_the_file_and_its_counts(directory):
    program = (
        "import sys; from pathlib import Path; from keysat.core.metric_values import Store; "
        f"Store(Path(sys.argv[1]), 'test').value(*{LABELS!r}).inc(1)"
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", program, str(directory)], check=True)
    assert [path.name for path in directory.iterdir()] == ["counter_test-0.db"]
    assert counted(Store(directory, "other")) == 5


def test_forked_child_counts_in_a_file_of_its_own(directory):
    store = Store(directory, "test")
    value = store.value(*LABELS)
    value.inc(1)
    child = os.fork()
    if child == 0:
        value.inc(10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    value.inc(1)
    assert counted(Store(directory, "other")) == 12


def test_figures_of_another_version_are_left_out(directory):
    store = Store(directory, "test")
    for key in ("[]", "null", '["keysat_reconciles", "keysat_reconciles_total", 7, ""]', '{"a": 1}', "no json"):
        store._values[key] = type(store.value(*LABELS))(store, key)
        store._values[key].inc(1)
    assert {metric.name for metric in Totals(Store(directory, "other"), list(_registry.collect())).collect()}
