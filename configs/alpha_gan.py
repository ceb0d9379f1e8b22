"""α-GAN and what its paper compares it with (Rosca et al., 2017).

    python experiments/main.py --config=configs/alpha_gan.py[:MODEL[,DATA]]

| MODEL | encoder | codes match the prior by | images match the data by |
|---|---|---|---|
| alpha_gan (default) | yes | a code discriminator | L1 and a discriminator |
| alpha_gan_kl | yes | the empirical KL (appendix D) | L1 and a discriminator |
| age | yes | the empirical KL, on the unit sphere | L1 and the encoder |
| dcgan | - | - | a discriminator |
| wgan_gp | - | - | a critic with a gradient penalty |

| DATA | images | expected |
|---|---|---|
| colored_digits (default) | scikit-learn's 8×8 digits in colour, 17 levels | 3 minutes, two cores |
| color_mnist | MNIST in colour, 28×28 | not yet reproduced |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10, celeba | the paper's, celeba at 64×64 | not yet reproduced |
| smoke | coloured digits, two tiny steps, for tests | - |

The paper gives box plots over sweeps and no table of numbers. `experiments/alpha_gan/sweep.py`
draws settings from its grids (appendix H), `experiments/alpha_gan/ablation.py` is its appendix D,
and `experiments/sweep.py` takes grids of your own. `--config.data.source=colored:idx:FOLDER`
colours MNIST's own files. `cifar10` trains on 45,000 of 50,000 images.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

# (channels, stride) of each convolution, from the image; the generator's are transposed.
DCGAN = {"kernel_size": 4, "layers": ((64, 2), (128, 2), (256, 2))}  # H.4.2, at 32×32
TABLE_3 = {"kernel_size": 5, "layers": ((8, 2), (16, 1), (32, 2), (64, 1), (64, 2))}
TABLE_4 = {"kernel_size": 5, "layers": ((32, 2), (64, 1), (64, 2))}
RATE = 5e-4  # of α-GAN's discriminators; E and G: 1e-4 or 5e-4 (Table 2)
PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN | {"steps": 200_000, "init_batch_size": 64},
    "evaluate": common.RECONSTRUCT | common.RECALIBRATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM
    | {
        "learning_rate": dict.fromkeys(
            ("encoder", "generator", "discriminator", "code_discriminator"), RATE
        ),
        "beta1": 0.5,
        "beta2": 0.9,
    },
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "num_latents": 100,
        "generator": DCGAN,
    },
}
DISCRIMINATOR = DCGAN | {"batch_norm": True}
ALPHA_GAN: dict[str, Any] = {
    "reconstruction": {
        "reduction": "mean",  # of L1 over an image's values; or sum. The paper does not say
        "encoder_weight": 10.0,  # λ of E's loss: 1, 5, 10 or 50
        "generator_weight": 10.0,  # of G's loss, swept apart
    },
    "real_weight": 2.0,  # w of the discriminator's loss: 2 is Eq. 14, 1 is Eq. 15
    "discriminator": DISCRIMINATOR,
}
CODE_DISCRIMINATOR = {"widths": (750, 750, 750)}
GAN = common.LIPSCHITZ | {
    "class_conditional": False,
    "ema_decay": 0.0,  # paper: none, and running statistics do not fit an average
    "discriminator": DISCRIMINATOR | {"dropout_rate": 0.0},
}


def players(*names: str) -> common.Change:
    """A change that keeps the learning rates of these players."""

    def keep(config: ConfigDict) -> None:
        with config.unlocked():
            config.optimizer.learning_rate = {
                name: config.optimizer.learning_rate[name] for name in names
            }

    return keep


NO_ENCODER = (
    common.without("evaluate.num_reconstructions", "evaluate.reconstruction_draws"),
    players("generator", "discriminator"),
)
SLOWER = {"optimizer": {"learning_rate": {"generator": 2e-4, "discriminator": 2e-4}}}
MODELS = {
    "alpha_gan": {
        "model": ALPHA_GAN
        | {"code_match": "discriminator", "code_discriminator": CODE_DISCRIMINATOR}
    },
    "alpha_gan_kl": (
        {"model": ALPHA_GAN | {"code_match": "empirical_kl"}},
        players("encoder", "generator", "discriminator"),
    ),
    "age": (
        {"method": "age"},
        {
            "model": {
                "generator_steps": 2,  # per update of the encoder
                "kl_moment": "deviation",  # what s of Eq. 18 is; AGE's code: variance
                "reconstruction": {
                    "reduction": "mean",
                    # AGE's code weighs L1 by 10 and its cosine, averaged over the latents too, by
                    # 1000, which is 1000/num_latents here. α-GAN's paper: 100 to 2000, and 10.
                    "image_weight": 10.0,
                    "code_weight": 10.0,
                },
                "encoder": DCGAN,
            }
        },
        players("encoder", "generator"),
        {"optimizer": {"learning_rate": {"encoder": 2e-4, "generator": 2e-4}}},
    ),
    "dcgan": (
        {"method": "dcgan", "model": GAN | {"adversarial_loss": "non_saturating"}},
        *NO_ENCODER,
        SLOWER,
    ),
    "wgan_gp": (
        {
            "method": "dcgan_wgan_gp",
            "model": GAN
            | {
                "adversarial_loss": "wasserstein",
                "lipschitz": "penalty",
                "critic_steps": 5,  # critic updates per generator update
            },
        },
        {"model": {"discriminator": {"batch_norm": False}}},  # paper: everywhere
        *NO_ENCODER,
        SLOWER,
    ),
}


def networks(generator: dict[str, Any], discriminator: dict[str, Any]) -> common.Change:
    """A change of the convolutions; AGE's encoder has the discriminator's."""
    return common.where_present(
        {
            "model": {
                "generator": generator,
                "discriminator": discriminator,
                "encoder": discriminator,
            }
        }
    )


def dropout(config: ConfigDict) -> None:
    """Sets the dropout of "0.8" that DCGAN alone has on ColorMNIST (Table 3).

    We read it as the share that is kept, which is what TensorFlow's dropout took then.
    """
    if config.method == "dcgan":
        config.model.discriminator.dropout_rate = 0.2


def small(latents: int, generator: dict[str, Any], discriminator: dict[str, Any]) -> common.Change:
    """A change to networks that two cores train."""
    return (
        networks(generator, discriminator),
        {"model": {"num_latents": latents}},
        common.where_present({"model": {"code_discriminator": {"widths": (128, 128, 128)}}}),
    )


TINY = {"kernel_size": 4, "layers": ((32, 2), (64, 2))}  # the generator starts at 2×2
# Half of Tables 3 and 4.
NARROW_3 = {"kernel_size": 5, "layers": ((8, 2), (16, 1), (16, 2), (32, 1), (32, 2))}
NARROW_4 = {"kernel_size": 5, "layers": ((16, 2), (32, 1), (32, 2))}
DEEPER = {"layers": (*DCGAN["layers"], (512, 2))}
SMOKE_DATA = common.images(
    "colored:digits",
    *(f"{split} of colored:digits" for split in ("train[:64]", "validation[:24]", "test[:24]")),
)
DATA = {
    "colored_digits": (
        small(32, TINY, TINY),
        {
            "data": common.DIGITS | {"source": "colored:digits"},
            "train": common.MINUTES | {"steps": 2_000, "evaluate_every_steps": 500},
            "evaluate": {"batch_size": 64},
        },
    ),
    "color_mnist": (
        networks(TABLE_4, TABLE_3),  # on any images whose sides are multiples of 4
        dropout,
        {"data": common.images("colored:tfds:mnist"), "train": {"steps": 100_000}},
        {"model": {"num_latents": 50}},  # 10, 50 or 75
    ),
    "fashion_mnist": (
        small(32, NARROW_4, NARROW_3),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "celeba": (
        networks(DEEPER, DEEPER),
        {"data": common.images("tfds:celeb_a") | {"crop": "center", "resize": 64}},
    ),
    "smoke": (
        small(8, {"layers": ((8, 4),)}, {"layers": ((8, 2), (8, 2))}),
        common.scale(1 / 8, "model.*.widths"),
        common.SMOKE,
        {"data": SMOKE_DATA},
        common.where_present({"model": {"critic_steps": 2}}),
    ),
}


def get_config(variant: str = "alpha_gan,colored_digits") -> ConfigDict:
    """Returns the locked config of MODEL[,DATA]."""
    return common.page("alpha_gan", variant, PUBLISHED, model=MODELS, data=DATA)
