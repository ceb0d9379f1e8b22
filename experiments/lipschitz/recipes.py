"""Losses and controls of the slope, put together, for GANs on points and digits (thesis, 2.11).

A recipe LOSS-CONTROL is `configs/mixed_batch_gan.py:gan,ring` with another loss, control of the
discriminator's slope, data set, width, batch size and optimizer; further fields may follow, as in
`wasserstein-clipping:weight_clip=0.01`. Digits are points, too, of 64 coordinates in [−1, 1], so
that all data are modelled by the same multilayer perceptrons.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath

from experiments import point_gans, program
from experiments.point_gans import Judge, PointGan, Result
from gm_jax import cpu
from gm_jax.data import sources
from gm_jax.data.dataset import Dataset
from gm_jax.dequantization import CENTRED
from gm_jax.evaluation.transport import wasserstein_distance
from gm_jax.lipschitz import CONTROLS
from gm_jax.losses import adversarial
from gm_jax.methods.method import Method, Variables
from gm_jax.nn import spectral_norm

Array = jax.Array
LOSSES = ("non_saturating", "wasserstein")
RECIPES = [f"{loss}-{control}" for loss in LOSSES for control in CONTROLS]
DATA = {"ring": "points:ring", "lines": "points:lines", "digits": "digits"}
JUDGED = 500  # samples; with as many examples they give the slope, and their distance from the data
MARKS = 20  # of a training, at which it is judged


def config_of(recipe: str, data: str, seed: int, width: int) -> Any:
    """The config of a recipe; refuses one that there is not."""
    name, _, settings = recipe.partition(":")
    loss, _, control = name.partition("-")
    if loss not in adversarial.LOSSES or control not in CONTROLS:
        program.refuse(
            f"--recipe={recipe}: give LOSS-CONTROL, with a loss among "
            f"{', '.join(adversarial.LOSSES)} and a control among {', '.join(CONTROLS)}"
        )
    config = program.load_page("mixed_batch_gan.py:gan,ring").unlock()
    config.model.update({"adversarial_loss": loss, "lipschitz": control})
    config.model.generator.widths = config.model.discriminator.widths = (width,) * 3
    config.model.num_latents = 16 if data == "digits" else 2
    config.model.critic_steps = 3  # the page's 5 would take half as long again
    config.model.weight_clip = 0.1  # with the published 0.01 so narrow a discriminator is constant
    config.data.update({"source": DATA[data], "batch_size": 64})
    config.optimizer.update({"beta1": 0.5, "beta2": 0.9})  # Gulrajani et al. (2017)
    point_gans.set_fields(config, settings, f"--recipe={recipe}: {name}")
    config.seed = seed
    return config.lock()


def cells(dataset: Dataset) -> dict[str, np.ndarray]:
    """Examples as cells, `low` [N, D] and `side` [], of which a batch has random points.

    The cell of a digit is what dequantisation adds to its levels; that of a point is the point.
    """
    if "point" in dataset.fields:
        return {"low": dataset.arrays["point"], "side": np.float32(0)}
    levels, (low, high) = dataset.fields["image"].levels, CENTRED
    assert levels is not None  # images have levels
    images = dataset.arrays["image"].reshape(len(dataset.arrays["image"]), -1)
    side = np.float32((high - low) / levels)
    return {"low": np.float32(low) + side * images, "side": side}


@functools.cache
def training_cells(data: str) -> dict[str, np.ndarray]:
    """The cells of a set's training examples."""
    return cells(sources.load(DATA[data], "train"))


def _some(found: dict[str, np.ndarray], count: int, seed: int) -> np.ndarray:
    """Points of random cells, each of at most one, [at most `count`, D]."""
    generator = np.random.default_rng(seed)
    low = generator.permutation(found["low"])[:count]
    return low + found["side"] * generator.uniform(size=low.shape)


@functools.cache
def held_out(data: str) -> np.ndarray:
    """At most JUDGED examples that no training sees, [n, D]."""
    return _some(cells(sources.load(DATA[data], "validation+test")), JUDGED, 0)


@functools.cache
def seen(data: str) -> np.ndarray:
    """As many training examples."""
    return _some(training_cells(data), len(held_out(data)), 1)


def distance(data: str, samples: np.ndarray) -> float:
    """W₁ between samples and as many held-out examples; infinite if a sample is not finite."""
    real = held_out(data)
    samples = samples[: len(real)]
    return wasserstein_distance(samples, real) if np.isfinite(samples).all() else math.inf


def draw(key: Array, data: dict[str, Array], count: int) -> Array:
    """Random points of random cells, [count, D]."""
    which, where = jax.random.split(key)
    low = data["low"][jax.random.randint(which, (count,), 0, len(data["low"]))]
    return low + data["side"] * cpu.draw_flat(jax.random.uniform, where, low.shape)


def layer_norms(network: dict[str, Any]) -> Array:
    """The largest singular value of each layer of a perceptron, as the layer uses it, [layers].

    Their product bounds the slope (Eq. 2.76). A spectral norm's estimate of it is divided out.
    """
    vectors = network.get(spectral_norm.COLLECTION, {})

    def norm(name: str, kernel: Array) -> Array:
        largest = jnp.linalg.norm(kernel, 2)
        if name not in vectors:
            return largest
        (found,) = vectors[name].values()
        return largest / jnp.vdot(found["u"], found["v"] @ kernel)

    return jnp.stack([norm(name, layer["kernel"]) for name, layer in network["params"].items()])


def judge(
    method: Method, variables: Variables, key: Array, data: dict[str, Array]
) -> dict[str, Array]:
    """`samples` [JUDGED, D]; `slope`, the largest ‖∇D‖ at data, samples and between; `norms`."""
    drawing, latents, mixing = jax.random.split(key, 3)
    samples, real = method.sample(variables, latents, JUDGED)["point"], draw(drawing, data, JUDGED)
    fraction = jax.random.uniform(mixing, (JUDGED, 1))
    places = jnp.concatenate([real, samples, fraction * real + (1 - fraction) * samples])
    discriminator = method.modules["discriminator"]
    gradients = jax.grad(lambda x: discriminator.apply(variables["discriminator"], x).sum())(places)
    slope = jnp.max(jnp.linalg.norm(gradients, axis=1))
    norms = layer_norms(variables["discriminator"])
    return {"samples": samples, "slope": slope, "norms": norms}


@functools.cache
def gan(
    recipe: str, data: str, width: int, judge: Judge = judge, terms: Sequence[str] = ()
) -> PointGan:
    """The GAN of a recipe, for data of as many dimensions as `data`.

    By default its `terms` are the discriminator's loss, without a penalty, and the generator's.
    """
    config = config_of(recipe, data, 0, width)
    batch = functools.partial(draw, count=config.data.batch_size)
    term = adversarial.create(config.model.adversarial_loss).term
    terms = terms or (f"discriminator/{term}", "generator/loss")
    return PointGan(config, batch, judge, terms, training_cells(data)["low"].shape[1])


def trained(recipe: str, data: str, seed: int, options: Any) -> Result:
    """A training's result, as of `PointGan.train`, from its file if it has been done."""
    marks = sorted({max(1, options.steps * mark // MARKS) for mark in range(1, MARKS + 1)})
    # One GAN, and what it compiles, serves all points of the plane.
    plane = "digits" if data == "digits" else "ring"
    name = f"{data}-{recipe}-{options.width}-{options.steps}-seed_{seed}".replace(":", "_")
    return point_gans.kept(
        epath.Path(options.output) / f"{name}.npz",
        config_of(recipe, data, seed, options.width),
        lambda: gan(recipe, plane, options.width).train(seed, training_cells(data), marks),
    )


def all_trained(recipe: str, data: str, options: Any) -> Sequence[Result]:
    """The results of all seeds."""
    return [trained(recipe, data, int(seed), options) for seed in options.seeds]


def define_flags() -> None:
    """Defines the flags that `all_trained` and the programs that train recipes read."""
    flags.DEFINE_multi_enum("data", [*DATA], [*DATA], "Data sets; repeatable.")
    flags.DEFINE_multi_string("recipe", RECIPES, "LOSS-CONTROL[:FIELD=VALUE…]; repeatable.")
    program.define_seeds("0,1,2", "A training for each.")
    flags.DEFINE_integer("steps", 2_000, "Updates of each generator.", lower_bound=1)
    flags.DEFINE_integer("width", 64, "Units of each layer.", lower_bound=1)
    flags.DEFINE_string("output", "runs/lipschitz", "Folder for results.")
