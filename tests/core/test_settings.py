"""Settings come from the environment. An invalid value is refused in one sentence that names the variable."""

import os
import re
from pathlib import Path

import pytest
from redis.connection import parse_url
from sqlalchemy import make_url

from keysat.core.errors import SettingsError
from keysat.core.settings import broker_name, load_settings


@pytest.fixture
def read_settings(monkeypatch, tmp_path):
    """An empty environment to set variables in. Returns the function that reads the settings from it, uncached."""
    for name in list(os.environ):
        if name.upper().startswith("KEYSAT_") or name.upper() in {"DATABASE_URL", "BROKER_URL", "XDG_DATA_HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def read(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return load_settings.__wrapped__()

    return read


def test_settings_defaults(read_settings):
    """Late payments get a license, reversals suspend it, and the tolerance is 0."""
    settings = read_settings()
    assert (settings.late_payment, settings.reversal, settings.payment_tolerance_bps) == ("issue", "suspend", 0)
    assert (settings.scan_seconds, settings.scan_queue_limit) == (15, 1_000)
    assert (settings.provider_timeout, settings.provider_max_bytes) == (10, 1_048_576)
    assert (settings.log_format, settings.log_level, settings.flower_port) == ("console", "INFO", 5555)
    assert settings.secrets_key == ""


def test_everything_lives_below_home_unless_said_otherwise(read_settings, tmp_path):
    settings = read_settings()
    assert settings.data_dir == tmp_path / ".local/share/keysat"
    assert settings.signing_key_file == settings.data_dir / "signing.key"
    assert settings.secrets_key_file == settings.data_dir / "secrets.key"


def test_xdg_data_home_moves_the_data(read_settings):
    assert read_settings(XDG_DATA_HOME="/srv/data").data_dir == Path("/srv/data/keysat")


def test_data_dir_moves_the_keys_and_the_servers(read_settings):
    settings = read_settings(KEYSAT_DATA_DIR="/srv/keysat")
    assert settings.signing_key_file == Path("/srv/keysat/signing.key")
    assert settings.run_dir == Path("/srv/keysat/run")


def test_without_addresses_the_embedded_servers_are_meant(read_settings):
    settings = read_settings(KEYSAT_DATA_DIR="/srv/keysat")
    assert settings.database_url == "postgresql+psycopg2://keysat@/keysat?host=/srv/keysat/run&port=5432"
    assert settings.broker_url == "redis+socket:///srv/keysat/run/valkey.sock"
    assert settings.embedded_database
    assert settings.embedded_broker


def test_given_addresses_are_not_the_embedded_servers(read_settings):
    settings = read_settings(DATABASE_URL="postgresql://db/keysat", BROKER_URL="redis://broker:6379/0")
    assert not settings.embedded_database
    assert not settings.embedded_broker
    assert settings.broker_url == "redis://broker:6379/0"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_each_usual_scheme_of_postgresql_means_psycopg2(read_settings, scheme):
    url = read_settings(DATABASE_URL=f"{scheme}://me:pw@db:5433/name?sslmode=require").database_url
    assert url == "postgresql+psycopg2://me:pw@db:5433/name?sslmode=require"


@pytest.mark.parametrize("folder", ["/tmp/" + "x" * 120, "/srv/key sat", "/srv/käysat", "/srv/100%", "/srv/a?b"])
def test_settings_long_data_dir(read_settings, folder):
    """Sockets are in /tmp if the data directory's path is too long for a socket's address."""
    settings = read_settings(KEYSAT_DATA_DIR=folder)
    assert re.fullmatch(rf"/tmp/keysat-{os.getuid()}-[0-9a-f]{{16}}", str(settings.run_dir))
    assert str(settings.run_dir) in settings.database_url
    assert settings.embedded_database
    assert settings.data_dir == Path(folder)


def test_each_such_folder_has_its_own_place_in_tmp(read_settings):
    first = read_settings(KEYSAT_DATA_DIR="/tmp/" + "x" * 120).run_dir
    assert read_settings(KEYSAT_DATA_DIR="/tmp/" + "y" * 120).run_dir != first
    assert read_settings(KEYSAT_DATA_DIR="/tmp/" + "x" * 120).run_dir == first


def test_longest_folder_that_fits_keeps_its_sockets_inside(read_settings):
    room = 107 - len("/.s.PGSQL.5432.lock") - len("/run")
    fits = "/" + "x" * (room - 1)
    assert read_settings(KEYSAT_DATA_DIR=fits).run_dir == Path(fits) / "run"
    assert read_settings(KEYSAT_DATA_DIR=fits + "x").run_dir.parent == Path("/tmp")


def test_tilde_and_relative_paths_become_absolute(read_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_settings(KEYSAT_DATA_DIR="~/keys").data_dir == tmp_path / "keys"
    assert read_settings(KEYSAT_DATA_DIR="here/data").data_dir == tmp_path / "here/data"
    assert read_settings(KEYSAT_SIGNING_KEY_FILE="~/k.pem").signing_key_file == tmp_path / "k.pem"


def test_current_folder_is_a_folder_like_any_other(read_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read_settings(KEYSAT_DATA_DIR=".")
    assert settings.data_dir == tmp_path
    assert settings.run_dir.is_absolute()


def test_empty_variable_counts_as_unset(read_settings):
    settings = read_settings(KEYSAT_SCAN_SECONDS="", DATABASE_URL="", KEYSAT_REVERSAL="")
    assert settings.scan_seconds == 15
    assert settings.embedded_database
    assert settings.reversal == "suspend"


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("KEYSAT_LATE_PAYMENT", "review", "late_payment", "review"),
        ("KEYSAT_REVERSAL", "revoke", "reversal", "revoke"),
        ("KEYSAT_PAYMENT_TOLERANCE_BPS", "50", "payment_tolerance_bps", 50),
        ("KEYSAT_SCAN_SECONDS", "0.5", "scan_seconds", 0.5),
        ("KEYSAT_SCAN_QUEUE_LIMIT", "100000", "scan_queue_limit", 100_000),
        ("KEYSAT_PROVIDER_TIMEOUT", "14", "provider_timeout", 14),
        ("KEYSAT_PROVIDER_MAX_BYTES", "1024", "provider_max_bytes", 1024),
        ("KEYSAT_FLOWER_PORT", "8080", "flower_port", 8080),
        ("KEYSAT_LOG_FORMAT", "json", "log_format", "json"),
        ("KEYSAT_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("KEYSAT_SECRETS_KEY", "one,two", "secrets_key", "one,two"),
    ],
)
def test_each_variable_sets_its_field(read_settings, name, value, field, wanted):
    assert getattr(read_settings(**{name: value}), field) == wanted


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DATABASE_URL", "mysql://db/keysat", "postgresql://user:password@host:5432/name"),
        ("DATABASE_URL", "postgresql+psycopg://db/keysat", "postgresql://user:password@host:5432/name"),
        ("DATABASE_URL", "db.example.com", "postgresql://user:password@host:5432/name"),
        ("BROKER_URL", "amqp://broker", "redis://host:6379/0"),
        ("BROKER_URL", "broker:6379", "redis://host:6379/0"),
        ("BROKER_URL", "redis", "redis://host:6379/0"),
        ("DATABASE_URL", "postgresql://db:port/keysat", "postgresql://user:password@host:5432/name"),
        ("KEYSAT_DATA_DIR", "~nosuchuser/keysat", "home"),
        ("KEYSAT_LATE_PAYMENT", "maybe", "'issue' or 'review'"),
        ("KEYSAT_REVERSAL", "burn", "'suspend', 'revoke' or 'review'"),
        ("KEYSAT_PAYMENT_TOLERANCE_BPS", "-1", "greater than or equal to 0"),
        ("KEYSAT_PAYMENT_TOLERANCE_BPS", "5001", "less than or equal to 5000"),
        ("KEYSAT_PAYMENT_TOLERANCE_BPS", "0.5", "integer"),
        ("KEYSAT_SCAN_SECONDS", "0.1", "greater than or equal to 0.5"),
        ("KEYSAT_SCAN_SECONDS", "nan", "300"),
        ("KEYSAT_SCAN_SECONDS", "inf", "300"),
        ("KEYSAT_SCAN_SECONDS", "often", "number"),
        ("KEYSAT_SCAN_QUEUE_LIMIT", "0", "greater than or equal to 1"),
        ("KEYSAT_PROVIDER_TIMEOUT", "15", "less than or equal to 14"),
        ("KEYSAT_PROVIDER_MAX_BYTES", "1", "greater than or equal to 1024"),
        ("KEYSAT_FLOWER_PORT", "65536", "less than or equal to 65535"),
        ("KEYSAT_LOG_FORMAT", "xml", "'console' or 'json'"),
        ("KEYSAT_LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_value_that_cannot_be_used_is_refused_in_one_sentence(read_settings, name, value, remedy):
    with pytest.raises(SettingsError) as refusal:
        read_settings(**{name: value})
    sentence = str(refusal.value)
    assert sentence.startswith(f"{name} can't be used: ")
    assert remedy in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_all_unusable_variables_are_named_at_once(read_settings):
    with pytest.raises(SettingsError) as refusal:
        read_settings(KEYSAT_REVERSAL="burn", BROKER_URL="amqp://x", KEYSAT_SCAN_SECONDS="x")
    for name in ("KEYSAT_REVERSAL", "BROKER_URL", "KEYSAT_SCAN_SECONDS"):
        assert f"{name} can't be used" in str(refusal.value)


def test_refused_address_does_not_repeat_its_password(read_settings):
    with pytest.raises(SettingsError) as refusal:
        read_settings(DATABASE_URL="mysql://me:hunter2@db/keysat")
    assert "hunter2" not in str(refusal.value)


def test_settings_do_not_show_the_secrets_key(read_settings):
    assert "hush-hush" not in repr(read_settings(KEYSAT_SECRETS_KEY="hush-hush"))


def test_settings_do_not_show_the_passwords_in_addresses(read_settings):
    settings = read_settings(DATABASE_URL="postgresql://me:hunter2@db/keysat", BROKER_URL="redis://:hunter2@broker/0")
    assert "hunter2" not in repr(settings)


def test_settings_never_change(read_settings):
    with pytest.raises(ValueError, match="frozen"):
        read_settings().reversal = "revoke"


def test_environment_is_read_once(settings):
    assert load_settings() is load_settings()
    assert load_settings() == settings


def test_broker_is_named_without_its_password(read_settings):
    assert broker_name(read_settings(BROKER_URL="redis://:hunter2@broker:6379/0")) == "broker:6379/0"
    assert broker_name(read_settings(BROKER_URL="redis://broker:6379/0")) == "broker:6379/0"


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("KEYSAT_PUBLIC_URL", "license.example.com", "must look like https://license.example.com"),
        ("KEYSAT_PUBLIC_URL", "https://user:pass@example.com", "without password"),
        ("KEYSAT_PUBLIC_URL", "https://[", "must look like"),
        ("KEYSAT_TRUSTED_PROXIES", "10.0.0.0/8, proxy", "proxy is no IP address or network"),
        ("KEYSAT_RATE_PURCHASE", "a lot", "must look like 30/minute"),
        ("KEYSAT_WEB_PORT", "70000", "less than or equal to 65535"),
    ],
)
def test_settings_of_the_web_server_are_checked(read_settings, variable, value, complaint):
    with pytest.raises(SettingsError, match=f"^{variable} can't be used: .*{complaint}"):
        read_settings(**{variable: value})


def test_public_url_is_the_web_servers_own_until_it_is_set(read_settings):
    assert read_settings(KEYSAT_WEB_PORT=8123).url == "http://127.0.0.1:8123"
    assert read_settings(KEYSAT_WEB_HOST="0.0.0.0").url == "http://127.0.0.1:8123"
    assert read_settings(KEYSAT_PUBLIC_URL="https://license.example.com/").url == "https://license.example.com"


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("BROKER_URL", "redis://:hunter/2@broker:6379/0"),
        ("BROKER_URL", "rediss://me:hunter?2@broker:6379/0"),
        ("BROKER_URL", "redis://:hunter#2@broker:6379/0"),
        ("BROKER_URL", "redis://me:42/hunter@broker:6379/0"),
        ("DATABASE_URL", "postgresql://me:2@hunter@db/keysat"),
    ],
)
def test_settings_password_in_host(read_settings, variable, url):
    """A URL parser takes a part of the password for the host or the port, and repeats it in its errors."""
    with pytest.raises(SettingsError, match=f"{variable} can't be used: .* %") as refusal:
        read_settings(**{variable: url})
    assert "hunter" not in str(refusal.value)


def test_password_may_have_any_character_that_is_escaped(read_settings):
    settings = read_settings(
        DATABASE_URL="postgresql://me:a%40b%2Fc@db/keysat", BROKER_URL="rediss://:a%40b%2Fc%3F%23@broker:6379/0"
    )
    assert make_url(settings.database_url).password == "a@b/c"
    assert parse_url(settings.broker_url)["password"] == "a@b/c?#"
    assert read_settings(BROKER_URL="redis+socket:///run/a@b/valkey.sock").broker_url.endswith("a@b/valkey.sock")
