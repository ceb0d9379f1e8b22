"""PixelCNN++ (Salimans et al., 2017) by itself; AGAVE can start from such a run.

    python experiments/main.py --config=configs/pixelcnn.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | 1.69 (one seed of commit 1a4987f) |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| fashion_mnist | Fashion-MNIST, 28×28 | 3.05 after 1,000 steps, 12 minutes of a core (one seed) |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: 2.92) |
| smoke | digits, two tiny steps, for tests | - |

Each variant of `configs/agave.py` takes its network from the same variant here. `cifar10` trains on
45,000 of the paper's 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 128},  # global: 16 on each of 8 GPUs
    "train": common.TRAIN,  # paper: number of steps not stated
    "evaluate": common.EVALUATE,
    # cached takes about one forward pass; fixed_point compiles faster
    "sample": common.SAMPLE | {"sampler": "cached"},
    "optimizer": common.ADAM
    | {"learning_rate_decay": 0.999995, "beta1": 0.95, "beta2": 0.9995}
    | {"epsilon": 0.0, "epsilon_root": 1e-8},
    "model": {
        "ema_decay": 0.9995,
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "pixelcnn": {
            "num_scales": 3,
            "num_blocks": 5,
            "features": 160,
            "num_mixtures": 10,
            "dropout_rate": 0.5,
            "gate_init_scale": 0.1,
            "kernel_std": 0.05,
            "min_log_scale": -7.0,
        },
    },
}
SMALL = {  # of photos and Fashion-MNIST: a model that two cores train
    "train": common.HOUR,
    "sample": {"num_images": 16, "batch_size": 16},
    "optimizer": {"learning_rate": 0.003},
    "model": {
        "ema_decay": 0.999,
        "pixelcnn": {"num_blocks": 1, "features": 24, "num_mixtures": 5, "dropout_rate": 0.1},
    },
}
VARIANTS = {
    "digits": {
        "data": common.DIGITS | {"train_split": "train_augmented of digits", "batch_size": 24},
        "train": common.MINUTES
        | {"steps": 3_000, "evaluate_every_steps": 1_000, "init_batch_size": 64},
        "evaluate": {"batch_size": 64},
        "sample": {"sampler": "fixed_point"},
        "optimizer": {"learning_rate": 0.006, "learning_rate_decay": 0.9995},
        "model": {
            "ema_decay": 0.998,
            "pixelcnn": {"num_scales": 1, "num_blocks": 3, "features": 24, "dropout_rate": 0.3},
        },
    },
    "photos": (SMALL, {"data": common.PHOTOS | {"batch_size": 8}}),
    "fashion_mnist": (
        SMALL,
        {"data": common.FASHION_MNIST | {"batch_size": 16}},
        {"train": {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"sample": {"sampler": "fixed_point"}},
        {"model": {"pixelcnn": {"num_scales": 1, "num_blocks": 1}}},
        {"model": {"pixelcnn": {"features": 8, "num_mixtures": 2}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("pixelcnn", variant, PUBLISHED, variant=VARIANTS)
