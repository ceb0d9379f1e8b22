"""Writes docs/fields.md, the ranges and meanings of a config's fields, from `gm_jax/ranges.py`.

python docs/make_fields.py
"""

from pathlib import Path

from gm_jax import ranges

HEAD = """# Fields of a config

The meanings of a config's fields, and the values that they accept; every element of a tuple must be
in the range. The first row whose pattern matches a field applies. `python docs/make_fields.py`
writes this table from `gm_jax/ranges.py`, which refuses all other values before anything is built.

"""


def make() -> str:
    """The page."""
    return HEAD + ranges.documented()


if __name__ == "__main__":
    path = Path(__file__).resolve().parent / "fields.md"
    path.write_text(make(), encoding="utf-8")
