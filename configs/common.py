"""Shared by the pages: sections for data, training and optimizers, and `page`.

How to write a page (look at `real_nvp.py`, then at `adaptive_density.py` for several tables):

1. The docstring names the paper, the command, and every variant with its data and its expected
   numbers, hardware and time, or "not yet reproduced".
2. `PUBLISHED` is the paper's setting: the sections `data`, `train`, `evaluate`, `optimizer`,
   `model` and, if the method draws samples, `sample`. Take each from here and name what differs:
   `"data": common.CIFAR10 | {"batch_size": 64}`. A comment explains what a field's name does not.
3. `VARIANTS` is a table {key: change}. A change is a dict that is merged into the config, a
   function that changes the config in place, or a tuple of these, applied in order; `{}` is the
   published setting. Every page has `digits` (minutes on a CPU) and `smoke` (tests).
4. `get_config(variant="digits")` returns `page(METHOD, variant, PUBLISHED, variant=VARIANTS)`.
5. `python experiments/main.py --config=configs/MINE.py:VARIANT --print_config` shows the result.

A page may lie in any folder. Nothing here imports JAX.
"""

import fnmatch
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

Change = Mapping[str, Any] | Callable[[ConfigDict], None] | tuple["Change", ...]


def images(source: str, train: str = "", validation: str = "", test: str = "") -> dict[str, Any]:
    """The section `data` for a source and its splits, without the global `batch_size`.

    A split "" is the source's own: train, validation and test, or the last tenths of train if it
    has no others. "SPLIT of SOURCE" also means the source's own if another source is given.
    """
    return {
        "source": source,
        "train_split": train,
        "validation_split": validation,
        "test_split": test,
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,  # whether to mirror at random in training
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }


# 45,000 of the 50,000 images that the papers train on; for all: --config.data.train_split=train.
CIFAR10 = images("tfds:cifar10")
DIGITS = images("digits")  # scikit-learn's: 8×8, 17 levels
PHOTOS = DIGITS | {"source": "photos", "flip": True}  # 32×32 crops of scikit-image's photographs
# 28×28, grey. For files on disk: --config.data.source=idx:FOLDER, with the same splits.
FASHION_MNIST = images("tfds:fashion_mnist")
_UNLABELLED = ("unlabelled[:95%] of tfds:stl10", "unlabelled[95%:] of tfds:stl10")
STL10 = images("tfds:stl10", *_UNLABELLED) | {"resize": 48}
LARGE = ("train[:98%]", "train[98%:]", "validation")  # splits for sources without a test split
# CelebA's centre of 178×178 pixels, at 64×64.
CELEBA64 = images("tfds:celeb_a") | {"crop": "center", "resize": 64}
IMAGENET64 = images("tfds:downsampled_imagenet/64x64", *LARGE)
# One category; `--config.data.source` chooses another.
LSUN64 = images("tfds:lsun/church_outdoor", *LARGE) | {"crop": "center", "resize": 64}

# Training for the published length, and what variants merge into it.
TRAIN = {
    "steps": 400_000,
    "log_every_steps": 100,
    "evaluate_every_steps": 10_000,
    "checkpoint_every_steps": 2_000,
    "init_batch_size": 16,  # images for data-dependent initialisation and first statistics
    "accumulate_steps": 1,  # parts of a device's batch, whose gradients are averaged in turn
    "rematerialize": False,  # saves memory: the backward pass computes blocks of networks anew
    "parallel": "shard_map",  # all devices; or pmap; or jit for one device
    "deterministic": False,  # on GPU: bitwise reproducible, but slower
    "profile_steps": 0,  # steps of a profiler trace, written into the work directory; 0: none
    "wandb_project": "",  # of Weights & Biases, which then shows the curves too; "": none
}
MINUTES = {  # on two cores
    "steps": 1_500,
    "log_every_steps": 20,
    "evaluate_every_steps": 250,
    "checkpoint_every_steps": 250,
}
HOUR = {
    "steps": 10_000,
    "log_every_steps": 20,
    "evaluate_every_steps": 1_000,
    "checkpoint_every_steps": 200,
}

# What `page` adds to the section `model` of every page that does not set it.
MODEL = {"ema_decay": 0.0}  # of the parameter average used for evaluation; 0: there is none

EVALUATE = {"batch_size": 128}
RECONSTRUCT = EVALUATE | {"num_reconstructions": 16, "reconstruction_draws": 1}  # if it decodes
# If it has batch norms: training batches over which their moments for evaluation are estimated
# anew; 0: the running averages of training, which lag behind the parameters.
RECALIBRATE = {"recalibration_batches": 64}
SAMPLE = {"num_images": 64, "batch_size": 64, "temperature": 1.0}

# Each field but the name may also be {player: value}, as the rate of `adversarial_autoencoder.py`.
SGD = {
    "name": "sgd",
    "learning_rate": 0.1,
    "learning_rate_decay": 1.0,  # factor per step
    "decay_steps": (),  # after each, the rate is multiplied by `decay_factor`
    "decay_factor": 0.1,
    "linear_decay_steps": 0,  # by which the rate has also fallen linearly to 0; 0: it does not
    "linear_decay_start": 0,  # the step from which it falls
    "cosine_decay_steps": 0,  # by which the rate has fallen to 0 along a cosine; 0: it does not
    "warmup_steps": 0,  # over which the rate also rises linearly from 0; 0: it does not
    "clip_norm": 0.0,  # longer gradients are shortened to this; 0: never
}
MOMENTUM = SGD | {"name": "momentum", "momentum": 0.9}
ADAM = SGD | {
    "name": "adam",  # or adamax, sgd, which have fewer of these fields
    "learning_rate": 0.001,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "epsilon_root": 0.0,  # inside Adam's root
}
ADAMAX = ADAM | {"name": "adamax", "learning_rate": 0.002}

# Control of a critic's slope (`gm_jax.lipschitz`), and the parameters of each control.
LIPSCHITZ = {
    "lipschitz": "none",  # or clipping, penalty, spectral_norm
    "gradient_penalty": 10.0,  # weight λ
    "weight_clip": 0.01,  # parameters stay in [−c, c]
    "spectral_norm": "reshaped",  # σ of the kernel as a matrix; or operator, of the convolution
}


def page(
    method: str,
    variant: str,
    published: Mapping[str, Any],
    /,
    *,
    refinements: Mapping[str, Change] = MappingProxyType({}),
    **tables: Mapping[str, Change],
) -> ConfigDict:
    """Returns the locked config of a variant: KEY[+REFINEMENT…][,KEY…].

    Changes are merged from left to right. They may add fields only to `model`: in other sections a
    field that the published setting lacks is an error.

    Args:
      method: name in `gm_jax.methods.METHODS`; a change may set another in `config.method`.
      variant: one key per table, separated by commas. Tables omitted at the end use their first
        key. Refinements are joined to the first key by `+`.
      published: the sections of the published setting; it is not modified.
      refinements: {name: change}. One that does not apply raises `ValueError('has no …')`.
      **tables: {key: change}; messages call the key by the argument's name.

    Raises:
      ValueError: a key or refinement is unknown, appears twice, or does not apply.
    """
    first, *others = tables
    head, *tail = variant.split(",", len(others))
    head, *joined = head.split("+") if refinements else (head,)
    tail += [next(iter(tables[kind])) for kind in others[len(tail) :]]
    chosen = [(first, head, tables[first])]
    chosen += [("refinement", name, refinements) for name in joined]
    chosen += [(kind, key, tables[kind]) for kind, key in zip(others, tail, strict=True)]
    if len(set(joined)) < len(joined):
        raise ValueError(f"a refinement appears twice in variant '{variant}'; give each once")
    for kind, key, table in chosen:
        if key not in table:
            where = f" in variant '{variant}'" if others or joined else ""
            raise ValueError(f"unknown {kind} '{key}'{where}; choose among {', '.join(table)}")
    sections = {**published, "model": {**MODEL, **published["model"]}}
    config = ConfigDict({"method": method, "variant": variant, "seed": 0, **sections}).lock()
    config.model.unlock()
    for kind, key, table in chosen:
        try:
            _apply(config, table[key])
        except ValueError as error:
            if kind != "refinement":
                raise
            raise ValueError(f"refinement '{key}': the {first} '{head}' {error}") from None
    config.model.lock()  # `config` is already locked, so its own `lock` would do nothing
    return config


def _apply(config: ConfigDict, change: Change) -> None:
    if callable(change):
        change(config)
    elif isinstance(change, tuple):
        for part in change:
            _apply(config, part)
    else:
        config.update(change)


def where_present(fields: Mapping[str, Any]) -> Change:
    """A change that sets the fields, in their sections, that a config has."""

    def merge(config: ConfigDict, fields: Mapping[str, Any]) -> None:
        for name in fields.keys() & config.keys():
            if isinstance(fields[name], Mapping):
                merge(config[name], fields[name])
            else:
                config[name] = fields[name]

    return lambda config: merge(config, fields)


def scale(factor: float, *patterns: str) -> Change:
    """A change that multiplies the fields that match patterns such as `model.*.widths`.

    A field is a number or a tuple of numbers; integers are rounded down.
    """

    def times(value: Any) -> Any:
        return tuple(map(times, value)) if isinstance(value, tuple) else type(value)(value * factor)

    def walk(section: ConfigDict, prefix: str) -> None:
        for name, value in section.items():
            if isinstance(value, ConfigDict):
                walk(value, f"{prefix}{name}.")
            elif any(fnmatch.fnmatchcase(prefix + name, pattern) for pattern in patterns):
                section[name] = times(value)

    return lambda config: walk(config, "")


def without(*fields: str) -> Change:
    """A change that removes fields such as `sample.from_mean` from the config."""

    def remove(config: ConfigDict) -> None:
        for field in fields:
            section, _, name = field.rpartition(".")
            with config.unlocked():
                del config[section][name]

    return remove


def needs(field: str, name: str) -> Change:
    """A change that refuses a config without `model.FIELD`; messages call the field `name`."""

    def check(config: ConfigDict) -> None:
        if field not in config.model:
            raise ValueError(f"has no {name}")

    return check


SMOKE: Change = (  # two steps on a few digits, for tests; the page makes its networks tiny
    {
        "data": images(
            "digits", "train[:64] of digits", "validation[:24] of digits", "test[:24] of digits"
        )
        | {"batch_size": 16}
    },
    {"train": {"steps": 2, "log_every_steps": 1, "evaluate_every_steps": 2}},
    {"train": {"checkpoint_every_steps": 1, "init_batch_size": 16}},
    where_present({"evaluate": {"batch_size": 16, "num_reconstructions": 4}}),
    where_present({"evaluate": {"recalibration_batches": 2}}),
    where_present({"sample": {"num_images": 8, "batch_size": 8}}),
)
