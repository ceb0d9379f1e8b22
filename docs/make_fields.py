"""Makes docs/fields.md, the ranges and meanings of a config's numbers, from `gm_jax/ranges.py`.

python docs/make_fields.py
"""

from pathlib import Path

from gm_jax import ranges

HEAD = """# Fields of a config

What the numbers of a page mean, and which of them are taken; of a tuple every element is in the
range. The first row whose pattern fits a field counts. `python docs/make_fields.py` makes this
table from `gm_jax/ranges.py`, which refuses everything else before anything is built.

"""


def make() -> str:
    """The page."""
    return HEAD + ranges.documented()


if __name__ == "__main__":
    path = Path(__file__).resolve().parent / "fields.md"
    path.write_text(make(), encoding="utf-8")
