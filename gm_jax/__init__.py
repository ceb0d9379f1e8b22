"""Image models that are likelihood models and adversarial models at once, in JAX."""

import importlib
from typing import Any

__version__ = "0.1.0"  # read by setup.py; CITATION.cff and CHANGELOG.md have it, too


def __getattr__(name: str) -> Any:
    if name == "load":  # imported when asked for: it takes JAX along
        return importlib.import_module("gm_jax.load")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
