"""Grey images in colour, such as ColorMNIST: 'colored:SOURCE'.

α-GAN (Rosca et al., 2017) does not define its ColorMNIST; our reading is one digit in one random
colour. Image i of a split is multiplied by a colour of full brightness, so that black stays black
and the digit is as bright as it was: three numbers u ~ U(0, 1), divided by the largest. They depend
on the split's name and on i alone, so a data set is the same everywhere and in every slice.
"""

import dataclasses
import zlib
from collections.abc import Iterator

import numpy as np

from gm_jax.data.reader import Example, Reader

_SEED = 0
# What a reader is told of the data; a change of what is drawn has to change it.
DRAWN = f"value × u / max u, u ~ U(0, 1)³ from RandomState([{_SEED}, crc32(split)])"


def colours(split: str, count: int) -> np.ndarray:
    """The colours of a split's first images, float64 [count, 3], whose largest number is 1."""
    # RandomState's streams are the same in every version of NumPy; a longer draw only goes on.
    drawn = np.random.RandomState([_SEED, zlib.crc32(split.encode())]).uniform(size=(count, 3))
    return drawn / drawn.max(1, keepdims=True)


def colored(grey: Reader, name: str) -> Reader:
    """The reader of a source's images in colour; levels and labels stay.

    Raises:
      ValueError: from `read`, the source's images are not grey.
    """

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        pairs = zip(grey.read(split, start, stop), colours(split, stop)[start:], strict=True)
        for example, colour in pairs:
            image = np.asarray(example.values["image"])
            if image.ndim != 3 or image.shape[-1] != 1:
                raise ValueError(
                    f"colored:{name}: {example.name} has shape {list(image.shape)}, and only grey "
                    f"images [H, W, 1] can be coloured; give data.source={name}, or grey images"
                )
            values = {**example.values, "image": np.rint(image * colour).astype(image.dtype)}
            yield example._replace(values=values)

    fingerprint = f"{grey.fingerprint} {DRAWN}"
    return dataclasses.replace(grey, fingerprint=fingerprint, read=read, drawn=DRAWN)
