"""The sweeps of α-GAN's paper (Table 2, H.1, H.4.1), and settings drawn from them.

"Generator/Encoder" is one row of Table 2: both have one rate. H.1 gives the large weights of AGE to
its images and 10 to its codes, the reverse of AGE's own code; the sweep is as printed. `dcgan_once`
is the DCGAN with one update of the generator in place of two, in the settings drawn for `dcgan`.
"""

import itertools
import os
import sys
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs import alpha_gan
from experiments import program
from gm_jax import sweep

_WEIGHTS, _RATES = (1.0, 5.0, 10.0, 50.0), (1e-4, 2e-4, 3e-4)
_GAN = {"generator": _RATES, "discriminator": _RATES}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "alpha_gan": {
        "rate": (1e-4, 5e-4),
        "encoder_weight": _WEIGHTS,
        "generator_weight": _WEIGHTS,
    },
    "age": {"rate": (1e-4, 2e-4, 5e-4), "image_weight": (100.0, 500.0, 1000.0, 2000.0)},
    "dcgan": _GAN,
    "dcgan_once": _GAN,
    "wgan_gp": _GAN,
}
MODELS = tuple(GRIDS)
LATENTS = (10, 50, 75)  # H.4.1
OF_LATENTS = ("colored_digits", "color_mnist", "smoke")  # data for which these are swept
_RATE, _WEIGHT = "optimizer.learning_rate.", "model.reconstruction."
FIELDS = {
    "rate": (f"{_RATE}encoder", f"{_RATE}generator"),
    "generator": (f"{_RATE}generator",),
    "discriminator": (f"{_RATE}discriminator",),
    "encoder_weight": (f"{_WEIGHT}encoder_weight",),
    "generator_weight": (f"{_WEIGHT}generator_weight",),
    "image_weight": (f"{_WEIGHT}image_weight",),
    "latents": ("model.num_latents",),
}
# Half of the page's widths for digits in colour: two cores train 60 of them in less than an hour.
NARROW = ((16, 2), (32, 2))
LATE = 8  # validations of a run; the last four of them and its end are from half-way on


class Setting(NamedTuple):
    """A run of the sweep: its model, its point {axis: value}, its page and its sweep member."""

    model: str
    point: dict[str, float]
    page: str
    member: sweep.Member


def points(model: str, data: str) -> list[dict[str, float]]:
    """Every point {axis: value} of a model's grid."""
    grid = GRIDS[model] | ({"latents": LATENTS} if data in OF_LATENTS else {})
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]


def draw(model: str, data: str, count: int | None, seed: int) -> list[dict[str, float]]:
    """`count` different points drawn uniformly from a model's grid; all of them if None or too few.

    Models of one grid are given the same points, so that they can be compared in pairs.
    """
    every = points(model, data)
    if count is None or count >= len(every):
        return every
    key = zlib.crc32(",".join(every[0]).encode())
    chosen = np.random.default_rng([seed, key]).choice(len(every), count, replace=False)
    return [every[number] for number in sorted(chosen)]


def base(model: str, data: str, steps: int | None, paper: bool) -> tuple[str, dict[str, Any]]:
    """The page of a model and the fields that all its runs have."""
    page = "wgan_gp" if model == "dcgan_once" else model
    known = sweep.fields_of(alpha_gan.get_config(f"{page},{data}"))
    fields: dict[str, Any] = {}
    if model == "dcgan_once":  # the page whose updates of the critic are counted, as a DCGAN
        dcgan = sweep.fields_of(alpha_gan.get_config(f"dcgan,{data}"))
        fields = {name: dcgan[name] for name in known.keys() & dcgan.keys() if "model." in name}
        fields["model.critic_steps"] = 1
    if data == "colored_digits" and not paper:
        nets = ("generator", "discriminator", "encoder")
        fields |= {name: NARROW for net in nets if (name := f"model.{net}.layers") in known}
        fields |= {"train.steps": 800, "evaluate.recalibration_batches": 16}
    if steps is not None:
        fields["train.steps"] = steps
    every = max(1, fields.get("train.steps", known["train.steps"]) // LATE)
    fields |= {"train.evaluate_every_steps": every, "train.checkpoint_every_steps": every}
    return f"{page},{data}", fields


def create(
    model: str, data: str, count: int | None, seed: int, steps: int | None, paper: bool
) -> dict[str, Setting]:
    """The runs of a model, {name: setting}."""
    page, shared = base(model, data, steps, paper)
    config: ConfigDict = alpha_gan.get_config(page)
    settings = {}
    for point in draw(model, data, count, seed):
        swept: Mapping[str, Any] = {
            field: value for axis, value in point.items() for field in FIELDS[axis]
        }
        fields = {**shared, **swept}
        parts = [f"{axis}_{sweep.as_text(value)}" for axis, value in point.items()]
        member = sweep.Member(fields, seed, sweep.with_fields(config, {**fields, "seed": seed}))
        settings["-".join([model, *parts, f"seed_{seed}"])] = Setting(model, point, page, member)
    return settings


def command(script: str, page: str, member: sweep.Member, *options: str) -> list[str]:
    """What trains a run of a page in `configs`."""
    fields = {**member.fields, "seed": member.seed}
    overrides = [f"--config.{field}={sweep.as_text(value)}" for field, value in fields.items()]
    root = os.path.relpath(program.HERE)
    config = f"--config={os.path.relpath(program.CONFIGS)}/{page}"
    return [sys.executable, f"{root}/{script}", config, *overrides, *options]
