"""Adaptive density estimation, its baselines and refinements (Lucas et al., 2019).

    python experiments/main.py --config=configs/adaptive_density.py[:MODEL[+REFINEMENT…][,DATA]]

| MODEL | f_ψ | adversarial | likelihood | published on CIFAR-10: bits/dim, IS, FID |
|---|---|---|---|---|
| gan | - | yes | - | [7.0], 6.8, 31.4 |
| vae | - | - | yes | 4.4, 2.0, 171 |
| v_ade | yes | - | yes | 3.5, 3.0, 112 |
| av_gde | - | yes | yes | 4.4, 5.1, 58.6 |
| av_ade (default) | yes | yes | yes | 3.9, 7.1, 28.0 |

| REFINEMENT | (Table 2) |
|---|---|
| +rd | residual discriminator |
| +wg | twice the channels |
| +iaf | residual generator with inverse autoregressive flow |
| +s2 | two scales in f_ψ |

| DATA | images | expected bits/dim |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | av_ade: ≤ 2.148, three seeds |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| fashion_mnist | Fashion-MNIST, 28×28 | av_ade: ≤ 4.13 after 1,200 steps, 18 minutes (one seed) |
| cifar10, stl10, imagenet64, lsun64, lsun128 | the paper's | not yet reproduced |
| smoke | digits, two tiny steps, for tests | - |

Published for `av_ade+wg+rd,cifar10`: 3.8, 8.2, 17.2. On digits gan covers few modes ([≤ 4.61]
bits/dim at commit 1a4987f).
`--config.model.class_conditional=True` conditions on labels. The bits/dim of a trained GAN need a
separate run: `configs/gan_likelihood.py`. The paper compares models of equal size: a narrower
generator makes up for f_ψ (−1.4 %). On CIFAR-10, encoder and decoder have 9,579,143 parameters
(vae, av_gde); the smaller width removes 115,000 of them, and f_ψ adds 127,440, which gives
9,591,623 (v_ade, av_ade). f_ψ has neither the L2 penalty nor the clipped gradients of the authors'
Real-NVP, and the gains of the IAF (refinement iaf) are plain, not exponentials. The variants that
train in minutes weight the gradient penalty by 10, the paper by 100. `cifar10` trains on 45,000 of
50,000 images (`--config.data.train_split=train` uses all). The training curve flatters models with
f_ψ, as `configs/real_nvp.py` explains.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import common, real_nvp

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},  # 32 above CIFAR-10
    "train": common.TRAIN | {"init_batch_size": 64},  # paper: number of steps not stated
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 2} | common.RECALIBRATE,
    # f_ψ⁻¹(µ(z)) as in Eq. 5; False: f_ψ⁻¹ of a draw from N(µ(z), σ²)
    "sample": common.SAMPLE | {"from_mean": True},
    "optimizer": common.ADAMAX,  # appendix C
    "model": {
        "class_conditional": False,
        "ema_decay": 0.0,  # paper: not stated; 0 keeps no average
        "matmul_dtype": "float32",  # or tf32, bfloat16
    },
}
GENERATOR = {
    "widths": (64, 128, 256, 512),  # from the image's resolution to the top
    "top_latents": 128,  # as in SNGAN
    "residual_scale": 0.0,
    "head_init_scale": 0.1,  # for means and log standard deviations
}
VAE = {
    "invertible": False,
    "adversarial_weight": 0.0,
    "likelihood_unit": "image",  # L_C in nats per image; or dimension
    "vae": GENERATOR | {"num_latents": 32, "flow": False},  # latents per layer below the top
    "decoder": {"flow_layers": 2, "flow_scale": 0.1, "init_log_std": -1.5},
}
INVERTIBLE = {
    "invertible": True,
    "vae": {"widths": (64, 128, 256, 504)},  # narrower, to make up for f_ψ (Table 1, footnote)
    "decoder": {"init_log_std": 0.0},
    "encoder_input": "features",  # Algorithm 1; or image (Eq. 3)
    # "three Real-NVP layers with a single scale" (appendix C)
    "real_nvp": real_nvp.PUBLISHED["model"]["real_nvp"]
    | {"num_scales": 1, "num_blocks": 2, "features": 32, "num_last": 3},
}
DISCRIMINATOR = {
    "gradient_penalty": 100.0,  # coefficient of Eq. 11
    "discriminator": {
        "kind": "convolutional",
        "widths": (64, 128, 256, 512),
        "slope": 0.2,  # slope of the leaky ReLU
    },
}
GAN = (
    common.LIPSCHITZ
    | DISCRIMINATOR
    | {"lipschitz": "penalty", "adversarial_loss": "log_ratio", "generator": GENERATOR}
)
ADVERSARIAL = DISCRIMINATOR | {
    "adversarial_weight": 100.0,
    "warmup_steps": 20_000,  # likelihood only (appendix F); length not stated
    "adversarial_sample": "mean",  # Eq. 5; or noise, a draw around it (H)
}
NO_BATCH_NORM = common.without("evaluate.recalibration_batches")
MODELS = {
    "gan": (
        {"method": "gan", "model": GAN},
        common.without("sample.from_mean"),
        common.without("evaluate.num_reconstructions", "evaluate.reconstruction_draws"),
        NO_BATCH_NORM,
    ),
    "vae": ({"model": VAE}, NO_BATCH_NORM),
    "v_ade": ({"model": VAE}, {"model": INVERTIBLE}),
    "av_gde": ({"model": VAE}, {"model": ADVERSARIAL}, NO_BATCH_NORM),
    "av_ade": ({"model": VAE}, {"model": INVERTIBLE}, {"model": ADVERSARIAL}),
}


def residual_discriminator(config: ConfigDict) -> None:
    """Sets the discriminator of Table 2's rd, which has no leaky ReLU."""
    config.model.discriminator = {"kind": "residual", "widths": (16, 32, 64, 128, 256)}


REFINEMENTS = {
    "rd": (common.needs("discriminator", "discriminator"), residual_discriminator),
    "wg": common.scale(2, "model.vae.widths", "model.generator.widths"),
    "iaf": (  # Table 6b
        common.needs("vae", "posterior"),
        common.scale(1 / 2, "model.vae.widths"),
        {"model": {"vae": {"residual_scale": 0.1, "flow": True}}},
    ),
    "s2": (  # the row of Table 9 with the numbers of Table 2
        common.needs("real_nvp", "f_ψ"),
        {"model": {"real_nvp": {"num_scales": 2, "num_blocks": 4, "num_last": 4}}},
    ),
}
CHANNELS = ("model.*.widths", "model.*.top_latents", "model.*.num_latents", "model.*.features")


def layers(change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> common.Change:
    """A change that applies a function to the widths of all convolutional networks."""

    def change_all(config: ConfigDict) -> None:
        for name in {"vae", "generator", "discriminator"}.intersection(config.model):
            config.model[name].widths = change(config.model[name].widths)

    return change_all


DEEPER = layers(lambda widths: (*widths[:-1], *widths[-2:]))  # "one more at 64×64" (5.3)
# In a thousand steps the published penalty and momentum leave the discriminator at chance. All
# models have the same optimizer, to be comparable.
SHORT = common.where_present(
    {"optimizer": {"beta1": 0.5}, "model": {"gradient_penalty": 10.0, "warmup_steps": 500}}
)
# 64 dimensions have fewer nats than 3,072 to set against the adversarial weight.
FEW_PIXELS = (SHORT, common.scale(0.02, "model.adversarial_weight"))
DATA = {
    "digits": (
        common.scale(1 / 4, *CHANNELS),
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
        FEW_PIXELS,
    ),
    "photos": (
        common.scale(1 / 8, *CHANNELS),
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        SHORT,
    ),
    "fashion_mnist": (  # 28 is not a multiple of 8: one halving fewer
        common.scale(1 / 4, *CHANNELS),
        layers(lambda widths: widths[:3]),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        SHORT,
    ),
    "cifar10": {},
    # At 48×48, as in SNGAN; the paper only adds depth.
    "stl10": (DEEPER, {"data": common.STL10 | {"batch_size": 32}}),
    "imagenet64": (DEEPER, {"data": common.IMAGENET64 | {"batch_size": 32}}),
    "lsun64": (DEEPER, {"data": common.LSUN64 | {"batch_size": 32}}),
    "lsun128": (DEEPER, DEEPER, {"data": common.LSUN64 | {"resize": 128, "batch_size": 32}}),
    "smoke": (
        common.scale(1 / 8, *CHANNELS),
        layers(lambda widths: widths[:2]),
        FEW_PIXELS,
        common.SMOKE,
        common.where_present(
            {"model": {"warmup_steps": 1, "real_nvp": {"num_blocks": 1, "num_last": 2}}}
        ),
    ),
}


def get_config(variant: str = "av_ade,digits") -> ConfigDict:
    """Returns the locked config of MODEL[+REFINEMENT…][,DATA]."""
    return common.page(
        "adaptive_density", variant, PUBLISHED, refinements=REFINEMENTS, model=MODELS, data=DATA
    )
