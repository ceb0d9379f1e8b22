"""Where installed packages keep their files."""

import importlib.util
from pathlib import Path

# Packages that only an extra of setup.py installs.
_EXTRAS = {"skimage": "photos"}


def package_folder(name: str) -> Path:
    """Returns the folder of an installed package without importing it (an import takes seconds).

    Raises:
      ValueError: the package is not installed.
    """
    specification = importlib.util.find_spec(name)
    if specification is None or not specification.submodule_search_locations:
        what = f"'.[{_EXTRAS[name]}]'" if name in _EXTRAS else "."
        raise ValueError(f"the package {name!r} is not installed; run `pip install -e {what}`")
    return Path(next(iter(specification.submodule_search_locations)))
