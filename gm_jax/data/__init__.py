"""Images by name, and batches of them on their way to the devices."""

from gm_jax.data.pipeline import evaluation_batches, training_batches
from gm_jax.data.sources import ImageDataset, load, split_names

__all__ = ["ImageDataset", "evaluation_batches", "load", "split_names", "training_batches"]
