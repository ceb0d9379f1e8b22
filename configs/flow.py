"""Flows trained by their likelihood, of images and of points.

    python experiments/main.py --config=configs/flow.py:FLOW[+DEQUANTISATION][,DATA]

| FLOW | network | published on CIFAR-10: bits/dim |
|---|---|---|
| glow (default) | actnorm, 1×1 convolutions, affine couplings, learned priors | 3.35 |
| glow_additive | the same with additive couplings | - |
| glow_lu | glow, whose 1×1 kernels are L·U and stay regular | - |
| nice | additive couplings of dense networks, a scale for each dimension | 4.48, whitened |
| i_resnet | x + g(x) with Lip(g) < 1, 5 terms of the log-determinant | 3.45, biased |
| residual | x + g(x), a random number of terms, LipSwish | 3.28 |
| flow_plus_plus | couplings by mixture CDFs with attention, learned dequantisation | 3.08 |
| real_nvp | affine couplings; on images the networks of `configs/real_nvp.py` | 3.49 |
| planar, radial | layers that bend space along a line, or around a point | - |
| iaf | autoregressive layers; images of at most 1,024 dimensions | - |

| DEQUANTISATION | (real_nvp has no choice) |
|---|---|
| +variational | learns the noise that dequantises images, by the dequantiser of Flow++ |
| +uniform | Flow++ without it (published: 3.29) |

| DATA | examples | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | glow ≤ 2.341, glow+variational ≤ 2.290 |
| ring, spirals | points of the plane, in nats | flow_plus_plus −3.689, 1.570 (one seed) |
| photos | 32×32 crops of scikit-image's photographs | glow ≤ 3.499 in 10 minutes (one seed) |
| fashion_mnist | Fashion-MNIST, 28×28 | glow ≤ 3.977 in 6 minutes of a core (one seed) |
| cifar10 | CIFAR-10, the papers' networks | not yet reproduced |
| smoke | digits, two tiny steps, for tests | - |

Bits/dim are of the dequantised images: an exact density, and a bound on the discrete likelihood.
Those of residual layers are unbiased estimates (≈); `model.network.evaluation_terms=0` makes them
exact, by as many products as there are dimensions, and points have it so.
Affine couplings and short warm-ups can diverge (openai/glow#40, #62): a run ends with a line when
its loss is not finite, and its last checkpoint is good.

Departures. Glow is trained on images shifted by up to a tenth, here on unshifted ones; its Adamax
corrects for its start, ours does not, which matters for about 100 of the 980 steps of warm-up.
NICE's code trains by RMSProp; the fields here are those of the paper's Adam. Its CIFAR-10 is
whitened, here it is not, so that bits/dim compare. For how long Glow was trained is not known.
i-ResNet's images are also padded and cropped, and its warm-up ends at .006 in the code. Residual
Flow averages its parameters; here they are not averaged, as their singular vectors do not fit an
average. Both evaluate by the roulette of training, or none: see `networks/residual.py`.
Flow++'s 3.08 is a bound of 4,096 samples (`--mode=evaluate --num_importance_samples=4096`). Planar,
radial and autoregressive layers are published as posteriors of VAEs (`configs/vae.py`); here they
are densities of the data, behind actnorm. The networks stand in `flow_networks.py`.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common
from configs.flow_networks import (
    FEW_COUPLINGS,
    FEW_COUPLINGS_OF_NOISE,
    LEARNED_NOISE,
    ONE_COUPLING,
    SIZES_OF_POINTS,
    flow_plus_plus,
    i_resnet,
    layers,
    nice,
    noise_sizes,
    real_nvp,
    residual,
    sizes,
)

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 512},  # 64 on each of 8 GPUs
    "train": common.TRAIN | {"init_batch_size": 256},
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE,  # the paper's figures: --temperature=0.7
    "optimizer": common.ADAMAX
    | {
        "learning_rate": 1e-3,
        "beta2": 1 - 1 / 98,  # an epoch has 98 steps
        "warmup_steps": 980,  # 10 epochs
    },
    "model": {
        "ema_decay": 0.0,  # Glow: none
        "matmul_dtype": "float32",  # or tf32, bfloat16: of the couplings' networks
        "interval": (-0.5, 0.5),  # that dequantised images fill
        "dequantisation": {"kind": "uniform"},  # or variational
        "network": {
            "kind": "glow",
            "num_scales": 3,
            "num_steps": 32,
            "features": 512,
            "coupling": "affine",  # or additive
            "convolution": "plain",  # or lu, none
        },
    },
}


MODELS = {
    "glow": {},
    "glow_additive": {"model": {"network": {"coupling": "additive"}}},
    "glow_lu": {"model": {"network": {"convolution": "lu"}}},
    "nice": nice,
    "i_resnet": i_resnet,
    "residual": residual,
    "flow_plus_plus": flow_plus_plus,
    "real_nvp": real_nvp,
    "planar": layers("planar", 32),
    "radial": layers("radial", 32),
    "iaf": layers("iaf", 4, widths=(1024,)),  # of each layer's network
}


def dequantised_by(**noise: Any) -> common.Change:
    """Another layer from levels to the interval."""

    def change(config: ConfigDict) -> None:
        config.model.dequantisation = noise

    return (common.needs("dequantisation", "choice of dequantisation"), change)


REFINEMENTS = {
    "uniform": dequantised_by(kind="uniform"),
    "variational": dequantised_by(**LEARNED_NOISE),
}


def without_levels(config: ConfigDict) -> None:
    """Leaves out what only images have.

    Raises:
      ValueError: the variant chooses how levels are dequantised.
    """
    if "+" in config.variant:
        raise ValueError(f"variant '{config.variant}': points have no levels to dequantise")
    if config.method == "real_nvp":
        config.method = "flow"
        config.model = {
            "ema_decay": 0.0,
            "matmul_dtype": "float32",
            "network": {"kind": "real_nvp", "length": 8, "widths": (64, 64)},
        }
        with config.evaluate.unlocked():
            del config.evaluate["recalibration_batches"]
    else:
        del config.model["interval"], config.model["dequantisation"]


def points(source: str) -> common.Change:
    """Points of the plane, which are not dequantised."""
    return (
        without_levels,
        {"data": common.images(source) | {"batch_size": 256}},
        {"train": common.MINUTES | {"steps": 5_000, "evaluate_every_steps": 1_000}},
        {"sample": {"num_images": 2_000, "batch_size": 2_000}},
        {"optimizer": common.ADAM | {"warmup_steps": 100, "clip_norm": 10.0}},
        SIZES_OF_POINTS,
    )


QUICK = {"optimizer": {"learning_rate": 2e-3, "beta2": 0.99, "warmup_steps": 100}}
HOUR = {
    "train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500},
    "evaluate": {"num_reconstructions": 8},
    "sample": {"num_images": 16, "batch_size": 16},
}
DATA = {
    "digits": (
        QUICK,
        {"data": common.DIGITS | {"batch_size": 64}, "train": common.MINUTES},
        {"evaluate": {"batch_size": 64}},
        sizes(
            glow={"num_scales": 2, "num_steps": 6, "features": 48},
            nice={"hidden_layers": (3,) * 6, "features": 256, "init_range": 0.05},
            i_resnet={"num_scales": 2, "num_blocks": 4, "features": 48},
            residual={"num_scales": 2, "num_blocks": 4, "features": 48}
            | {"num_dense_blocks": 2, "dense_features": 64},
            flow_plus_plus=FEW_COUPLINGS | {"features": 32},
            real_nvp={"num_blocks": 1, "features": 16, "batch_norm_decay": 0.97},
            planar={},
            radial={},
            iaf={"widths": (256,)},
        ),
        FEW_COUPLINGS_OF_NOISE,
    ),
    "ring": points("points:ring"),
    "spirals": points("points:spirals"),
    "photos": (
        QUICK,
        HOUR,
        {"data": common.PHOTOS | {"batch_size": 16}},
        sizes(
            glow={"num_steps": 6, "features": 64},
            nice={"hidden_layers": (2,) * 4, "features": 512, "init_range": 0.03},
            i_resnet={"num_blocks": 2, "features": 48},
            residual={"num_blocks": 2, "features": 48, "num_dense_blocks": 1},
            flow_plus_plus=FEW_COUPLINGS | {"features": 32},
            real_nvp={"num_blocks": 1, "features": 16, "batch_norm_decay": 0.98},
            planar={},
            radial={},
            iaf={},
        ),
        FEW_COUPLINGS_OF_NOISE,
    ),
    "fashion_mnist": (
        QUICK,
        HOUR,
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        sizes(  # NICE as on MNIST, but narrower; for Glow, 28 halves twice
            glow={"num_scales": 2, "num_steps": 6, "features": 64},
            nice={
                "hidden_layers": (5,) * 4,
                "features": 256,
                "init_range": 0.05,
                "prior": "logistic",
            },
            i_resnet={"num_scales": 2, "num_blocks": 4, "features": 48},
            residual={"num_scales": 2, "num_blocks": 2, "features": 48, "num_dense_blocks": 1},
            flow_plus_plus=FEW_COUPLINGS | {"features": 32},
            real_nvp={"num_blocks": 1, "features": 16, "batch_norm_decay": 0.98},
            planar={},
            radial={},
            iaf={},
        ),
        FEW_COUPLINGS_OF_NOISE,
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"optimizer": {"warmup_steps": 2}},
        sizes(
            glow={"num_scales": 2, "num_steps": 1, "features": 4},
            nice={
                "hidden_layers": (1, 2),
                "features": 8,
                "init_range": 0.3,
                "prior": "logistic",
            },
            i_resnet={"num_scales": 2, "num_blocks": 1, "features": 4, "evaluation_terms": 3},
            residual={"num_scales": 1, "num_blocks": 1, "features": 4, "evaluation_terms": 3}
            | {"num_dense_blocks": 1, "dense_features": 4},
            flow_plus_plus=ONE_COUPLING,
            real_nvp={"num_blocks": 1, "features": 4}
            | {"num_checkerboard": 1, "num_channel": 1, "num_last": 1},
            planar={"length": 2},
            radial={"length": 2},
            iaf={"length": 2, "widths": (64,)},
        ),
        noise_sizes(**ONE_COUPLING, num_couplings=1, condition_features=4),
    ),
}


def get_config(variant: str = "glow") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("flow", variant, PUBLISHED, refinements=REFINEMENTS, flow=MODELS, data=DATA)
