"""Black and white images: 'binary:SOURCE', for models whose pixels are Bernoulli variables.

A pixel is 1 where it is brighter than half of the brightest level. A likelihood of these images is
not one of the source's: they are another data set. Nor is it one of MNIST as most papers binarise
it, which draw each pixel with the probability of its brightness.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from gm_jax.data.reader import Example, Reader


def binary(source: Reader, name: str) -> Reader:
    """The reader of a source's images with 2 levels; labels stay."""
    levels = source.fields["image"].levels
    assert levels is not None  # images have levels

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        for example in source.read(split, start, stop):
            bright = 2 * np.asarray(example.values["image"], np.int32) > levels - 1
            yield example._replace(values={**example.values, "image": bright.astype(np.uint8)})

    fields = {**source.fields, "image": source.fields["image"]._replace(levels=2)}
    fingerprint = f"{source.fingerprint} brighter than half"
    return dataclasses.replace(source, fields=fields, fingerprint=fingerprint, read=read)
