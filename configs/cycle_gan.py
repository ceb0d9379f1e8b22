"""CycleGAN: translation between two unpaired domains (Zhu et al., 2017).

    python experiments/main.py --config=configs/cycle_gan.py[:VARIANT]

| variant | domain a | domain b |
|---|---|---|
| digits (default) | half of scikit-learn's 8×8 digits | the other half, in black and white |
| blobs | three Gaussians on the plane | the same, turned by 30 degrees |
| fashion_mnist | half of Fashion-MNIST | the other half, each image in a colour |
| folders | a folder of yours, at 64×64 | another one |
| horse2zebra | the paper's horses, 256×256 | its zebras |
| smoke | a few digits | a few others, two tiny steps, for tests |
| smoke_blobs | a few points | a few others, two tiny steps, for tests |

`folders` takes `--config.data.source='pair:folder:PATH_A|folder:PATH_B'`. A trained run translates:
`--mode=translate --direction=a_to_b [--input=SOURCE] [--output=DIR]`.

What was measured is in `docs/results/hybrids.md`; the paper has other data. `test.json` has
`cycle_error_a` and `cycle_error_b`, how far examples come back from where they started. Where both
domains have the same classes, it also has `correct_a_to_b`, the share of translations that keep
their class, judged by the nearest training example of domain b; `correct_if_renamed_a_to_b`, which
lets the map permute the classes, as no loss sees them and cycles close all the same; `judge_b`, the
judge on domain b's own examples; and as much in the other direction. On blobs the identity
term prefers the smallest turn: `--config.model.identity_weight=0` takes it away.

The rate falls over the second half of the page's steps. Other `--config.train.steps` do not move
that: the training says so, and which `--config.optimizer.linear_decay_start` and
`linear_decay_steps` do.

The authors' code resizes to 286×286 pixels and crops 256×256 of them at random; here images are
only mirrored. Its learning rate falls at the end of each epoch, here at each step.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

DIGITS, BLOBS = "pair:digits|binary:digits", "pair:points:blobs|points:blobs_turned"
FASHION_MNIST = "pair:tfds:fashion_mnist|colored:tfds:fashion_mnist"
HORSE2ZEBRA = "pair:tfds:cycle_gan/horse2zebra|tfds:cycle_gan/horse2zebra"


def unpaired(source: str, *splits: str) -> dict[str, Any]:
    """The section `data` of a pair and its splits SPLIT_A|SPLIT_B, which mean this pair only."""
    return common.images(source, *(f"{split} of {source}" if split else "" for split in splits))


PUBLISHED = {
    "data": unpaired(
        HORSE2ZEBRA,
        "trainA[:95%]|trainB[:95%]",  # paper: all of them
        "trainA[95%:]|trainB[95%:]",
        "testA|testB",
    )
    | {"flip": True, "batch_size": 1},
    # 200 epochs of the larger domain's 1,334 images. One image a step is for one device.
    "train": common.TRAIN | {"steps": 266_800, "init_batch_size": 1, "parallel": "jit"},
    "evaluate": {"batch_size": 16, "num_translations": 16},
    "optimizer": common.ADAM
    | {
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "linear_decay_start": 133_400,
        "linear_decay_steps": 266_800,
    },
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "pool_size": 50,
        "cycle_weight": 10.0,
        "identity_weight": 5.0,  # of the code, half of `cycle_weight`; paper: for paintings only
        "generator": {"widths": (64, 128, 256), "num_blocks": 9},
        "critic": {"widths": (64, 128, 256, 512)},
    },
}


def decay(steps: int) -> common.Change:
    """A change of the length; as published the rate falls to 0 over the second half."""
    return (
        {"train": {"steps": steps}},
        {"optimizer": {"linear_decay_start": steps // 2, "linear_decay_steps": steps}},
    )


def points(*widths: int) -> common.Change:
    """A change to multilayer perceptrons, for points."""

    def change(config: ConfigDict) -> None:
        config.model.generator = {"widths": widths}
        config.model.critic = {"widths": widths}

    return change


ALL_DEVICES = {"train": {"parallel": "shard_map", "init_batch_size": 16}}
POINTS: common.Change = (
    ALL_DEVICES,
    {"data": unpaired(BLOBS, "train[:50%]|train[50%:]", "", "") | {"batch_size": 128}},
    {"evaluate": {"batch_size": 1_000, "num_translations": 1_000}},
    {"train": common.MINUTES | {"evaluate_every_steps": 2_500}},
    decay(5_000),
    {"optimizer": {"learning_rate": 1e-3}},
    points(64, 64),
)
TINY_SPLITS = (
    "train[:64]|train[64:112]",
    "validation[:24]|validation[24:44]",
    "test[:24]|test[24:44]",
)
VARIANTS = {
    "digits": (
        ALL_DEVICES,
        {"data": unpaired(DIGITS, "train[:50%]|train[50%:]", "", "") | {"batch_size": 16}},
        {"train": common.MINUTES | {"evaluate_every_steps": 500}, "evaluate": {"batch_size": 64}},
        decay(2_000),
        {"optimizer": {"learning_rate": 5e-4}},
        {"model": {"generator": {"widths": (32, 64), "num_blocks": 2}}},
        {"model": {"critic": {"widths": (32, 64)}}},
    ),
    "blobs": POINTS,
    "fashion_mnist": (
        ALL_DEVICES,
        {
            "data": unpaired(FASHION_MNIST, "train[:45%]|train[45%:90%]", "train[90%:]", "test")
            | {"batch_size": 16}
        },
        {"train": common.HOUR | {"evaluate_every_steps": 500}, "evaluate": {"batch_size": 64}},
        decay(2_000),
        {"model": {"identity_weight": 0.0}},  # grey and colour differ in channels
        {"model": {"generator": {"widths": (16, 32, 64), "num_blocks": 3}}},
        {"model": {"critic": {"widths": (32, 64, 128)}}},
    ),
    "folders": (
        ALL_DEVICES,
        {
            "data": common.images("pair:folder:PATH_A|folder:PATH_B")
            | {"crop": "center", "resize": 64, "flip": True, "batch_size": 8}
        },
        {"train": common.HOUR},
        decay(10_000),
        {"model": {"generator": {"widths": (16, 32, 64), "num_blocks": 6}}},
        {"model": {"critic": {"widths": (16, 32, 64, 128)}}},
    ),
    "horse2zebra": {},
    "smoke": (
        ALL_DEVICES,
        common.SMOKE,
        {"data": unpaired(DIGITS, *TINY_SPLITS) | {"batch_size": 8}},
        {"evaluate": {"num_translations": 4}},
        {"model": {"generator": {"widths": (8,), "num_blocks": 1}, "critic": {"widths": (8, 8)}}},
        {"model": {"pool_size": 12}},  # full in the second step
    ),
    "smoke_blobs": (
        POINTS,
        common.SMOKE,
        {"data": unpaired(BLOBS, *TINY_SPLITS) | {"batch_size": 8}},
        points(8),
        {"model": {"pool_size": 12}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("cycle_gan", variant, PUBLISHED, variant=VARIANTS)
