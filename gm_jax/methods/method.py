"""What a method defines, and what follows from it.

A published method is one file beside this one, a line in `methods.METHODS` and a page in
`configs/`. It defines its networks, the loss of each player and how to draw samples; this base
class derives `init`, `train_step`, `sample` and `reconstruct`. All functions are pure: they run
under `jit`, on one device or many.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import devices, distributions
from gm_jax import state as train_state
from gm_jax.choices import Choose
from gm_jax.data.fields import DataSpec, main_field
from gm_jax.dequantization import CENTRED, dequantize, requantize
from gm_jax.images import numbered
from gm_jax.methods.player import Batch, Player, Updates, Variables, in_order, moments, play
from gm_jax.nn import rematerialize
from gm_jax.nn.noise import Noise
from gm_jax.state import Loss, TrainState

Array = jax.Array
Tree = Any
__all__ = ["Batch", "Choose", "Loss", "Method", "Noise", "Player", "Variables", "matmul"]
# {model.matmul_dtype: (dtype of the inputs of matrix products, precision of float32 products)}
_MATMULS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "tensorfloat32"),  # on GPUs; on TPUs three passes of bfloat16
    "bfloat16": ("bfloat16", "highest"),  # whatever stays float32, such as sums, is exact
}


def matmul(config: Any) -> tuple[str, str]:
    """The dtype of the inputs of matrix products, and the precision of float32 products.

    Raises:
      ValueError: `model.matmul_dtype` is unknown.
    """
    name = config.model.matmul_dtype
    if name not in _MATMULS:
        raise ValueError(f"model.matmul_dtype is '{name}'; choose among {', '.join(_MATMULS)}")
    return _MATMULS[name]


class Method:
    """A published algorithm: its networks, its losses and the order of its updates.

    `variables` is {network: {collection: tree}}. `batch` is {field: [B, ...]} with the data's
    fields and `index`, int32 [B], the global number of each example. `noise` is the only source of
    randomness.

    A method defines `__init__`, `init_networks` and those of `draw`, `encode`, `decode`,
    `resample`, `log_likelihood`, `score`, `translate`, `generate`, `sample_latents` and
    `conditional_log_prob` that it can offer; `capabilities` lists them. It may override
    `check_latents` and `interpolate`. One whose images can be coded (`gm_jax/coding/`) defines
    `code_image` and, if it has latents, `code_latents`; `why_not_coded` says why others cannot.

    Attributes that a method sets:
      likelihood: the kind of its `log_likelihood`: exact; a lower bound; an estimate; or bracketed,
        a bound on a density that was added to a model afterwards. None if it has no likelihood.
      needs: fields that the data must have.
      channels: the numbers of image channels that its networks accept; () accepts any.
      players: the updates of a step, in order. A player may appear more than once; the players in a
        tuple move simultaneously, from the same parameters.
      validation_score: the score (`bits_per_dim`, `nats` for points, or a term of `score`) whose
        lowest value on validation data selects the best checkpoint; None selects the latest.
      class_conditional: whether it is conditioned on labels (`condition_on_classes`).
      num_latents: length of the latent vector that `generate` takes.
      generator_networks: the networks that `generate` reads.
      num_codes: K if `encode` returns codes, integers in 0..K−1; 0 if it returns other latents.

    Attributes that it has from its config:
      ema_decay: decay of the parameter average used for evaluation; 0 keeps no average.

    Args:
      config: a config from `configs/`.
      data: the fields of the examples.
      frozen: {name: method}, the trained models that it contains (`training.frozen`).

    Raises:
      ValueError: config and data do not fit together.
    """

    likelihood: Literal["exact", "bound", "estimate", "bracketed"] | None = None
    needs: tuple[str, ...] = ("image",)
    channels: tuple[int, ...] = ()
    players: Updates = ()
    ema_decay: float = 0.0
    validation_score: str | None = None
    class_conditional: bool = False
    num_classes: int | None = None
    num_latents: int = 0
    generator_networks: tuple[str, ...] = ()
    num_codes: int = 0
    image_shape: tuple[int, int, int]  # set if the data has images, as is `levels`
    levels: int

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, "Method"] | None = None):
        del frozen
        self.config, self.model, self.data = config, config.model, data
        self.dtype = jnp.dtype(matmul(config)[0])
        self.ema_decay = config.model.ema_decay
        name = type(self).__name__
        for field in self.needs:
            if field not in data:
                raise ValueError(
                    f"data.source '{config.data.source}' has no {field}s, which {name} needs; it "
                    f"has {', '.join(data)}: choose another data.source"
                )
        if "image" in data:
            (height, width, channels), levels = data["image"].shape, data["image"].levels
            assert levels is not None  # images have levels
            self.image_shape, self.levels = (height, width, channels), levels
            if self.channels and self.image_shape[-1] not in self.channels:
                raise ValueError(
                    f"images of {self.image_shape[-1]} channels: {name} models images of "
                    f"{' or '.join(map(str, self.channels))}"
                )
        if (self.likelihood is None) == ("log_likelihood" in self.capabilities):
            raise TypeError(f"{name}: `likelihood` says what `log_likelihood` is; write both")
        if self.likelihood is not None and self.validation_score is None:
            self.validation_score = "bits_per_dim" if "image" in data else "nats"

    def condition_on_classes(self, class_conditional: bool) -> int | None:
        """Sets whether the method is class-conditional; returns the number of classes, or None.

        Raises:
          ValueError: the images have no labels to condition on.
        """
        if class_conditional and "label" not in self.data:
            raise ValueError(
                "model.class_conditional is True, but the images have no labels; set it to False, "
                "or choose a data.source with labels"
            )
        self.class_conditional = class_conditional
        self.num_classes = self.data["label"].num_classes if class_conditional else None
        return self.num_classes

    # What a method defines.

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network on the examples of a batch, identically in every process.

        A method that can start from other runs also takes `pretrained`, from `Run.pretrained`.
        """
        raise NotImplementedError

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws `image` and named intermediate images, uint8 [B, H, W, C]; or `point` [B, D].

        Args:
          variables: from `state.evaluation_variables`.
          noise: the length of its index is B.
          labels: int32 [B] if the method is class-conditional, else None.
          temperature: scales the standard deviations of prior and decoder, and divides the logits
            of mixtures.
        """
        raise NotImplementedError

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Tree:
        """Draws latents from the posterior: a tree of [B, ...]."""
        raise NotImplementedError

    def decode(
        self, variables: Variables, latents: Tree, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Decodes latents from `encode` to images (or points), named as in `draw`."""
        raise NotImplementedError

    def resample(
        self, variables: Variables, batch: Batch, noise: Noise, level: int
    ) -> dict[str, Array]:
        """Draws images anew that share the first `level` layers of an image's latents.

        They are named as in `draw`. With level 0 nothing is shared.
        """
        raise NotImplementedError

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """Returns `log_likelihood` and its parts by name, in nats [B]."""
        raise NotImplementedError

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """Scores examples by measures other than a likelihood: {name: [B]}."""
        raise NotImplementedError

    def translate(
        self, variables: Variables, batch: Batch, noise: Noise, direction: str
    ) -> dict[str, Array]:
        """Translates examples of one domain of a pair to the other.

        Args:
          variables: from `state.evaluation_variables`.
          batch: examples of the domain that the direction starts from, named without a suffix.
          noise: their noise.
          direction: one of `fields.DIRECTIONS`.

        Returns:
          `image` (or `point`), [B, ...] as the other domain's field says; `cycle`, that translated
          back; and `cycle_error` [B], the mean distance of an example's values from it, for images
          on the scale [−1, 1] and before they are rounded to levels.
        """
        raise NotImplementedError

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, `num_latents`] to images in [−1, 1]; differentiable."""
        raise NotImplementedError

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Tree:
        """Draws latents from the prior, for `decode`."""
        raise NotImplementedError

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Tree, noise: Noise
    ) -> Array:
        """ln p(x | z) of images, given latents from any source, in nats [B]."""
        raise NotImplementedError

    def code_latents(
        self, variables: Variables, image: Array, latents: Tree, choose: Choose
    ) -> Tree:
        """The numbers by which latents of images are coded, where q(z | x) draws them.

        Args:
          variables: from `state.evaluation_variables`.
          image: uint8 [B, H, W, C].
          latents: a tree like the result; what `choose` is given.
          choose: chooses every number that is not a function of the image, by its masses under
            q(z | x) and what was chosen before.

        Returns:
          A tree of int32 [B, ...]; a method without latents has none.
        """
        return ()

    def code_image(
        self, variables: Variables, latents: Tree, image: Array, choose: Choose
    ) -> tuple[Tree, Array]:
        """The latents' numbers and the images that `choose` chooses, by p(z) and p(x | z).

        The product of all masses is p(x, z). A mass may depend on what was chosen before, and on
        nothing else: the decoder has neither latents nor image.

        Args:
          variables, choose: as for `code_latents`.
          latents, image: what `choose` is given.

        Returns:
          The tree of latents, and uint8 [B, H, W, C].
        """
        raise NotImplementedError

    def why_not_coded(self) -> str:
        """The end of a sentence that says why `code_image` cannot code images; "" if it can."""
        if type(self).code_image is not Method.code_image:
            return ""
        if self.likelihood is None:
            return "it has no likelihood"
        return f"its likelihood ({self.likelihood}) is not written as masses of value after value"

    def check_latents(self, latents: Tree) -> None:
        """ValueError for latents on the host, a tree of [N, ...], that `decode` cannot take."""

    def interpolate(self, start: Tree, end: Tree, weights: np.ndarray) -> Tree:
        """Interpolates between two latents [1, ...] at weights [n] in [0, 1], to [n, ...].

        The path is a straight line, which suits Gaussian latents; a method may override it.
        """

        def line(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            t = weights.reshape(-1, *(1 for _ in a.shape[1:]))
            return (1 - t) * a + t * b

        return jax.tree.map(line, start, end)

    # What follows from it.

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """The names of what the method offers, including `sample` and `reconstruct`."""
        own = type(self)
        offered = {
            "sample": own.draw is not Method.draw,
            "encode": own.encode is not Method.encode,
            "decode": own.decode is not Method.decode,
            "resample": own.resample is not Method.resample,
            "log_likelihood": own.log_likelihood is not Method.log_likelihood,
            "score": own.score is not Method.score,
            "translate": own.translate is not Method.translate,
            "generate": own.generate is not Method.generate,
            "sample_latents": own.sample_latents is not Method.sample_latents,
            "conditional_log_prob": own.conditional_log_prob is not Method.conditional_log_prob,
        }
        offered["reconstruct"] = offered["encode"] and offered["decode"]
        return frozenset(name for name, is_offered in offered.items() if is_offered)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """{name: Flax module}: the networks that the method stores as attributes."""
        return {name: value for name, value in vars(self).items() if isinstance(value, nn.Module)}

    @property
    def batches_per_step(self) -> int:
        """The number of fresh batches that a step takes."""
        return 1 + max(player.batch for player in in_order(self.players))

    def init(
        self, key: Array, batch: Batch, pretrained: dict[str, Tree] | None = None
    ) -> TrainState:
        """The state at step 0.

        Raises:
          ValueError: parameters are averaged but batch statistics are not, so they do not match.
        """
        batch = devices.numbered(batch)
        network_key, noise_key = jax.random.split(key)
        arguments = (network_key, batch, Noise(noise_key, batch["index"]))
        initialize: Callable[..., Variables] = self.init_networks
        if pretrained:
            variables = initialize(*arguments, pretrained=pretrained)
        else:
            variables = initialize(*arguments)
        params = {name: collections["params"] for name, collections in variables.items()}
        statistics = {
            name: {kind: tree for kind, tree in collections.items() if kind != "params"}
            for name, collections in variables.items()
            if len(collections) > 1
        }
        if self.ema_decay and statistics:
            raise ValueError(
                f"model.ema_decay is {self.ema_decay}: the running statistics of "
                f"{', '.join(statistics)} do not fit averaged parameters; set it to 0"
            )
        optimizers = {
            player.name: (player.networks, player.optimizer) for player in in_order(self.players)
        }
        return train_state.create(params, optimizers, self.ema_decay > 0, statistics)

    def train_step(
        self, state: TrainState, batch: Batch | tuple[Batch, ...], key: Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Updates the `players` in order.

        A method overrides it only if players cannot express its paper's order of updates.

        Args:
          state: the state after the previous step.
          batch: a device's share of the global batch, or of each of `batches_per_step` batches.
          key: the same at every step; the step is folded in here.

        Returns:
          The new state and {name: scalar}: each player's loss, the terms that sum to it and its
          curves, as means over the global batch. For a player that moves several times they come
          from its last update.
        """
        batches = batch if isinstance(batch, tuple) else (batch,)
        key = jax.random.fold_in(key, state.step)
        shares, num_parts = [*map(devices.numbered, batches)], self.config.train.accumulate_steps
        with rematerialize.rematerialize(self.config.train.rematerialize):
            state, terms = play(self.players, state, shares, key, num_parts)
        return train_state.advance(state, self.ema_decay), terms

    def moments(
        self, variables: Variables, batch: Batch | tuple[Batch, ...], key: Array, step: Array
    ) -> dict[str, Tree]:
        """{network: the moments by which its batch norms normalise in a step's losses}.

        No network moves. The arguments are those of `train_step`, but for the key of this batch.
        """
        batches = batch if isinstance(batch, tuple) else (batch,)
        return moments(self.players, variables, [*map(devices.numbered, batches)], key, step)

    def sample(
        self,
        variables: Variables,
        key: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Calls `draw` for `num_images` images, or for those at `index` [B] of a larger sample set.

        Image i of the set is the same in whichever batch it is drawn.
        """
        self.check_labels(labels)
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        return self.draw(variables, Noise(key, index), labels, temperature)

    def reconstruct(
        self, variables: Variables, batch: Batch, noise: Noise, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images once and decodes them `num_draws` times.

        Returns:
          The intermediate images by name, `image` (or `point`), and further draws `image_2`, …,
          which are draws of `with_noise` if the decoder offers it.
        """
        (encoding, decoding), main = noise.split(), main_field(self.data)
        latents = self.encode(variables, batch, encoding)
        labels = self.label(batch)
        drawn = jax.lax.map(
            lambda key: self.decode(variables, latents, decoding.replace(key=key), labels),
            jax.random.split(decoding.key, num_draws),
        )
        further = drawn["with_noise" if "with_noise" in drawn else main][1:]
        on_the_way = {name: x[0] for name, x in drawn.items() if name not in (main, "with_noise")}
        return {**on_the_way, **numbered([drawn[main][0], *further], main)}

    # What methods share.

    def label(self, batch: Batch) -> Array | None:
        """The labels of a batch if the method is class-conditional, else None."""
        return self.check_labels(batch.get("label")) if self.class_conditional else None

    def check_labels(self, labels: Array | None) -> Array | None:
        """Returns the labels; ValueError if they are missing, or if the method takes none."""
        if self.class_conditional == (labels is None):
            needs = "give labels" if self.class_conditional else "give none (labels=None)"
            raise ValueError(
                f"{type(self).__name__}: class_conditional is {self.class_conditional}: {needs}"
            )
        return labels

    def scale(self, images: Array) -> Array:
        """Scales images, uint8 in 0..levels−1, to float32 in [−1, 1]."""
        return distributions.scale_to_unit(images, self.levels)

    def real(self, batch: Batch, noise: Noise) -> Array:
        """What a discriminator sees of the data: points, or images in [−1, 1], float32 [B, ...].

        Samples are continuous, so real images are dequantised: their grid would give them away.
        """
        if "image" not in self.data:
            return batch["point"]
        return dequantize(batch["image"], self.levels, noise, CENTRED)

    def examples(self, x: Array) -> dict[str, Array]:
        """What a generator makes of [B, ...], named and scaled as the data: `image` or `point`."""
        if "image" not in self.data:
            return {"point": x}
        return {"image": requantize(x, self.levels, CENTRED)}

    def bits(self, log_likelihood: Array) -> Array:
        """Bits/dim of a batch whose log-likelihoods in nats are [B]."""
        return distributions.bits_per_dim(jnp.mean(log_likelihood), self.image_shape)
