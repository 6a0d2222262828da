"""All settings, with their environment variables, defaults and meanings.

`DATABASE_URL` and `BROKER_URL` have no prefix, by convention. All others start with `KEYSAT_`. An invalid value stops
the program at startup with a message that names the variable and the remedy.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from keysat.core.errors import SettingsError
from keysat.core.folders import default_data_dir, run_dir_of
from keysat.core.mail_settings import MailSettings
from keysat.core.seller_settings import SellerSettings
from keysat.core.setting_types import Absolute, BrokerUrl, DatabaseUrl, Networks, PublicUrl, Rate


def embedded_database_url(data_dir: Path) -> str:
    """Return the URL of the PostgreSQL that `keysat up` starts for a data directory."""
    return f"postgresql+psycopg2://keysat@/keysat?host={run_dir_of(data_dir)}&port=5432"


class Settings(MailSettings, SellerSettings):
    """The settings of one process, read once and never changed."""

    model_config = SettingsConfigDict(env_prefix="KEYSAT_", frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Absolute = Field(
        default_factory=default_data_dir,
        description="Where keys and the embedded servers' data live.",
    )
    database_url: DatabaseUrl = Field(
        default_factory=lambda known: embedded_database_url(known["data_dir"]),
        validate_default=False,  # which takes SQLAlchemy
        validation_alias="DATABASE_URL",
        repr=False,
        description="PostgreSQL, as postgresql://user:password@host/name; unset: the embedded server.",
    )
    broker_url: BrokerUrl = Field(
        default_factory=lambda known: f"redis+socket://{run_dir_of(known['data_dir'])}/valkey.sock",
        validation_alias="BROKER_URL",
        repr=False,
        description="Redis or Valkey, as redis://host:6379/0; unset: the embedded server.",
    )
    signing_key_file: Absolute = Field(
        default_factory=lambda known: known["data_dir"] / "signing.key",
        description="The Ed25519 key that signs licenses (mode 0600); unset: signing.key in the data directory.",
    )
    secrets_key: str = Field(
        default="",
        repr=False,
        description="Fernet keys that encrypt stored credentials, newest first, separated by commas; "
        "unset: secrets.key in the data directory.",
    )
    late_payment: Literal["issue", "review"] = Field(
        default="issue",
        description="A payment in full after the invoice expired: issue the license, or review.",
    )
    reversal: Literal["suspend", "revoke", "review"] = Field(
        default="suspend",
        description="A settled invoice refunded or made invalid: what becomes of its license.",
    )
    payment_tolerance_bps: int = Field(
        default=0,
        ge=0,
        le=5_000,
        description="Hundredths of a percent that may be missing from a full payment.",
    )
    scan_seconds: float = Field(default=15, ge=0.5, le=300, description="Seconds between beat's scans.")
    scan_queue_limit: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="A scan fills each queue up to so many messages.",
    )
    retention_days: int = Field(
        default=90,
        ge=7,
        le=36_500,
        description="Days that delivered webhooks, mail, handled events and checks are stored; the audit log stays.",
    )
    sweep_backlog: int = Field(
        default=1_000,
        ge=50,
        le=10_000_000,
        description="Due invoices of an account from which on it is swept: many are checked in one call.",
    )
    provider_timeout: float = Field(
        default=10,
        ge=0.1,
        le=14,  # a check makes up to three calls, and a task may take 45 s (celeryconfig.py)
        description="Seconds for one provider call, from the first byte to the last.",
    )
    provider_max_bytes: int = Field(
        default=1_048_576,
        ge=1_024,
        le=67_108_864,
        description="Maximum bytes of one provider response.",
    )
    backup_dir: Absolute | None = Field(
        default=None,
        description="Where your backups are put, so that a check knows how old the newest is; unset: none.",
    )
    ca_file: Absolute | None = Field(
        default=None,
        description="Certificate authorities in PEM that are trusted beside the system's, by providers' accounts and "
        "receivers alike; unset: none.",
    )
    public_url: PublicUrl = Field(
        default="",
        description="Where buyers' programs and providers reach Keysat, as https://license.example.com; "
        "unset: http at the web host and port.",
    )
    metrics_dir: Absolute = Field(
        default_factory=lambda known: known["data_dir"] / "metrics",
        description="Where workers and web servers leave their figures; unset: metrics in the data directory.",
    )
    web_host: str = Field(default="127.0.0.1", min_length=1, description="The address the web server listens on.")
    web_port: int = Field(default=8000, ge=1, le=65_535, description="The port the web server listens on.")
    web_keep_alive: int = Field(
        default=150,
        ge=1,
        le=3_600,
        description="Seconds that an idle connection stays open: longer than a proxy before it keeps its own.",
    )
    web_max_connections: int = Field(
        default=1_000,
        ge=16,
        le=100_000,
        description="Connections at once, fewer where fewer files may be open; idle ones make way for new ones.",
    )
    trusted_proxies: Networks = Field(
        default="",
        description="Addresses or networks of the proxies whose X-Forwarded-For counts, separated by commas.",
    )
    rate_validate: Rate = Field(
        default="600/minute",
        description="Validations, machine calls, polls and pages allowed to one client address, by each web process.",
    )
    rate_purchase: Rate = Field(
        default="30/minute",
        description="Purchases, redemptions and a page's actions allowed to one client address, and as many previews.",
    )
    rate_recover: Rate = Field(
        default="10/minute",
        description="Attempts to recover a license, by mail, proof, link or key, allowed to one client address.",
    )
    rate_webhook: Rate = Field(default="600/minute", description="Webhooks accepted for one provider account.")
    rate_admin: Rate = Field(default="600/minute", description="Admin calls, or failed logins, allowed to one address.")
    webhook_allow_http: bool = Field(default=False, description="Let outbound webhooks go to http:// addresses, too.")
    webhook_allowed_networks: Networks = Field(
        default="",
        description="Your own networks that outbound webhooks may reach, separated by commas; others must be public.",
    )
    webhook_concurrency: int = Field(
        default=4, ge=1, le=32, description="Outbound webhooks sent to one endpoint at the same time."
    )
    lightning_network: Literal["mainnet", "testnet", "signet", "regtest"] = Field(
        default="mainnet", description="The network that tips are paid on."
    )
    tip_max_sats: int = Field(default=50_000_000, ge=1, le=2_100_000_000_000_000, description="The largest single tip.")
    tip_daily_sats: int = Field(
        default=100_000_000,
        ge=1,
        le=2_100_000_000_000_000,
        description="What tips may come to within any 24 hours; what doesn't fit waits.",
    )
    tip_max_fee_bps: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Hundredths of a percent of a tip that its payment may cost; or 10 sats.",
    )
    tip_allowed_networks: Networks = Field(
        default="",
        description="Networks that aren't public that tips may reach, for trying it with the sandbox.",
    )
    flower_port: int = Field(default=5555, ge=1, le=65_535, description="Where Flower is shown, on 127.0.0.1.")
    celery_config: Absolute | None = Field(
        default=None,
        description="The file with Celery's settings, in place of the built-in celeryconfig.py; unset: that one.",
    )
    log_format: Literal["console", "json"] = Field(default="console", description="The format of log lines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least important log line that is shown."
    )

    @property
    def url(self) -> str:
        """The URL of Keysat, without a trailing slash."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - an address that no client can connect to
        return self.public_url or f"http://{everywhere.get(self.web_host, self.web_host)}:{self.web_port}"

    @property
    def webhook_may_be_http(self) -> bool:
        """Whether an endpoint may have an http:// address, anywhere or in the operator's own networks."""
        return self.webhook_allow_http or bool(self.webhook_allowed_networks)

    @property
    def embedded_database(self) -> bool:
        """Whether the database is the one that `keysat up` starts."""
        return str(self.run_dir) in self.database_url

    @property
    def embedded_broker(self) -> bool:
        """Whether the broker is the one that `keysat up` starts."""
        return str(self.run_dir) in self.broker_url

    @property
    def run_dir(self) -> Path:
        """The folder of the embedded servers' sockets."""
        return run_dir_of(self.data_dir)

    @property
    def secrets_key_file(self) -> Path:
        """Where the Fernet key is stored when `KEYSAT_SECRETS_KEY` is unset."""
        return self.data_dir / "secrets.key"


def variable(setting: str) -> str:
    """Return the name of a setting's variable, for errors about the setting itself."""
    return setting if setting in {"DATABASE_URL", "BROKER_URL"} else f"KEYSAT_{setting.upper()}"


@cache
def load_settings() -> Settings:
    """Read the environment, once per process.

    Raises:
        SettingsError: a variable's value is invalid. The message names every such variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        complaints = [
            f"{variable(str(item['loc'][0]))} can't be used: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
            if item["type"] != "default_factory_not_called"
        ]
        raise SettingsError("; ".join(complaints) + ".") from None


def broker_name(settings: Settings) -> str:
    """Return the broker's address for messages, without the password."""
    return settings.broker_url.partition("://")[2].rpartition("@")[2]
