"""Variational autoencoder, with a normalising flow in its posterior or without.

    python experiments/main.py --config=configs/vae.py[:POSTERIOR[,DATA]]

| POSTERIOR | q(z given x) | published on MNIST: nats |
|---|---|---|
| gaussian (default) | a Gaussian with a diagonal covariance (Kingma & Welling, 2014) | ≤ 86.55 |
| planar | and 4 planar layers (Rezende & Mohamed, 2015) | ≤ 86.06 |
| radial | and 4 radial layers (the same) | - |
| iaf | and 4 inverse autoregressive layers (Kingma et al., 2016) | - |

| DATA | images | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 2.00 bits/dim; planar ≤ 1.98 |
| binary_digits | the same in black and white, a Bernoulli decoder | not yet measured |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| mnist | MNIST in black and white, the published setting | not yet reproduced |
| cifar10 | CIFAR-10, the networks of mnist | not yet measured |
| smoke | digits, two tiny steps, for tests | - |

The published numbers are those of van den Berg et al. (2018), whose networks and optimizer these
are; they draw each pixel of MNIST in black or white once (`gm_jax/data/binary.py`), and stop after
100 epochs without an improvement. `--config.model.flow.length=K` has K layers, and
`--config.model.kl_annealing_steps=0` the whole KL from the first step on. Bits/dim are one-sample
bounds.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.images("binary:tfds:mnist") | {"batch_size": 100},
    "train": common.TRAIN,
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 3},
    "sample": common.SAMPLE,
    "optimizer": common.ADAMAX | {"learning_rate": 5e-4, "epsilon": 1e-7},
    "model": {
        # Of images with 2 levels; or discretized_logistic, logistic_mixture, softmax over the
        # levels; or densities: gaussian, gaussian_channel, gaussian_pixel, gaussian_full, whose
        # deviations are learned for all values, by channel, by pixel, or with all covariances.
        "likelihood": "bernoulli",
        "num_latents": 64,
        "estimator": "reparametrisation",  # of the encoder's gradient; or score_function
        "flow": {"kind": "planar", "length": 0},  # K layers; 0: a Gaussian, whatever the kind
        "kl_start": 0.0,  # weight of the KL at the first step,
        "kl_annealing_steps": 50_000,  # from which it rises to 1: 100 epochs; 0: it is 1
        "init_log_scale": -1.5,  # of a logistic or Gaussian of a pixel in [−1, 1]
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "network": {
            "kind": "convolutional",  # or dense, which has widths alone
            "kernel_size": 5,
            "layers": ((32, 1), (32, 2), (64, 1), (64, 2), (64, 1)),  # channels and strides
            "features": 256,  # of which all of the posterior's parameters are linear functions
        },
    },
}
MODELS = {
    "gaussian": {},
    "planar": {"model": {"flow": {"length": 4}}},
    "radial": {"model": {"flow": {"kind": "radial", "length": 4}}},
    "iaf": {"model": {"flow": {"kind": "iaf", "length": 4, "widths": (320,)}}},
}
LEVELS = {"model": {"likelihood": "discretized_logistic"}}


def dense(*widths: int) -> common.Change:
    """Dense layers of these widths in the encoder and, backwards, in the decoder."""

    def change(config: ConfigDict) -> None:
        config.model.network = {"kind": "dense", "widths": widths}

    return change


def iaf_widths(*widths: int) -> common.Change:
    """The hidden layers of an inverse autoregressive flow's networks, where there are any."""
    return common.where_present({"model": {"flow": {"widths": widths}}})


DIGITS = (
    dense(256, 128),
    iaf_widths(64),
    {"train": common.MINUTES | {"steps": 6_000, "evaluate_every_steps": 1_000}},
    {"data": common.DIGITS | {"batch_size": 64}, "evaluate": {"batch_size": 64}},
    {"optimizer": {"learning_rate": 0.002, "learning_rate_decay": 0.9995}},
    {"model": {"num_latents": 16, "kl_annealing_steps": 1_000}},
)
HOUR = (
    {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
    {"evaluate": {"num_reconstructions": 8}, "sample": {"num_images": 16, "batch_size": 16}},
    {"optimizer": {"learning_rate": 0.002}},
    {"model": {"kl_annealing_steps": 500}},
)
DATA = {
    "digits": (*DIGITS, LEVELS),
    "binary_digits": (*DIGITS, {"data": {"source": "binary:digits"}}),
    "photos": (
        HOUR,
        LEVELS,
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"model": {"network": {"layers": ((16, 1), (16, 2), (32, 1), (32, 2))}}},
    ),
    "fashion_mnist": (
        HOUR,
        LEVELS,
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"model": {"network": {"layers": ((16, 1), (16, 2), (32, 1), (32, 2))}}},
    ),
    "mnist": {},
    "cifar10": (LEVELS, {"data": common.CIFAR10 | {"batch_size": 100}}),
    "smoke": (
        common.SMOKE,
        LEVELS,
        iaf_widths(8),
        {"model": {"num_latents": 4, "kl_start": 0.5, "kl_annealing_steps": 3}},
        {"model": {"network": {"kernel_size": 3, "layers": ((4, 2),), "features": 8}}},
    ),
}


def get_config(variant: str = "gaussian") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("vae", variant, PUBLISHED, posterior=MODELS, data=DATA)
