"""Mixed batches and symmetric discriminators, and their rivals (Lucas et al., 2018; thesis ch. 4).

    python experiments/main.py --config=configs/mixed_batch_gan.py[:MODEL[,DATA]]

| MODEL | discriminator | published on CIFAR-10: IS, FID |
|---|---|---|
| m_bgan (default) | symmetric, the loss of each logit (Eq. 4.14) | 7.49, 23.7 |
| bgan | symmetric, the loss of the mean logit (Eq. 4.13) | 7.05, 36.5 |
| bgan_pure | as bgan, on pure batches: γ = 0 (Eq. 4.1) | - |
| gan | pointwise | - |
| mixup | pointwise, on averages of data and samples (Zhang et al., 2018) | - |
| minibatch_discrimination | its last layer sees the batch (Salimans et al., 2016) | 7.09, 35.0 |
| standard_deviation | the batch's deviation before the last layer (Karras et al., 2018) | - |
| sn | spectral norm, −ln D (Miyato et al., 2018) | 7.42, 29.3 |
| sn_hinge | spectral norm, hinge | - |
| gp | gradient penalty, −ln D | 6.93, 37.7 |
| wgp | gradient penalty, Wasserstein | 6.68, 40.2 |

| DATA | examples | published |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | - |
| ring, grid | 8 and 25 Gaussians on the plane | fig. 4.3 |
| photos | 32×32 crops of scikit-image's photographs | - |
| fashion_mnist | Fashion-MNIST, 28×28 | - |
| cifar10 | CIFAR-10 | Table 4.1 |
| celeba | CelebA at 64×64 | fig. 4.5 |
| stl10 | STL-10 at 48×48 | Table 4.2: m_bgan 8.7, 51; sn 8.7, 47.5; sn_hinge 8.8, 43.2 |
| smoke, smoke_ring | digits and points, two tiny steps, for tests | - |

What was measured on points is in `docs/results/mixed_batches.md`; images are not measured yet. The
thesis searches γ in [.2, .5] and 1 to 5 updates of the discriminator, and does not say which it
took on CIFAR-10: here γ is ½, with one update, as on CelebA. It does not give the batch size. Its
equivariant layers have 3×3 kernels; here they have those of the layers that they replace, of which
SNGAN's strided ones are 4×4. On points, gan and mixup take the generator's loss of mixup's code,
ln(1 − D).

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common, sngan

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},  # thesis: not stated; that of SNGAN
    "train": common.TRAIN | {"steps": 200_000, "init_batch_size": 64},  # 400,000 of both networks
    "evaluate": common.EVALUATE | common.RECALIBRATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": 2e-4, "beta1": 0.5},
    "model": common.LIPSCHITZ
    | {
        "class_conditional": False,
        "ema_decay": 0.0,  # thesis: none
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "critic_steps": 1,
        "num_latents": 128,
        "generator": sngan.PUBLISHED["model"]["generator"]
        | {"kind": "convolutional", "widths": (64, 128, 256, 512)},
        "discriminator": {
            "kind": "convolutional",
            "widths": (64, 128, 256, 512),
            "slope": 0.1,
            "double_when_strided": False,
            "batch_features": "none",  # or minibatch_discrimination, standard_deviation
        },
    },
}


def mixed(reduction: str, gamma: float = 0.5) -> common.Change:
    """A symmetric discriminator of mixed batches."""
    fields = {"reduction": reduction, "gamma": gamma, "symmetric": True}
    return {"model": fields}


def rival(adversarial_loss: str, batch_features: str = "none", **model: str) -> common.Change:
    """A discriminator of single examples, by SNGAN's file."""
    fields = {"adversarial_loss": adversarial_loss, "samples_per_image": 1, **model}
    of_batch = {"discriminator": {"batch_features": batch_features}}
    return ({"method": "sngan"}, {"model": fields}, {"model": of_batch})


MODELS = {
    "m_bgan": mixed("m_bgan"),
    "bgan": mixed("bgan"),
    "bgan_pure": mixed("bgan", gamma=0.0),
    "gan": rival("non_saturating"),
    "mixup": (rival("non_saturating"), {"method": "mixup_gan", "model": {"mixup": 0.2}}),
    "minibatch_discrimination": rival("non_saturating", "minibatch_discrimination"),
    "standard_deviation": rival("non_saturating", "standard_deviation"),
    "sn": rival("non_saturating", lipschitz="spectral_norm"),
    "sn_hinge": rival("hinge", lipschitz="spectral_norm"),
    "gp": rival("non_saturating", lipschitz="penalty"),
    "wgp": rival("wasserstein", lipschitz="penalty"),
}


def points(config: ConfigDict) -> None:
    """Networks and losses of points, as in mixup's code, whose data the thesis takes (4.5.1)."""
    config.model.generator = {"widths": (512, 512, 512)}
    config.model.discriminator = {
        "widths": (512, 512, 512),
        "batch_features": config.model.discriminator.batch_features,
    }
    config.model.update({"num_latents": 2, "critic_steps": 5})
    if "gamma" in config.model and config.model.gamma:
        config.model.gamma = 0.3  # that of fig. 4.3
    if "adversarial_loss" in config.model and config.model.lipschitz == "none":
        config.model.adversarial_loss = "minimax"
    common.without("evaluate.recalibration_batches")(config)  # there are no batch norms
    config.optimizer = common.ADAM
    config.data.batch_size = 128
    config.train.update({"steps": 20_000, "evaluate_every_steps": 20_000})


SMALL = {"model": {"num_latents": 32}, "optimizer": {"learning_rate": 5e-4}}
HOUR = {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}}
TINY_RING = (
    {"data": common.images("points:ring", "train[:64]", "validation[:24]", "test[:24]")},
    {"data": {"batch_size": 16}, "train": {"steps": 2, "evaluate_every_steps": 2}},
    {"model": {"critic_steps": 2, "generator": {"widths": (8, 8)}}},
    {"model": {"discriminator": {"widths": (8, 8)}}},
)
DATA = {
    "digits": (
        SMALL,
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
        {"model": {"generator": {"widths": (32, 64, 128)}}},
        {"model": {"discriminator": {"widths": (32, 64, 128)}}},
    ),
    "ring": (points, {"data": common.images("points:ring")}),
    "grid": (points, {"data": common.images("points:grid")}),
    "smoke_ring": (common.SMOKE, points, TINY_RING),
    "photos": (
        SMALL,
        HOUR,
        common.scale(1 / 4, "model.*.widths"),
        {"data": common.PHOTOS | {"batch_size": 32}},
    ),
    "fashion_mnist": (
        SMALL,
        HOUR,
        {"data": common.FASHION_MNIST | {"batch_size": 64}},
        {"model": {"generator": {"widths": (16, 32, 64)}}},
        {"model": {"discriminator": {"widths": (16, 32, 64)}}},
    ),
    "cifar10": {},
    "celeba": (  # a layer more in both networks
        {"data": common.CELEBA64 | {"batch_size": 64}},
        {"optimizer": {"learning_rate": 1e-4, "beta1": 0.0, "beta2": 0.9}},
        {"model": {"generator": {"widths": (64, 128, 256, 512, 1024)}}},
        {"model": {"discriminator": {"widths": (64, 128, 256, 512, 1024)}}},
    ),
    "stl10": {"data": common.STL10 | {"batch_size": 64}},
    "smoke": (
        common.SMOKE,
        {"model": {"num_latents": 8, "critic_steps": 2}},
        {"model": {"generator": {"widths": (8, 8)}, "discriminator": {"widths": (8, 8)}}},
    ),
}


def get_config(variant: str = "m_bgan") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("mixed_batch_gan", variant, PUBLISHED, model=MODELS, data=DATA)
