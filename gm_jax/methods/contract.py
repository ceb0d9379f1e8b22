"""What a published algorithm offers, and all that the rest of the project asks of it.

A method is one file beside this one, a line in `methods.METHODS` and a page in `configs/`. It is
built from its config and from what it must know of the images, and its functions are pure: they run
under `jit`, on one device or on many. A function that a method cannot offer it leaves out, and
whoever needs it says so.

So that many devices compute what one does, `train_step` moves its networks by
`state.update_player`, one call a player, and draws all noise by `nn.per_example`; `state.total`
makes a loss of its terms.

Of the page the project reads `method`, `variant`, `seed`, `data` and `train` (all fields, as in
`configs/pixelcnn.py`), `evaluate.batch_size`, with `reconstruct` also
`evaluate.num_reconstructions` and `.reconstruction_draws`, with `sample` also `sample.num_images`,
`.batch_size` and `.temperature`; and `model.matmul_dtype` to benchmark. The rest is the method's.
"""

from typing import Any, Protocol

import jax

from gm_jax.state import TrainState

Array = jax.Array
Tree = Any


class Method(Protocol):
    """A published algorithm: its networks, losses and the order of its updates.

    `batch` is {`image`: uint8 [B, H, W, C] in 0..levels−1, `label`: int32 [B] where there are
    labels, `index`: int32 [B], which keys the noise of each example}. `rng` is a key of the run.
    `variables` are those of `state.evaluation_variables`: {network: {collection: tree}}, averaged
    parameters where an average is kept, and statistics.

    Attributes, of those that have a use for them:
      likelihood_is_exact: of `log_likelihood`; False for a lower bound.
      likelihood_is_bracketed: True for a density that a model was given afterwards.
      validation_score: the term of `score` (or `bits_per_dim`) whose lowest value on validation
        chooses the best checkpoint; None takes the latest. Without it: bits/dim where there is a
        likelihood, else the latest.
      class_conditional: True to be given labels, one of each class in turn where nobody chooses.
      image_shape, levels, and each network's module under its name, with `free_fields`: to start
        from other runs (`training.pretrained`).
    A method that others take as `frozen.generator` has what `gan_likelihood.NEEDED` lists.
    """

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        """Refuses, by a ValueError that names value and way out, what does not fit together.

        A method with trained models within it also takes `frozen` (`training.frozen`).
        """

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """The state at step 0, from the images of `batch`, the same in every process.

        A method that starts from other runs also takes `pretrained`, of `Run.pretrained`.
        """

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """Updates every network, in one functional update of the state.

        Args:
          state: of the step before.
          batch: a device's share of the global batch, without `index`.
          rng: the same key in every step; the step is folded in within.
          axis_name: the mapped axis over which the global batch is split, if any.

        Returns:
          The new state and {name: scalar}: the loss, the terms that sum to it, and what else is
          worth a curve, each the mean over the global batch.
        """

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """`log_likelihood` and its parts by name, in nats [B]."""

    def score(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """What else than a likelihood validation and test images are judged by, by name, [B]."""

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws images.

        Args:
          variables: see above.
          rng: a key.
          num_images: B, where no `index` is given.
          labels: int32 [B] where the method is conditioned on classes, else None.
          temperature: scales the standard deviations of prior and decoder, divides the logits of
            mixtures.
          index: int32 [B]; image i of a larger set of samples is the same in any batch.

        Returns:
          `image`, and images on the way by name, uint8 [B, H, W, C].
        """

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images and decodes them `num_draws` times.

        Returns:
          `image`, further draws `image_2`, `image_3`, … (`images.numbered`), and images on the way
          by name, uint8 [B, H, W, C].
        """

    def encode(self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array) -> Tree:
        """Draws latents from the posterior: a tree of [B, ...]."""

    def decode(
        self, variables: dict[str, Tree], latents: Tree, rng: Array, index: Array
    ) -> dict[str, Array]:
        """Images given latents of `encode`, named as those of `sample`, uint8 [B, H, W, C].

        Args:
          variables: see above.
          latents: a tree of [B, ...].
          rng: a key of what is drawn given the latents.
          index: int32 [B], keys it.

        A method that is conditioned on classes also takes `labels`.
        """
