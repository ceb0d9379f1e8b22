"""Adversarial auto-encoder with a prior of one's choice (Makhzani et al., 2015).

    python experiments/main.py --config=configs/adversarial_autoencoder.py[:PRIOR[,DATA]]

| PRIOR | latents | published on MNIST |
|---|---|---|
| gaussian (default) | 8, from N(0, 5²) | Parzen estimate, 10,000 samples: 340 ± 2 nats |
| mixture | 2, from ten Gaussians around a circle | - |
| swiss_roll | 2, from a spiral | - |

| DATA | images | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| mnist | MNIST, the networks of the paper | not yet reproduced |
| cifar10 | CIFAR-10, the DCGAN's convolutions | not yet measured |
| smoke | digits, two tiny steps, for tests | - |

Adam is ours: the paper takes stochastic gradients with momentum, and does not say how the squared
error is reduced, on which its rates depend. The sizes of the priors in the plane are ours, too.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import alpha_gan, common

PERCEPTRON = {"kind": "dense", "widths": (1000, 1000), "slope": 0.0, "batch_norm": False}
PLAYERS = ("reconstruction", "code_discriminator", "regularization")
PUBLISHED = {
    "data": common.images("tfds:mnist") | {"batch_size": 100},
    "train": common.TRAIN | {"steps": 300_000},
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": dict.fromkeys(PLAYERS, 2e-4), "beta1": 0.5},
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "num_latents": 8,
        "prior": {"name": "normal", "scale": 5.0},  # or uniform, mixture, swiss_roll
        "reconstruction": {"reduction": "mean"},  # of the squared error; or sum
        "encoder": PERCEPTRON,
        "generator": PERCEPTRON | {},  # a copy: a section that stands twice would be one
        "code_discriminator": {"widths": (1000, 1000)},
    },
}


def in_the_plane(name: str) -> common.Change:
    """Two latents with a prior by name."""
    return {"model": {"num_latents": 2, "prior": {"name": name, "scale": 1.0}}}


MODELS = {
    "gaussian": {},
    "mixture": in_the_plane("mixture"),
    "swiss_roll": in_the_plane("swiss_roll"),
}
SMALL = (
    common.scale(1 / 4, "model.*.widths"),
    {"optimizer": {"learning_rate": dict.fromkeys(PLAYERS, 1e-3)}},
)


def convolutional(config: ConfigDict) -> None:
    """The DCGAN's convolutions in place of the perceptrons, and batch norms to recalibrate."""
    kind: dict[str, Any] = {"kind": "convolutional", **alpha_gan.DCGAN}
    config.model.encoder = kind | {"slope": 0.0, "first_batch_norm": True}
    config.model.generator = kind
    config.evaluate = common.RECONSTRUCT | common.RECALIBRATE


DATA = {
    "digits": (
        SMALL,
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
    ),
    "fashion_mnist": (
        SMALL,
        {"data": common.FASHION_MNIST},
        {"train": common.HOUR | {"steps": 5_000, "evaluate_every_steps": 1_000}},
    ),
    "mnist": {},
    "cifar10": (convolutional, {"data": common.CIFAR10}),
    "smoke": (common.scale(1 / 125, "model.*.widths"), common.SMOKE),
}


def get_config(variant: str = "gaussian,digits") -> ConfigDict:
    """Returns the locked config of PRIOR[,DATA]."""
    return common.page("adversarial_autoencoder", variant, PUBLISHED, prior=MODELS, data=DATA)
