"""Finds and reads the file with Celery's settings, by its place and never by `sys.path` or the working directory."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import keysat
from keysat.core.errors import SettingsError
from keysat.core.settings import Settings

_PACKAGE = Path(keysat.__file__).parent
_BUILT_IN = _PACKAGE / "celeryconfig.py"  # only an installed wheel has it
_OF_A_CHECKOUT = _PACKAGE.parent / "celeryconfig.py"


class CeleryConfigUnusable(SettingsError):
    """The file with Celery's settings is missing or fails."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(
            f"Celery's settings in {path} can't be used ({cause}); correct the file, or set KEYSAT_CELERY_CONFIG."
        )


def config_file(settings: Settings) -> Path:
    """Return the path in KEYSAT_CELERY_CONFIG, else the wheel's own copy, else the file beside the package."""
    # A file beside an installed package, in site-packages, would belong to another distribution.
    return settings.celery_config or (_BUILT_IN if _BUILT_IN.exists() else _OF_A_CHECKOUT)


def read_config(path: Path) -> ModuleType:
    """Run the file and return it as a module.

    Raises:
        CeleryConfigUnusable: it doesn't exist, or it raises an exception.
    """
    spec = spec_from_file_location("keysat_celeryconfig", path)
    if spec is None or spec.loader is None:
        raise CeleryConfigUnusable(path, "its name doesn't end in .py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise CeleryConfigUnusable(path, error.strerror or str(error)) from error
    except Exception as error:
        raise CeleryConfigUnusable(path, f"{type(error).__name__}: {error}") from error
    return module
