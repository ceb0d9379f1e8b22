"""The Wasserstein GAN with gradient penalty (Gulrajani et al., 2017).

    python experiments/main.py --config=configs/wgan_gp.py[:VARIANT]

| variant | data | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | not yet measured |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10 | not yet reproduced (published: IS 6.68, FID 40.2 by the thesis, Table 4.1) |
| smoke | digits, two tiny steps, for tests | - |

Generator and critic are those of `configs/adaptive_density.py:gan`, which have no batch norm.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import adaptive_density, common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN | {"steps": 200_000, "init_batch_size": 64},
    "evaluate": common.EVALUATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": 1e-4, "beta1": 0.5, "beta2": 0.9},
    "model": common.LIPSCHITZ
    | {
        "class_conditional": False,
        "ema_decay": 0.0,  # paper: none
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "critic_steps": 5,  # critic updates per generator update
        "adversarial_loss": "wasserstein",
        "lipschitz": "penalty",
        "generator": adaptive_density.GENERATOR,
        "discriminator": adaptive_density.DISCRIMINATOR["discriminator"],
    },
}
VARIANTS = {
    "digits": (
        common.scale(1 / 4, *adaptive_density.CHANNELS),
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
        {"optimizer": {"learning_rate": 5e-4}},
    ),
    "photos": (
        common.scale(1 / 8, *adaptive_density.CHANNELS),
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"optimizer": {"learning_rate": 5e-4}},
    ),
    "fashion_mnist": (  # 28 is not a multiple of 8: one halving fewer
        common.scale(1 / 4, *adaptive_density.CHANNELS),
        adaptive_density.layers(lambda widths: widths[:3]),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"optimizer": {"learning_rate": 5e-4}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        common.scale(1 / 8, *adaptive_density.CHANNELS),
        adaptive_density.layers(lambda widths: widths[:3]),
        {"model": {"critic_steps": 2}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("wgan_gp", variant, PUBLISHED, variant=VARIANTS)
