"""Bits/dim of a GAN, from an encoder and noise around a frozen generator (Lucas et al., 2019).

    python experiments/main.py --config=configs/adaptive_density.py:gan,DATA
    python experiments/main.py --config=configs/gan_likelihood.py:DATA
        --config.frozen.generator=runs/adaptive_density-gan,DATA

| DATA | images | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | [≤ 4.61] (one seed of commit 1a4987f) |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10 | not yet reproduced (published: [7.0], with rd [6.9]) |
| smoke | digits, two tiny steps, for tests | - |

`frozen.generator` is a run of any model that generates images from one latent vector; its best
checkpoint is used. The brackets are the paper's: the number bounds a density that was added to the
GAN afterwards.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    # The work directory of the generator's run, not read once this run has a checkpoint.
    "frozen": {"generator": ""},
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN  # paper: number of steps not stated
    | {"steps": 100_000, "evaluate_every_steps": 5_000, "init_batch_size": 64},
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 2},
    "sample": common.SAMPLE,
    "optimizer": common.ADAMAX,  # appendix C
    "model": {
        "init_log_std": -1.0,  # initial ln σ, in the units of [−1, 1]
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "encoder": {  # mirrors the generator, whose own settings come with its run
            "widths": (64, 128, 256, 512),
            "residual_scale": 0.0,
            "head_init_scale": 0.1,  # for the posterior's mean and log standard deviation
        },
    },
}
VARIANTS = {
    "digits": {
        "data": common.DIGITS,
        "train": common.MINUTES,
        "evaluate": {"batch_size": 64},
        "model": {"encoder": {"widths": (16, 32, 64, 128)}},
    },
    "photos": {
        "data": common.PHOTOS | {"batch_size": 16},
        "train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500},
        "model": {"encoder": {"widths": (8, 16, 32, 64)}},
    },
    "fashion_mnist": {
        "data": common.FASHION_MNIST | {"batch_size": 32},
        "train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500},
        "model": {"encoder": {"widths": (16, 32, 64)}},
    },
    "cifar10": {},
    "smoke": (common.SMOKE, {"model": {"encoder": {"widths": (8, 16)}}}),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("gan_likelihood", variant, PUBLISHED, variant=VARIANTS)
