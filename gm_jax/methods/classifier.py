"""The in-domain classifier that judges samples (α-GAN, Rosca et al., 2017, appendix H.5).

It generates nothing. The usual training loop trains it so that its features and class probabilities
can replace Inception's where those do not fit: in IS-C and FD-C, never in IS and FID.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.classifier import ClassifierOutputs, ConvolutionalClassifier

Array = jax.Array
NAME = "classifier"


class Classifier(Method):
    """One player, whose loss is the cross-entropy on random crops plus an l₂ penalty."""

    needs = ("image", "label")
    validation_score = "error"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model, (height, width, _) = config.model, self.image_shape
        if model.crop_size < 0 or model.crop_size > min(height, width):
            raise ValueError(
                f"model.crop_size = {model.crop_size} does not fit images of {height}×{width}; "
                "give a smaller side, or 0 to keep images whole"
            )
        num_classes = data["label"].num_classes
        assert num_classes is not None  # labels have classes
        self.network = ConvolutionalClassifier(
            num_classes,
            tuple(tuple(layer) for layer in model.layers),
            model.batch_norm_decay,
            self.dtype,
        )
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player(NAME, (NAME,), optimizer, self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network; its running statistics have seen no image yet."""
        x = _central_crop(self.scale(batch["image"]), self.model.crop_size)
        return {NAME: self.network.init(key, x, train=False)}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """Cross-entropy on random crops plus the l₂ penalty, in nats."""
        x = _random_crop(noise, self.scale(batch["image"]), self.model.crop_size)
        outputs, statistics = self.network.apply(
            variables[NAME], x, train=True, mutable=["batch_stats"]
        )
        judged = judge(outputs.logits, batch["label"])
        penalty = self.model.l2_penalty * _half_squared_norm(variables[NAME]["params"])
        terms = {"cross_entropy": judged["cross_entropy"], "regularization": penalty}
        return Loss(terms, {"error": judged["error"]}, {NAME: statistics})

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """Scores labelled images: `error`, 0 or 1, and `cross_entropy`, in nats."""
        if "label" not in batch:
            raise ValueError("these images have no labels: a classifier cannot be judged on them")
        return judge(self.features(variables, batch["image"]).logits, batch["label"])

    def features(self, variables: Variables, images: Array) -> ClassifierOutputs:
        """Features [B, d] and logits [B, classes] of the central crops of images [B, H, W, C]."""
        # The paper does not say what is classified at test time; its authors' CIFAR-10 tutorial
        # takes the central crop.
        x = _central_crop(self.scale(images), self.model.crop_size)
        return cast(ClassifierOutputs, self.network.apply(variables[NAME], x, train=False))


def judge(logits: Array, labels: Array) -> dict[str, Array]:
    """`error`, 0 or 1, and `cross_entropy`, in nats, of logits [B, classes]: [B] each."""
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    error = (jnp.argmax(logits, -1) != labels).astype(jnp.float32)
    return {"error": error, "cross_entropy": cross_entropy}


def _half_squared_norm(params: Any) -> Array:
    """½‖W‖² of the kernels; shifts and batch norm scales are excluded (the paper does not say)."""
    squares = (jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    return 0.5 * cast(Array, sum(squares))  # there are kernels


def _random_crop(noise: Noise, x: Array, size: int) -> Array:
    """Crops a random square [B, size, size, C] from each image; size 0 keeps x."""
    if not size:
        return x
    limits = jnp.array([x.shape[1] - size, x.shape[2] - size]) + 1

    def crop(key: Array, image: Array) -> Array:
        corner = jax.random.randint(key, (2,), 0, limits)
        return jax.lax.dynamic_slice(image, (*corner, 0), (size, size, image.shape[-1]))

    return jax.vmap(crop)(noise.keys(), x)


def _central_crop(x: Array, size: int) -> Array:
    """Crops the central square of x [B, H, W, C]; size 0 keeps x."""
    if not size:
        return x
    top, left = (x.shape[1] - size) // 2, (x.shape[2] - size) // 2
    return x[:, top : top + size, left : left + size]
