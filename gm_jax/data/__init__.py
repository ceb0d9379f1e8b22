"""Data sets by name: fields of examples, and batches of them on their way to the devices."""

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import DataSpec, Field, image_spec
from gm_jax.data.pipeline import evaluation_batches, training_batches
from gm_jax.data.sources import (
    load,
    median_side,
    source_and_split,
    split_names,
    split_of,
    split_to_read,
)

__all__ = [
    "DataSpec",
    "Dataset",
    "Field",
    "evaluation_batches",
    "image_spec",
    "load",
    "median_side",
    "source_and_split",
    "split_names",
    "split_of",
    "split_to_read",
    "training_batches",
]
