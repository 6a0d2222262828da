"""Encrypt stored credentials with Fernet keys that are never in the database."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from keysat.core.errors import SettingsError
from keysat.core.hints import Hint
from keysat.core.settings import Settings, variable


def secret_box(settings: Settings) -> MultiFernet:
    """Return a box that encrypts with the newest key and decrypts with any.

    Raises:
        SettingsError: no key is configured, or one isn't a Fernet key.
    """
    where = variable("secrets_key") if settings.secrets_key else str(settings.secrets_key_file)
    text = settings.secrets_key or _read(settings.secrets_key_file)
    try:
        return MultiFernet([Fernet(key.strip()) for key in text.split(",")])
    except ValueError:
        raise SettingsError(
            f"{where} can't be used: each key must be 32 bytes in URL-safe base64, separated by commas.",
            Hint.CREATE_SECRETS_KEY,
        ) from None


def _read(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(errors="replace").strip()
    except OSError:
        raise SettingsError(
            f"no key to encrypt stored credentials: {variable('secrets_key')} is unset and {path} can't be read.",
            Hint.CREATE_SECRETS_KEY,
        ) from None
    if mode & 0o077:
        raise SettingsError(f"{path} can be read by others; run `chmod 600 {path}`.")
    return text


def seal(box: MultiFernet, values: dict[str, str]) -> bytes:
    """Encrypt a small mapping of secrets for a column."""
    return box.encrypt(json.dumps(values, sort_keys=True).encode())


def unseal(box: MultiFernet, sealed: bytes, owner: str, *needed: str) -> dict[str, str]:
    """Decrypt the output of `seal`. `owner` is named in the error. `needed` are names that it must contain.

    Raises:
        SettingsError: no configured key fits, or the content isn't a mapping with the needed names.
    """
    try:
        values = json.loads(box.decrypt(sealed))
    except InvalidToken:
        raise SettingsError(
            f"the stored credentials of {owner} can't be decrypted with the configured keys.",
            Hint.RESTORE_SECRETS_KEY,
        ) from None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise SettingsError(f"the stored credentials of {owner} can't be read by this version; enter them again.")
    if missing := [name for name in needed if name not in values]:
        raise SettingsError(
            f"the stored credentials of {owner} contain no {' and no '.join(missing)}; enter them again."
        )
    return values


def write_private(path: Path, content: bytes) -> None:
    """Create a file that only its owner can read (0600). An existing file is never replaced.

    Raises:
        FileExistsError: the file exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
