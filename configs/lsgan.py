"""The least-squares GAN (Mao et al., 2017).

    python experiments/main.py --config=configs/lsgan.py[:VARIANT]

| variant | data | targets a, b, c |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | 0, 1, 1 (Eq. 9) |
| digits_pearson | scikit-learn's 8×8 digits, 17 levels | −1, 1, 0 (Eq. 8) |
| photos | 32×32 crops of scikit-image's photographs | 0, 1, 1 |
| fashion_mnist | Fashion-MNIST, 28×28 | 0, 1, 1 |
| cifar10 | CIFAR-10, on which the paper does not train | 0, 1, 1 |
| smoke | digits, two tiny steps, for tests | 0, 1, 1 |

None is measured yet; the paper shows samples and gives no numbers. Any variant takes other targets:
`--config.model.targets.a=-1 --config.model.targets.c=0`.
Generator and discriminator are those of `configs/adaptive_density.py:gan`; the paper's are deeper,
for 112×112 images, and have batch norm.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import adaptive_density, common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN | {"steps": 200_000, "init_batch_size": 64},  # paper: not said
    "evaluate": common.EVALUATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": 2e-4, "beta1": 0.5},  # paper: 1e-3 on LSUN
    "model": common.LIPSCHITZ
    | {
        "class_conditional": False,
        "ema_decay": 0.0,  # paper: none
        "matmul_dtype": "float32",  # or tf32, bfloat16
        # What D is drawn to on samples (a) and data (b), and what G draws it to (c).
        "targets": {"a": 0.0, "b": 1.0, "c": 1.0},
        "generator": adaptive_density.GENERATOR,
        "discriminator": adaptive_density.DISCRIMINATOR["discriminator"],
    },
}
DIGITS = (
    common.scale(1 / 4, *adaptive_density.CHANNELS),
    {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
)
VARIANTS = {
    "digits": DIGITS,
    "digits_pearson": (*DIGITS, {"model": {"targets": {"a": -1.0, "c": 0.0}}}),
    "photos": (
        common.scale(1 / 8, *adaptive_density.CHANNELS),
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "fashion_mnist": (  # 28 is no multiple of 8: one halving fewer
        common.scale(1 / 4, *adaptive_density.CHANNELS),
        adaptive_density.layers(lambda widths: widths[:3]),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        common.scale(1 / 8, *adaptive_density.CHANNELS),
        adaptive_density.layers(lambda widths: widths[:3]),
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("lsgan", variant, PUBLISHED, variant=VARIANTS)
