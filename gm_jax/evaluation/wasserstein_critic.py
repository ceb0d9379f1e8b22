"""Independent Wasserstein critic: a fixed critic, trained afterwards, judges any model."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

Tree = Any

_LEARNING_RATE, _BETAS = 1e-4, (0.5, 0.9)  # Gulrajani et al. 2017
_SMALLEST_SIDE = 8
_EVALUATION_BATCH = 256


class CriticResult(NamedTuple):
    """The result of `independent_wasserstein_critic`.

    negative_distance: the result, −(E critic(test) − E critic(samples)) after the last step; higher
      is better, 0 is best.
    steps: int [points]; validation_curve, test_curve: float64 [points], the same quantity during
      training. If the validation curve keeps falling and the test curve does not, the critic
      overfits the validation images.
    """

    negative_distance: float
    steps: np.ndarray
    validation_curve: np.ndarray
    test_curve: np.ndarray


def independent_wasserstein_critic(
    samples: ArrayLike,
    validation_images: ArrayLike,
    test_images: ArrayLike,
    num_steps: int = 5000,
    batch_size: int = 64,
    penalty: float = 10.0,
    num_points: int = 20,
    seed: int = 0,
    earlier: Sequence[ArrayLike] = (),
) -> CriticResult:
    """Negative Wasserstein distance between samples and test images.

    Danihelka et al. 2017; α-GAN section 5, appendix E. The critic maximises E f(validation) − E
    f(samples) − λ E (|∇f| − 1)² (WGAN-GP) for a fixed number of steps. The result is for images
    that it has not seen: test images against a held-out half of the samples. The penalty lets |∇f|
    exceed 1: a pure shift by c gives c + c²/(2λ). Compare only distances with the same image size,
    number of steps and λ. In the papers the critic learns beside a model in training: `earlier`
    are samples of that model on its way, each of which it sees for an equal share of its steps.

    Args:
      samples: uint8 [n >= 2, H, W, C] in 0..255, sides at least 8.
      validation_images, test_images: real images of the same shape, held out from the model.
      num_steps, batch_size, penalty (λ): the critic's fixed training settings.
      num_points: number of points of the learning curves.
      seed: seeds initialisation, drawing and the split of the samples.
      earlier: sets of samples that the critic sees before `samples`, in this order; as large.

    Returns:
      CriticResult, in Euclidean units of images scaled to −1..1; a point of the curves judges the
      set of samples that the critic sees at that step.

    Raises:
      ValueError: shapes disagree, images are not uint8, a set is too small, or more points than
        steps.
    """
    sets = {
        "samples": np.asarray(samples),
        "validation_images": np.asarray(validation_images),
        "test_images": np.asarray(test_images),
    }
    _check_sets(sets)
    if not 1 <= num_points <= num_steps or batch_size < 1 or not penalty > 0:
        raise ValueError(
            "1 <= num_points <= num_steps, batch_size >= 1 and penalty > 0, got "
            f"{num_points}, {num_steps}, {batch_size}, {penalty}"
        )
    samples, validation_images, test_images = sets.values()
    stages = [np.asarray(images) for images in earlier] + [samples]
    for images in stages:
        if (images.dtype, images.shape) != (samples.dtype, samples.shape):
            raise ValueError(
                f"earlier samples are {images.dtype} of shape {images.shape}, and samples "
                f"{samples.dtype} of {samples.shape}; give as many of the same shape"
            )
    # Shuffled first, because samples are often sorted by class.
    order = np.random.default_rng(seed).permutation(len(samples))
    seen, unseen = order[: len(order) // 2], order[len(order) // 2 :]
    init_key, draw_key = jax.random.split(jax.random.key(seed))
    params = jax.jit(Critic().init)(init_key, validation_images[:1])
    carry = params, _optimizer().init(params)
    real_images, stage = jnp.asarray(validation_images), -1
    points = np.linspace(0, num_steps, num_points + 1).round().astype(int)[1:]
    curves = []
    # This is a Python loop because on CPU, convolutions are many times slower in a compiled one.
    for step in range(num_steps):
        if step * len(stages) // num_steps > stage:
            stage = step * len(stages) // num_steps
            shown, held_out = stages[stage][seen], stages[stage][unseen]
            fake_images = jnp.asarray(shown)
        carry = _update(
            carry, draw_key, jnp.int32(step), real_images, fake_images, batch_size, penalty
        )
        if step + 1 in points:
            score = functools.partial(_mean_score, carry[0])
            curves.append(
                [
                    score(shown) - score(validation_images),
                    score(held_out) - score(test_images),
                ]
            )
    validation_curve, test_curve = np.array(curves).T
    return CriticResult(float(test_curve[-1]), points, validation_curve, test_curve)


class Critic(nn.Module):
    """DCGAN's discriminator (64, 128, 256 filters of 4 x 4, stride 2, leaky ReLU 0.2, linear end).

    It has no batch norm, because the gradient penalty applies to one image at a time.
    """

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, C], uint8 or float in 0..255, -> scores [B]."""
        x = images.astype(jnp.float32) / 127.5 - 1.0
        for filters in (64, 128, 256):
            x = nn.leaky_relu(nn.Conv(filters, (4, 4), 2)(x), 0.2)
        return nn.Dense(1)(x.reshape(len(x), -1))[:, 0]


def _optimizer() -> optax.GradientTransformation:
    return optax.adam(_LEARNING_RATE, *_BETAS)


def _scored(params: Tree, images: jax.Array) -> jax.Array:
    return cast(jax.Array, Critic().apply(params, images))


def _loss(
    params: Tree, real: jax.Array, fake: jax.Array, mixing: jax.Array, penalty: float
) -> jax.Array:
    """Negative critic objective; the gradient is per unit of images scaled to −1..1."""
    between = fake + mixing[:, None, None, None] * (real - fake)
    slopes = jax.grad(lambda images: _scored(params, images).sum())(between) * 127.5
    norms = jnp.sqrt((slopes**2).sum(axis=(1, 2, 3)) + 1e-12)  # the root has no derivative at 0
    gap = _scored(params, real).mean() - _scored(params, fake).mean()
    return penalty * ((norms - 1.0) ** 2).mean() - gap


@functools.partial(jax.jit, static_argnums=5, donate_argnums=0)
def _update(
    carry: tuple[Tree, Tree],
    draw_key: jax.Array,
    step: jax.Array,
    real_images: jax.Array,
    fake_images: jax.Array,
    batch_size: int,
    penalty: float,
) -> tuple[Tree, Tree]:
    """One update of (parameters, optimizer state) on images drawn with replacement."""
    params, opt_state = carry
    real_key, fake_key, mixing_key = jax.random.split(jax.random.fold_in(draw_key, step), 3)
    chosen = jax.random.randint(real_key, (batch_size,), 0, len(real_images))
    real = real_images[chosen].astype(jnp.float32)
    chosen = jax.random.randint(fake_key, (batch_size,), 0, len(fake_images))
    fake = fake_images[chosen].astype(jnp.float32)
    mixing = jax.random.uniform(mixing_key, (batch_size,))
    gradients = jax.grad(_loss)(params, real, fake, mixing, penalty)
    updates, opt_state = _optimizer().update(gradients, opt_state)
    return optax.apply_updates(params, updates), opt_state


_scores = jax.jit(Critic().apply)


def _mean_score(params: Tree, images: np.ndarray) -> float:
    total = 0.0
    for start in range(0, len(images), _EVALUATION_BATCH):
        batch = images[start : start + _EVALUATION_BATCH]
        # Padding makes the last batch fit the compiled shape.
        padding = [(0, _EVALUATION_BATCH - len(batch))] + [(0, 0)] * 3
        scores = np.asarray(_scores(params, np.pad(batch, padding)), np.float64)
        total += scores[: len(batch)].sum()
    return total / len(images)


def _check_sets(sets: dict[str, np.ndarray]) -> None:
    shape = sets["samples"].shape[1:]
    for name, images in sets.items():
        smallest = 2 if name == "samples" else 1  # half of the samples are held out
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) < smallest:
            raise ValueError(
                f"{name} are uint8 [n >= {smallest}, H, W, C], got {images.dtype} of shape "
                f"{images.shape}"
            )
        if images.shape[1:] != shape:
            raise ValueError(f"{name} are {images.shape[1:]}, samples {shape}; resize one of them")
    if min(shape[:2]) < _SMALLEST_SIDE:
        raise ValueError(f"sides are at least {_SMALLEST_SIDE} pixels, got {shape[:2]}")
