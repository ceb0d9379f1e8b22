"""GAN-train and GAN-test: a classifier trained on samples judges real images, and vice versa."""

import functools
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

Tree = Any
Sets = dict[str, tuple[np.ndarray, np.ndarray]]

_LEARNING_RATE = 1e-3
_SMALLEST_SIDE = 8
_EVALUATION_BATCH = 256


class TrainTestAccuracies(NamedTuple):
    """Accuracies in 0..1 (the papers print percentages).

    gan_train: trained on samples, tested on real test images; measures quality and coverage.
    gan_test: trained on real images, tested on samples; measures quality only. real: trained and
    tested on real images, as a baseline for the other two.
    """

    gan_train: float
    gan_test: float
    real: float


def gan_train_test(
    samples: ArrayLike,
    sample_labels: ArrayLike,
    train_images: ArrayLike,
    train_labels: ArrayLike,
    test_images: ArrayLike,
    test_labels: ArrayLike,
    num_classes: int,
    num_steps: int = 4000,
    batch_size: int = 128,
    seed: int = 0,
) -> TrainTestAccuracies:
    """Accuracies of one fixed classifier, trained on samples or on real images.

    Shmelkov et al. 2018; AdE paper E.1, table 8. The network is small (four convolutions) to make
    comparisons of models quick; its accuracy is not comparable with other papers' classifiers,
    hence the third number.

    Args:
      samples: uint8 [n, H, W, C] in 0..255, sides at least 8; their labels are int [n].
      train_images, test_images: real images of the same shape, with their labels.
      num_classes: labels lie in 0..num_classes − 1.
      num_steps: updates of Adam with a cosine schedule, the same for both classifiers.
      batch_size: images drawn (with replacement) for each update.
      seed: seeds initialisation and drawing.

    Returns:
      TrainTestAccuracies.

    Raises:
      ValueError: shapes disagree, images are not uint8, a set is empty or a label out of range.
    """
    sets = {
        "samples": (np.asarray(samples), np.asarray(sample_labels)),
        "train_images": (np.asarray(train_images), np.asarray(train_labels)),
        "test_images": (np.asarray(test_images), np.asarray(test_labels)),
    }
    _check_sets(sets, num_classes)
    if num_steps < 1 or batch_size < 1:
        raise ValueError(f"num_steps and batch_size are positive, got {num_steps}, {batch_size}")
    train = functools.partial(_train, jax.random.key(seed), num_classes, num_steps, batch_size)
    from_samples = train(*sets["samples"])
    from_real = train(*sets["train_images"])
    return TrainTestAccuracies(
        gan_train=_accuracy(num_classes, from_samples, *sets["test_images"]),
        gan_test=_accuracy(num_classes, from_real, *sets["samples"]),
        real=_accuracy(num_classes, from_real, *sets["test_images"]),
    )


class TrainTestClassifier(nn.Module):
    """Four 3 x 3 convolutions with group norm; the second and fourth halve the side."""

    num_classes: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """uint8 [B, H, W, C] -> logits [B, num_classes]."""
        x = images.astype(jnp.float32) / 127.5 - 1.0
        for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2)):
            x = nn.Conv(filters, (3, 3), stride)(x)
            x = nn.relu(nn.GroupNorm(num_groups=8)(x))
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


def _train(
    key: jax.Array,
    num_classes: int,
    num_steps: int,
    batch_size: int,
    images: np.ndarray,
    labels: np.ndarray,
) -> Tree:
    """Parameters after num_steps updates."""
    init_key, draw_key = jax.random.split(key)
    on_device = jnp.asarray(images), jnp.asarray(labels)  # once
    params = jax.jit(TrainTestClassifier(num_classes).init)(init_key, on_device[0][:1])
    carry = params, _optimizer(num_steps).init(params)
    # This is a Python loop because on CPU, convolutions are many times slower in a compiled one.
    for step in range(num_steps):
        carry = _update(
            num_classes, num_steps, batch_size, carry, draw_key, jnp.int32(step), *on_device
        )
    return carry[0]


def _optimizer(num_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _update(
    num_classes: int,
    num_steps: int,
    batch_size: int,
    carry: tuple[Tree, Tree],
    draw_key: jax.Array,
    step: jax.Array,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[Tree, Tree]:
    """One update of (parameters, optimizer state) on images drawn with replacement."""
    params, opt_state = carry
    key = jax.random.fold_in(draw_key, step)
    chosen = jax.random.randint(key, (batch_size,), 0, len(images))

    def loss_fn(params: Tree) -> jax.Array:
        logits = TrainTestClassifier(num_classes).apply(params, images[chosen])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[chosen]).mean()

    updates, opt_state = _optimizer(num_steps).update(jax.grad(loss_fn)(params), opt_state)
    return optax.apply_updates(params, updates), opt_state


@functools.partial(jax.jit, static_argnums=0)
def _predict(num_classes: int, params: Tree, images: np.ndarray) -> jax.Array:
    logits = cast(jax.Array, TrainTestClassifier(num_classes).apply(params, images))
    return logits.argmax(axis=-1)


def _accuracy(num_classes: int, params: Tree, images: np.ndarray, labels: np.ndarray) -> float:
    right = 0
    for start in range(0, len(images), _EVALUATION_BATCH):
        batch = images[start : start + _EVALUATION_BATCH]
        # Padding makes the last batch fit the compiled shape.
        padding = [(0, _EVALUATION_BATCH - len(batch))] + [(0, 0)] * 3
        predictions = np.asarray(_predict(num_classes, params, np.pad(batch, padding)))
        right += int((predictions[: len(batch)] == labels[start : start + len(batch)]).sum())
    return right / len(images)


def _check_sets(sets: Sets, num_classes: int) -> None:
    shape = sets["samples"][0].shape[1:]
    for name, (images, labels) in sets.items():
        if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
            raise ValueError(
                f"{name} are uint8 [n >= 1, H, W, C], got {images.dtype} of shape {images.shape}"
            )
        if images.shape[1:] != shape:
            raise ValueError(f"{name} are {images.shape[1:]}, samples {shape}; resize one of them")
        if min(shape[:2]) < _SMALLEST_SIDE:
            raise ValueError(f"sides are at least {_SMALLEST_SIDE} pixels, got {shape[:2]}")
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"labels of {len(images)} {name} are whole numbers [{len(images)}], got "
                f"{labels.dtype} of shape {labels.shape}"
            )
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"labels of {name} lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
            )
