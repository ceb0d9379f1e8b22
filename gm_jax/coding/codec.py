"""Lossless compression by a likelihood model (thesis 6.2.1; bits-back: Townsend et al., 2019).

A batch of images x with latents z is pushed on the stack in three moves: pop z by q(z | x), push x
by p(x | z), push z by p(z). The decoder undoes them backwards. The net bits of an image are
ln q(z | x) − ln p(x, z), in bits: on average minus the evidence lower bound, and −log₂ p(x) where q
is the posterior, or where there are no latents. The first z is popped off random words, which are
part of the file and are counted.
"""

from typing import Any

import numpy as np

from gm_jax.coding import container
from gm_jax.coding.container import Container
from gm_jax.coding.program import Given, Popped, Programs, known_fingerprint, shapes_of_latents
from gm_jax.coding.stack import Stack, constriction_module, from_bytes, random_words, to_bytes
from gm_jax.methods.method import Method
from gm_jax.training.progress import progress

_LARGEST_BATCH = 64
# The random words are those of one batch's latents: let them be a small part of the file.
_BATCHES = 256


class Codec:
    """A method's codec; it compiles programs for every batch size that it meets.

    Args:
      method: the method.
      variables: from `state.evaluation_variables`.

    Raises:
      ValueError: the method cannot be coded; the message says why. Or constriction is missing.
    """

    def __init__(self, method: Method, variables: Any):
        why = method.why_not_coded()
        if why:
            raise ValueError(f"a {method.config.method} cannot compress images: {why}")
        constriction_module()
        self._method, self._variables = method, variables
        self._takes_bits_back = shapes_of_latents(method, variables, 1)[0] > 0
        self._programs: dict[int, Programs] = {}

    def compress(self, images: np.ndarray, batch_size: int | None = None) -> bytes:
        """The contents of a `.gmz` file.

        Args:
          images: uint8 [N ≥ 1, H, W, C] in 0..levels−1.
          batch_size: images at once, for encoder and decoder; None chooses by their number.
        """
        count = len(images)
        programs = self._at(batch_size or self._batch_size(count))
        size = programs.batch_size
        # More than a batch's latents can take, at 24 bits each, and the coder's own state.
        bottom = random_words(8 + 2 * programs.num_latents) if programs.num_latents else None
        stack = Stack(bottom)
        # The stack's top is its end: the last batch is pushed first.
        with progress("compressing", count, " images") as bar:
            for start in reversed(range(0, count, size)):
                batch = images[np.minimum(np.arange(start, start + size), count - 1)]
                counted = min(size, count - start)
                self._push(programs, stack, batch, counted)
                bar.update(counted)
        if stack.emptied:
            raise ValueError(
                f"the latents of {size} images took all bits that there were; give batch_size=1"
            )
        return Container(
            fingerprint=programs.fingerprint,
            image_shape=self._method.image_shape,
            levels=self._method.levels,
            count=count,
            batch_size=size,
            pixels=container.hash_of_pixels(images),
            payload=to_bytes(stack.words()),
        ).to_bytes()

    def decompress(self, content: bytes) -> np.ndarray:
        """The images of a file, uint8 [N, H, W, C].

        Raises:
          ValueError: the file is damaged, or this model, program or machine is not the one that
            wrote it; then no image is returned.
        """
        found = container.read(content)
        shape, levels = self._method.image_shape, self._method.levels
        if (found.image_shape, found.levels) != (shape, levels):
            raise ValueError(
                f"the file has images of shape {found.image_shape} and {found.levels} levels, and "
                f"the model those of {shape} and {levels}: decode it by the model that wrote it"
            )
        container.check(found.fingerprint, known_fingerprint(self._method, self._variables))
        programs = self._at(found.batch_size)
        container.check(found.fingerprint, programs.fingerprint)
        stack, size, parts = Stack(from_bytes(found.payload)), programs.batch_size, []
        with progress("decompressing", found.count, " images") as bar:
            for start in range(0, found.count, size):
                counted = min(size, found.count - start)
                parts.append(self._pop(programs, stack, counted)[:counted])
                bar.update(counted)
        images = np.concatenate(parts)
        if container.hash_of_pixels(images) != found.pixels:
            raise ValueError(
                "the images that were decoded are not those that were encoded: this machine "
                "computes other numbers than the one that wrote the file; decode it there"
            )
        return images

    def _push(self, programs: Programs, stack: Stack, batch: np.ndarray, count: int) -> None:
        latents = programs.infer(batch, programs.no_latents, Popped(stack, count))
        given = Given(count)
        programs.generate(latents, batch, given)
        given.push(stack)

    def _pop(self, programs: Programs, stack: Stack, count: int) -> np.ndarray:
        blank = np.zeros((programs.batch_size, *self._method.image_shape), np.uint8)
        latents, batch = programs.generate(programs.no_latents, blank, Popped(stack, count))
        if programs.num_latents:
            given = Given(count)
            programs.infer(batch, latents, given)
            given.push(stack)
        return batch

    def _at(self, batch_size: int) -> Programs:
        if batch_size not in self._programs:
            self._programs[batch_size] = Programs(self._method, self._variables, batch_size)
        return self._programs[batch_size]

    def _batch_size(self, count: int) -> int:
        if self._takes_bits_back:
            return max(1, min(_LARGEST_BATCH, count // _BATCHES))
        return min(_LARGEST_BATCH, count)
