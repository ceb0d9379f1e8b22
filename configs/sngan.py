"""The GAN with spectral normalisation (Miyato et al., 2018).

    python experiments/main.py --config=configs/sngan.py[:VARIANT]

| variant | data | networks | published: IS, FID |
|---|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | residual | - |
| fashion_mnist | Fashion-MNIST, 28×28 | residual | - |
| photos | 32×32 crops of scikit-image's photographs | convolutional | - |
| cifar10 | CIFAR-10 | residual, hinge, 5 updates of D | 8.22, 21.7 |
| cifar10_cnn | CIFAR-10 | convolutional, −ln D, 1 update of D | 7.42, 29.3 |
| stl10 | STL-10 at 48×48 | residual, hinge, 5 updates of D | 9.10, 40.1 |
| smoke | digits, two tiny steps, for tests | residual | - |

No variant is measured or reproduced yet. Each can take another loss or control of the critic's
slope: `--config.model.adversarial_loss=wasserstein --config.model.lipschitz=penalty`.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},  # for the discriminator
    "train": common.TRAIN | {"steps": 50_000, "init_batch_size": 64},  # updates of the generator
    "evaluate": common.EVALUATE | common.RECALIBRATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM
    | {"learning_rate": 2e-4, "beta1": 0.0, "beta2": 0.9, "linear_decay_steps": 50_000},
    "model": common.LIPSCHITZ
    | {
        "class_conditional": False,
        "ema_decay": 0.0,  # paper: none, and running statistics do not fit an average
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "adversarial_loss": "hinge",
        "lipschitz": "spectral_norm",
        "critic_steps": 5,  # discriminator updates per generator update
        "samples_per_image": 2,  # a generator update takes 128 samples for 64 images
        "num_latents": 128,
        "generator": {
            "kind": "residual",
            "widths": (256, 256, 256, 256),  # from the image's resolution to the top
            "batch_norm_decay": 0.9,
            "batch_norm_epsilon": 2e-5,
        },
        "discriminator": {
            "kind": "residual",
            "widths": (128, 128, 128, 128),
            "num_down": 2,  # number of these blocks that halve the resolution
        },
    },
}


def convolutional(config: ConfigDict) -> None:
    """Sets the networks of Table 3, and the settings to train them (the paper's setting C)."""
    config.model.generator.update({"kind": "convolutional", "widths": (64, 128, 256, 512)})
    config.model.discriminator = {
        "kind": "convolutional",
        "widths": (64, 128, 256, 512),
        "slope": 0.1,
        "double_when_strided": False,  # True: 5.86 million parameters instead of 2.94
    }
    config.model.update({"adversarial_loss": "non_saturating", "critic_steps": 1})
    config.optimizer.update({"beta1": 0.5, "beta2": 0.999, "linear_decay_steps": 0})
    config.model.samples_per_image = 1
    config.train.steps = 100_000


VARIANTS = {
    "digits": (
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
        {"optimizer": {"learning_rate": 5e-4, "linear_decay_steps": 1_500}},
        {"model": {"num_latents": 32, "critic_steps": 2}},
        {"model": {"generator": {"widths": (32, 32, 32)}, "discriminator": {"widths": (32,) * 3}}},
    ),
    "photos": (
        convolutional,
        common.scale(1 / 8, "model.*.widths", "model.num_latents"),
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"optimizer": {"learning_rate": 5e-4}},
    ),
    "fashion_mnist": (
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"optimizer": {"learning_rate": 5e-4, "linear_decay_steps": 2_000}},
        {"model": {"num_latents": 32, "critic_steps": 2}},
        {"model": {"generator": {"widths": (32, 32, 32)}, "discriminator": {"widths": (32,) * 3}}},
    ),
    "cifar10": {},
    "cifar10_cnn": convolutional,
    "stl10": (
        {"data": common.STL10 | {"batch_size": 64}},
        {"model": {"generator": {"widths": (64, 128, 256, 512)}}},
        {"model": {"discriminator": {"widths": (64, 128, 256, 512, 1024), "num_down": 4}}},
    ),
    "smoke": (
        common.SMOKE,
        {"model": {"num_latents": 8, "critic_steps": 2}},
        {"model": {"generator": {"widths": (8, 8)}}},
        {"model": {"discriminator": {"widths": (8, 8), "num_down": 1}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("sngan", variant, PUBLISHED, variant=VARIANTS)
