"""What a pixel of an autoregressive network sees (thesis 2.8, fig. 2.7; tutorial, part I).

    python experiments/primer/receptive_fields.py [--output=DIR]

The gradient of a pixel's parameters by the image is not zero where the network looks. `fields.png`
has the receptive field of the same pixel in PixelCNN++ with 0, 1, 2 and 4 blocks in one scale, and
then with 1 block in 3 scales: pixels before it in raster order alone, with no blind spot to the
right above it, and wider by less than a block costs where scales are halved.
"""

import sys
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures
from gm_jax.networks.pixelcnn import PixelCNN

Array = jax.Array
SIDE, ROW, COLUMN = 32, 20, 16


def field(num_blocks: int, num_scales: int) -> np.ndarray:
    """Which pixels reach the parameters of pixel (ROW, COLUMN), bool [SIDE, SIDE].

    Parameters are drawn at random, none of them 0.
    """
    network = PixelCNN(num_scales, num_blocks, 4, 2, 0.0, 0.5, 0.5)
    generator, index = np.random.default_rng(0), jnp.arange(1)
    x = jnp.asarray(generator.normal(size=(1, SIDE, SIDE, 1)), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, index)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * generator.normal(size=leaf.shape), leaf.dtype), shapes
    )

    @jax.jit
    def gradient(x: Array) -> Array:
        def seen(x: Array) -> Array:
            outputs = cast(Array, network.apply(variables, x, index))
            return jnp.sum(outputs[0, ROW, COLUMN])

        return jax.grad(seen)(x)

    return np.asarray(gradient(x))[0, ..., 0] != 0


def main() -> None:
    """Counts and draws."""
    pictures, before = [], ROW * SIDE + COLUMN
    for blocks, scales in ((0, 1), (1, 1), (2, 1), (4, 1), (1, 3)):
        seen = field(blocks, scales)
        print(f"{blocks} blocks, {scales} scales: sees {seen.sum()} of {before} pixels before it")
        picture = np.where(seen, 200, 40).astype(np.uint8)
        picture[ROW, COLUMN] = 255
        pictures.append(picture[..., None])
    figures.save_images("fields.png", [np.stack(pictures)])


if __name__ == "__main__":
    figures.run(main)
