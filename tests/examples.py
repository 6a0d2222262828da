"""The programs in docs/examples, as a vendor would copy them."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "examples"


def load_example(name):
    """The module of an example."""
    spec = spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
