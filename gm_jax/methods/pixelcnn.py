"""PixelCNN++ (Salimans et al., 2017), the half of AGAVE that draws."""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NETWORKS = ("pixelcnn",)


class PixelCNNPlusPlus:
    """The method: network, loss and update, as pure functions; its likelihood is exact.

    Args:
      config: `model`, `optimizer` and `sample` of `configs/pixelcnn.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: unused; trained without labels.
    """

    likelihood_is_exact = True

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        del num_classes
        model, channels = config.model, image_shape[-1]
        if channels not in (1, 3):
            raise ValueError(f"images of {channels} channels: PixelCNN++ models 1 (grey) or 3")
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.pixelcnn = PixelCNN(dtype=jnp.dtype(model.matmul_dtype), **model.pixelcnn)
        self.sampler = Sampler(config.sample.sampler, self.pixelcnn, self.image_shape, levels)
        self.optimizer = optimizers.create(config.optimizer)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises the network on the images of `batch`, and the average after it.

        The published average starts before the data-dependent initialisation, and pays for it.
        """
        keys = jax.random.split(rng)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        index = per_example.global_index(batch)
        _, pixelcnn = data_dependent_init(
            self.pixelcnn, keys[0], x, index, rngs={"dropout": keys[1]}, train=True
        )
        params = {"pixelcnn": pixelcnn["params"]}
        optimizer = {"model": (NETWORKS, self.optimizer)}
        return train_state.create(params, optimizer, ema=self.model.ema_decay > 0)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update by the gradient of −ln p(x), with dropout."""

        def loss_fn(params: dict[str, Tree]) -> tuple[Array, tuple[dict[str, Array], dict]]:
            key = jax.random.fold_in(rng, state.step)
            index = per_example.global_index(batch, axis_name)
            variables = {"pixelcnn": {"params": params["pixelcnn"]}}
            loss = -jnp.mean(self._log_prob(variables, batch["image"], index, key))
            bits = distributions.bits_per_dim(-loss, self.image_shape)
            return loss, ({"loss": loss, "bits_per_dim": bits}, {})

        state, terms = train_state.update_player(
            state, "model", NETWORKS, self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, self.model.ema_decay), terms

    def _log_prob(
        self, variables: dict[str, Tree], images: Array, index: Array, key: Array | None
    ) -> Array:
        """Σ_i ln p(x_i | x_<i) in nats [B]; a dropout key trains."""
        x = distributions.scale_to_unit(images, self.levels)
        rngs = None if key is None else {"dropout": key}
        parameters = self.pixelcnn.apply(
            variables["pixelcnn"], x, index, train=key is not None, rngs=rngs
        )
        log_prob = distributions.discretized_logistic_mixture_log_prob(
            x, parameters, self.levels, self.pixelcnn.min_log_scale
        )
        return jnp.sum(log_prob, (1, 2))

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """The exact `log_likelihood` ln p(x) in nats [B]; `rng` is not used."""
        del rng
        index = per_example.global_index(batch)
        return {"log_likelihood": self._log_prob(variables, batch["image"], index, None)}

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws `image` pixel by pixel."""
        if labels is not None:
            raise ValueError("this PixelCNN++ is trained without labels; sample with labels=None")
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        return {"image": self.sampler(variables["pixelcnn"], None, rng, index, temperature)}
