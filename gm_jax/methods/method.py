"""What a method writes, and what is derived of it.

A published method is one file beside this one, a line in `methods.METHODS` and a page in
`configs/`. It says which networks there are, what each player wants, and how to draw; this base
class makes `init`, `train_step`, `sample` and `reconstruct` of it. All functions are pure: they run
under `jit`, on one device or on many.
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
from gm_jax.data.fields import DataSpec, main_field
from gm_jax.images import numbered
from gm_jax.methods.player import Batch, Player, Updates, Variables, in_order, play
from gm_jax.nn.noise import Noise
from gm_jax.state import Loss, TrainState

Array = jax.Array
Tree = Any
__all__ = ["Batch", "Loss", "Method", "Noise", "Player", "Variables", "matmul"]
# {model.matmul_dtype: (inputs of matrix work, precision of its float32 products)}
_MATMULS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "tensorfloat32"),  # on GPUs; on TPUs three passes of bfloat16
    "bfloat16": ("bfloat16", "highest"),  # what stays float32, such as sums, is exact
}


def matmul(config: Any) -> tuple[str, str]:
    """The dtype of what matrix work multiplies, and the precision of its float32 products.

    Raises:
      ValueError: `model.matmul_dtype` is none of those that there are.
    """
    name = config.model.matmul_dtype
    if name not in _MATMULS:
        raise ValueError(f"model.matmul_dtype is '{name}'; choose among {', '.join(_MATMULS)}")
    return _MATMULS[name]


class Method:
    """A published algorithm: its networks, losses and the order of its updates.

    `variables` is {network: {collection: tree}}. `batch` is {field: [B, ...]} of the data's fields,
    with `index`, int32 [B], each example's global number. `noise` is all that is random.

    A method writes `__init__` and `init_networks`, and of `draw`, `encode`, `decode`,
    `log_likelihood`, `score`, `generate`, `sample_latents` and `conditional_log_prob` those that it
    can offer; `capabilities` says which they are.

    Attributes that a method sets:
      likelihood: what its `log_likelihood` is: exact; a lower bound; an estimate; or bracketed, a
        bound on a density that a model was given afterwards. None without one.
      needs: fields that the data must have.
      channels: numbers of an image's channels that its networks take; () takes any.
      players: the updates of a step, in order. A player may stand more than once; a tuple of
        players moves them simultaneously, from the same parameters.
      ema_decay: of the average of the parameters that is evaluated; 0 keeps none.
      validation_score: the name (`bits_per_dim`, of points `nats`, or a term of `score`) whose
        lowest value on validation chooses the best checkpoint; None takes the latest.
      class_conditional: whether it is given labels (`condition_on_classes`).
      num_latents, generator_networks: of `generate`, and all that it reads.

    Args:
      config: a page of `configs/`.
      data: the fields of its examples.
      frozen: {name: method} of the trained models within it (`training.frozen`).

    Raises:
      ValueError: what does not fit together, with the value and the way out.
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
    image_shape: tuple[int, int, int]  # of the data's images, where it has any
    levels: int

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, "Method"] | None = None):
        del frozen
        self.config, self.model, self.data = config, config.model, data
        self.dtype = jnp.dtype(matmul(config)[0])
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
        """Makes the method class-conditional, or not; returns the number of its classes, or None.

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

    # What a method writes.

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network on the examples of a batch, alike in every process.

        A method that can start from other runs also takes `pretrained`, of `Run.pretrained`.
        """
        raise NotImplementedError

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws `image`, and images on the way by name, uint8 [B, H, W, C]; or `point` [B, D].

        Args:
          variables: of `state.evaluation_variables`.
          noise: B is the length of its index.
          labels: int32 [B] where the method is class-conditional, else None.
          temperature: scales the standard deviations of prior and decoder, divides the logits of
            mixtures.
        """
        raise NotImplementedError

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Tree:
        """Draws latents from the posterior: a tree of [B, ...]."""
        raise NotImplementedError

    def decode(
        self, variables: Variables, latents: Tree, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Images (or points) given latents of `encode`, named as those of `draw`."""
        raise NotImplementedError

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """`log_likelihood` and its parts by name, in nats [B]."""
        raise NotImplementedError

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """What else than a likelihood examples are judged by, by name, [B]."""
        raise NotImplementedError

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, `num_latents`] to images in [−1, 1], differentiably."""
        raise NotImplementedError

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Tree:
        """Draws latents from the prior, for `decode`."""
        raise NotImplementedError

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Tree, noise: Noise
    ) -> Array:
        """ln p(x | z) of images given latents of any origin, in nats [B]."""
        raise NotImplementedError

    def interpolate(self, start: Tree, end: Tree, weights: np.ndarray) -> Tree:
        """Latents [n, ...] on the way between two [1, ...], at weights [n] in [0, 1].

        These are straight lines, as suit Gaussian latents; a method may know better.
        """

        def line(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            t = weights.reshape(-1, *(1 for _ in a.shape[1:]))
            return (1 - t) * a + t * b

        return jax.tree.map(line, start, end)

    # What is derived.

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """The names of what the method offers, `sample` and `reconstruct` among them."""
        own = type(self)
        offered = {
            "sample": own.draw is not Method.draw,
            "encode": own.encode is not Method.encode,
            "decode": own.decode is not Method.decode,
            "log_likelihood": own.log_likelihood is not Method.log_likelihood,
            "score": own.score is not Method.score,
            "generate": own.generate is not Method.generate,
            "sample_latents": own.sample_latents is not Method.sample_latents,
            "conditional_log_prob": own.conditional_log_prob is not Method.conditional_log_prob,
        }
        offered["reconstruct"] = offered["encode"] and offered["decode"]
        return frozenset(name for name, is_offered in offered.items() if is_offered)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """{name: Flax module} of the networks that the method keeps under their names."""
        return {name: value for name, value in vars(self).items() if isinstance(value, nn.Module)}

    @property
    def batches_per_step(self) -> int:
        """How many fresh batches a step takes."""
        return 1 + max(player.batch for player in in_order(self.players))

    def init(
        self, key: Array, batch: Batch, pretrained: dict[str, Tree] | None = None
    ) -> TrainState:
        """The state at step 0.

        Raises:
          ValueError: a parameter average beside batch statistics, which are those of no average.
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
        """Makes the updates of `players`, in order.

        A method overrides it only where its paper's order of updates cannot be said by players.

        Args:
          state: of the step before.
          batch: a device's share of the global batch, or of each of `batches_per_step`.
          key: the same in every step; the step is folded in here.

        Returns:
          The new state and {name: scalar}: each player's loss, the terms that sum to it and its
          curves, as means over the global batch; of a player that moves twice those of the last.
        """
        batches = batch if isinstance(batch, tuple) else (batch,)
        key = jax.random.fold_in(key, state.step)
        state, terms = play(self.players, state, [*map(devices.numbered, batches)], key)
        return train_state.advance(state, self.ema_decay), terms

    def sample(
        self,
        variables: Variables,
        key: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Calls `draw` for `num_images`, or for those of an index [B] in a larger set of samples.

        Image i of the set is the same in any batch.
        """
        self.check_labels(labels)
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        return self.draw(variables, Noise(key, index), labels, temperature)

    def reconstruct(
        self, variables: Variables, batch: Batch, noise: Noise, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images once and decodes them `num_draws` times.

        Returns:
          What is on the way by name, `image` (or `point`), and further draws `image_2`, …: of
          `with_noise` where the decoder offers it.
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
        """The labels of a batch where the method is class-conditional, else None."""
        return self.check_labels(batch.get("label")) if self.class_conditional else None

    def check_labels(self, labels: Array | None) -> Array | None:
        """The labels; ValueError for a class-conditional method without, any other with them."""
        if self.class_conditional == (labels is None):
            needs = "give labels" if self.class_conditional else "give none (labels=None)"
            raise ValueError(
                f"{type(self).__name__}: class_conditional is {self.class_conditional}: {needs}"
            )
        return labels

    def scale(self, images: Array) -> Array:
        """Images uint8 in 0..levels−1 as float32 in [−1, 1]."""
        return distributions.scale_to_unit(images, self.levels)

    def bits(self, log_likelihood: Array) -> Array:
        """Bits/dim of a batch whose log-likelihoods in nats are [B]."""
        return distributions.bits_per_dim(jnp.mean(log_likelihood), self.image_shape)
