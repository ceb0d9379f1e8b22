"""The in-domain classifier that judges samples (α-GAN, Rosca et al., 2017, appendix H.5).

It generates nothing. It is trained by the ordinary loop so that its features and class
probabilities can stand where Inception's do not fit: IS-C and FD-C, never IS and FID.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gm_jax import distributions
from gm_jax import state as train_state
from gm_jax.networks.classifier import ClassifierOutputs, ConvolutionalClassifier
from gm_jax.nn import per_example
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NAME = "classifier"


class Classifier:
    """The method: network, loss and update, as pure functions of their arguments.

    Args:
      config: `model` and `optimizer` of `configs/classifier.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: of the source, which must have labels.
    """

    # The best checkpoint is the one with the lowest of this term of `score` on validation.
    validation_score = "error"

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        model, crop_size = config.model, config.model.crop_size
        if num_classes is None:
            raise ValueError(
                f"data.source '{config.data.source}' has no labels: a classifier needs them"
            )
        if crop_size < 0 or crop_size > min(image_shape[:2]):
            raise ValueError(
                f"model.crop_size = {crop_size} does not fit images of {image_shape[0]}×"
                f"{image_shape[1]}; give a smaller side, or 0 to keep images whole"
            )
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.num_classes = num_classes
        options = config.optimizer
        rate = optax.piecewise_constant_schedule(
            options.learning_rate, dict.fromkeys(options.decay_steps, options.decay_factor)
        )
        self.optimizer = optax.sgd(rate, options.momentum)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises the network; its running statistics are those of no image yet."""
        x = _central_crop(self._scale(batch["image"]), self.model.crop_size)
        variables = self._network().init(rng, x, train=False)
        params = {NAME: variables["params"]}
        statistics = {NAME: {"batch_stats": variables["batch_stats"]}}
        optimizers = {NAME: ((NAME,), self.optimizer)}
        return train_state.create(params, optimizers, ema=False, variables=statistics)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update on random crops: cross-entropy plus the l₂ penalty, in nats."""
        key = jax.random.fold_in(rng, state.step)
        index = per_example.global_index(batch, axis_name)
        x = _random_crop(key, index, self._scale(batch["image"]), self.model.crop_size)
        network = self._network(axis_name)

        def loss_fn(params: dict[str, Tree]) -> tuple[Array, tuple[dict[str, Array], dict]]:
            variables = {"params": params[NAME], **state.variables[NAME]}
            outputs, changed = network.apply(variables, x, train=True, mutable=["batch_stats"])
            judged = _judge(outputs.logits, batch["label"])
            penalty = self.model.l2_penalty * _half_squared_norm(params[NAME])
            loss, logged = train_state.total(
                {"cross_entropy": judged["cross_entropy"], "regularization": penalty}
            )
            return loss, ({**logged, "error": jnp.mean(judged["error"])}, {NAME: changed})

        state, terms = train_state.update_player(
            state, NAME, (NAME,), self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, 0.0), terms

    def score(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """How labelled images are classified, [B]: `error` 0 or 1, `cross_entropy` in nats."""
        del rng
        if "label" not in batch:
            raise ValueError("these images have no labels: a classifier cannot be judged on them")
        return _judge(self.features(variables, batch["image"]).logits, batch["label"])

    def features(self, variables: dict[str, Tree], images: Array) -> ClassifierOutputs:
        """Features [B, d] and logits [B, classes] of the images' central crops.

        Args:
          variables: of `state.evaluation_variables`.
          images: uint8 [B, H, W, C] in 0..levels−1.
        """
        # The paper does not say what is classified at test time; the centre is what its authors'
        # CIFAR-10 tutorial takes.
        x = _central_crop(self._scale(images), self.model.crop_size)
        return self._network().apply(variables[NAME], x, train=False)

    def _network(self, axis_name: str | None = None) -> ConvolutionalClassifier:
        return ConvolutionalClassifier(
            self.num_classes,
            tuple(tuple(layer) for layer in self.model.layers),
            self.model.batch_norm_decay,
            axis_name,
            jnp.dtype(self.model.matmul_dtype),
        )

    def _scale(self, images: Array) -> Array:
        return distributions.scale_to_unit(images, self.levels)


def _judge(logits: Array, labels: Array) -> dict[str, Array]:
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    error = (jnp.argmax(logits, -1) != labels).astype(jnp.float32)
    return {"error": error, "cross_entropy": cross_entropy}


def _half_squared_norm(params: Tree) -> Array:
    """½‖W‖² over the kernels; shifts and batch norm's scales are left free (paper: not said)."""
    return 0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)


def _random_crop(key: Array, index: Array, x: Array, size: int) -> Array:
    """Squares [B, size, size, C], each at a place keyed by its example; size 0 keeps x."""
    if not size:
        return x
    limits = jnp.array([x.shape[1] - size, x.shape[2] - size]) + 1

    def crop(key: Array, image: Array) -> Array:
        corner = jax.random.randint(key, (2,), 0, limits)
        return jax.lax.dynamic_slice(image, (*corner, 0), (size, size, image.shape[-1]))

    return jax.vmap(crop)(per_example.keys(key, index), x)


def _central_crop(x: Array, size: int) -> Array:
    """The middle square of x [B, H, W, C]; size 0 keeps x."""
    if not size:
        return x
    top, left = (x.shape[1] - size) // 2, (x.shape[2] - size) // 2
    return x[:, top : top + size, left : left + size]
