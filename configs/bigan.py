"""Bidirectional GAN (Donahue et al., 2017) and ALI (Dumoulin et al., 2017).

    python experiments/main.py --config=configs/bigan.py[:MODEL[,DATA]]

| MODEL | encoder and generator | discriminator of pairs |
|---|---|---|
| bigan (default) | functions | leaky ReLUs |
| ali | Gaussians around functions | maxout, dropout |

| DATA | examples | published |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | - |
| grid_ali | 25 Gaussians on the plane | ali: 13.4 ± 5.8 modes, GAN: 10.4 ± 9.2 (10 runs) |
| fashion_mnist | Fashion-MNIST, 28×28 | - |
| mnist | MNIST, the setting of bigan | 1-nearest-neighbour on features: 97.4 % |
| cifar10 | CIFAR-10, convolutions | - |
| smoke, smoke_grid | digits and points, two tiny steps, for tests | - |

What was measured is in `docs/results/hybrids.md`. The networks of `cifar10` are the DCGAN's; those
of ALI have no padding, and biases of the output that start at the log-odds of the data. ALI's code
draws codes, but no images: `--config.model.generator_noise=False`. BiGAN's critic and the first
hidden layers of all other perceptrons have no batch norm here: a pair is judged by itself.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import alpha_gan, common

PERCEPTRON = {"kind": "dense", "widths": (1024, 1024), "slope": 0.2, "batch_norm": True}
PUBLISHED = {
    "data": common.images("tfds:mnist") | {"batch_size": 128},
    "train": common.TRAIN | {"steps": 187_500, "init_batch_size": 64},  # 400 epochs
    "evaluate": common.RECONSTRUCT | common.RECALIBRATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM
    | {
        "learning_rate": 2e-4,
        "beta1": 0.5,
        # In the second half the rate falls to 1 %, here by jumps.
        "decay_steps": tuple(range(93_750, 187_500, 9_375)),
        "decay_factor": 0.631,
    },
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "num_latents": 50,
        "prior": {"name": "uniform", "scale": 1.0},  # in [−1, 1]; or normal, mixture, swiss_roll
        "encoder_noise": False,  # whether codes are drawn,
        "generator_noise": False,  # and whether samples are, given their latents
        "generator_init_log_std": -3.0,  # of drawn samples, before training
        "weight_decay": 2.5e-5,
        "encoder": PERCEPTRON,
        "generator": PERCEPTRON | {"slope": 0.0},
        "discriminator": {
            "kind": "dense",
            "widths": (1024,),  # of layers that see x alone,
            "code_widths": (),  # that see z alone,
            "joint_widths": (1024,),  # and that see both
            "pieces": 1,  # of each maxout unit; 1: leaky ReLUs
            "slope": 0.2,
            "input_dropout_rate": 0.0,
            "dropout_rate": 0.0,
        },
    },
}
MODELS = {
    "bigan": {},
    "ali": (
        {"data": {"batch_size": 100}, "train": {"steps": 450_000}},
        {"optimizer": {"learning_rate": 1e-4, "decay_steps": ()}},
        {"model": {"num_latents": 64, "prior": {"name": "normal"}, "weight_decay": 0.0}},
        {"model": {"encoder_noise": True, "generator_noise": True}},
        {"model": {"discriminator": {"code_widths": (512, 512), "joint_widths": (1024, 1024)}}},
        {"model": {"discriminator": {"input_dropout_rate": 0.2, "dropout_rate": 0.5}}},
        {"model": {"discriminator": {"pieces": 2}}},
    ),
}


def convolutional(network: dict[str, Any]) -> common.Change:
    """The DCGAN's convolutions in place of the perceptrons."""

    def change(config: ConfigDict) -> None:
        model, kind = config.model, {"kind": "convolutional", **network}
        judge = {name: value for name, value in model.discriminator.items() if name != "widths"}
        model.encoder = kind | {"slope": model.encoder.slope, "first_batch_norm": True}
        model.generator = kind
        model.discriminator = judge | kind

    return change


def points(*hidden: int) -> common.Change:
    """Networks of points; ALI's code has widths of 1000, and of 400 in the discriminator."""
    return (
        {"data": common.images("points:grid_ali") | {"batch_size": 100}},
        {"train": {"steps": 20_000, "evaluate_every_steps": 20_000}},
        {"optimizer": {"learning_rate": 1e-3, "decay_steps": ()}},
        {"model": {"num_latents": 2, "prior": {"name": "normal"}}},
        {"model": {"encoder": {"widths": hidden}, "generator": {"widths": hidden}}},
        {"model": {"discriminator": {"widths": (), "code_widths": (), "joint_widths": hidden}}},
    )


SHORT = ({"optimizer": {"decay_steps": ()}}, {"model": {"num_latents": 16}})
DATA = {
    "digits": (
        SHORT,
        common.scale(1 / 4, "model.*widths"),
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
    ),
    "grid_ali": points(400, 400),
    "fashion_mnist": (
        SHORT,
        common.scale(1 / 2, "model.*widths"),
        {"data": common.FASHION_MNIST | {"batch_size": 64}},
        {"train": common.HOUR | {"steps": 5_000, "evaluate_every_steps": 1_000}},
    ),
    "mnist": {},
    "cifar10": (convolutional(alpha_gan.DCGAN), {"data": common.CIFAR10}),
    "smoke": (
        convolutional({"kernel_size": 4, "layers": ((8, 4),)}),
        common.scale(1 / 128, "model.*widths"),
        common.SMOKE,
        {"optimizer": {"decay_steps": (1,)}, "model": {"num_latents": 4}},
    ),
    "smoke_grid": (
        points(8, 8),
        common.SMOKE,
        {"data": common.images("points:grid_ali", "train[:64]", "validation[:24]", "test[:24]")},
    ),
}


def get_config(variant: str = "bigan,digits") -> ConfigDict:
    """Returns the locked config of MODEL[,DATA]."""
    return common.page("bigan", variant, PUBLISHED, model=MODELS, data=DATA)
