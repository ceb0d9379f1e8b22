"""Where installed packages keep their files."""

import importlib.util
from pathlib import Path


def package_folder(name: str) -> Path:
    """Returns the folder of an installed package without importing it (an import takes seconds).

    Raises:
      ValueError: the package is not installed.
    """
    specification = importlib.util.find_spec(name)
    if specification is None or not specification.submodule_search_locations:
        raise ValueError(f"the package {name!r} is not installed; run `pip install -e .`")
    return Path(next(iter(specification.submodule_search_locations)))
