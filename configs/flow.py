"""Flows trained by their likelihood: NICE (Dinh et al., 2015), Glow (Kingma & Dhariwal, 2018),
i-ResNet (Behrmann et al., 2019), Residual Flow (Chen et al., 2019).

    python experiments/main.py --config=configs/flow.py:FLOW[,DATA]

| FLOW | network | published on CIFAR-10: bits/dim |
|---|---|---|
| glow (default) | actnorm, 1×1 convolutions, affine couplings, learned priors | 3.35 |
| glow_additive | the same with additive couplings | - |
| glow_lu | glow, whose 1×1 kernels are L·U and stay regular | - |
| nice | additive couplings of dense networks, a scale for each dimension | 4.48, whitened |
| i_resnet | x + g(x) with Lip(g) < 1, 5 terms of the log-determinant | 3.45, biased |
| residual | x + g(x), a random number of terms, LipSwish | 3.28 |

| DATA | examples | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | not yet measured |
| ring, spirals | points of the plane, in nats | not yet measured |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
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
"""

from ml_collections import ConfigDict

from configs import common

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
        "matmul_dtype": "float32",  # or tf32, bfloat16: of the couplings' networks
        "interval": (-0.5, 0.5),  # that dequantised images fill
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


def nice(config: ConfigDict) -> None:
    """NICE as its authors train it on CIFAR-10."""
    config.data.batch_size = 200
    config.train.steps = 375_000  # 1,500 epochs
    config.optimizer = common.ADAM | {"beta2": 0.99, "epsilon": 1e-4}
    config.model.interval = (-1.0, 1.0)
    config.model.network = {
        "kind": "nice",
        "hidden_layers": (1, 1, 3, 3, 2, 2, 1, 1),  # of each coupling's network
        "features": 2400,
        "init_range": 0.01,
        "prior": "gaussian",  # or logistic
    }


RESIDUAL = {
    "num_scales": 3,
    "num_blocks": 16,
    "features": 512,
    "evaluation_terms": 20,  # and more by a roulette; 0: exact
    "tolerance": 1e-4,  # of a layer's inverse, for an example
}


def i_resnet(config: ConfigDict) -> None:
    """i-ResNet as its authors train it on CIFAR-10."""
    config.data.batch_size, config.data.flip = 128, True
    config.train.steps = 78_000  # 200 epochs
    config.optimizer = common.ADAMAX | {"learning_rate": 3e-3, "warmup_steps": 390}
    config.model.network = RESIDUAL | {
        "kind": "i_resnet",
        "activation": "elu",  # or lip_swish
        "limit": 0.9,  # of a layer's largest singular value
        "num_terms": 5,  # certain terms in training; 0: exact
        "roulette": "none",  # or geometric, poisson: further terms in training
    }


def residual(config: ConfigDict) -> None:
    """Residual Flow as its authors train it on CIFAR-10."""
    config.data.batch_size, config.data.flip = 64, True
    config.optimizer = common.ADAM | {"beta2": 0.99, "warmup_steps": 1_000, "clip_norm": 1.0}
    config.model.interval = (0.0, 1.0)  # that the logit takes
    config.model.network = RESIDUAL | {
        "kind": "residual",
        "num_dense_blocks": 4,
        "dense_features": 128,
        "activation": "lip_swish",
        "limit": 0.98,
        "num_terms": 2,
        "roulette": "poisson",
        "logit_margin": 0.05,
    }


MODELS = {
    "glow": {},
    "glow_additive": {"model": {"network": {"coupling": "additive"}}},
    "glow_lu": {"model": {"network": {"convolution": "lu"}}},
    "nice": nice,
    "i_resnet": i_resnet,
    "residual": residual,
}


RESIDUAL_POINTS = {"num_scales": 1, "num_blocks": 10, "features": 32, "evaluation_terms": 0}


def sizes(**networks: common.Change) -> common.Change:
    """The fields of `model.network`, by its kind."""

    def change(config: ConfigDict) -> None:
        config.model.network.update(networks[config.model.network.kind])

    return change


def points(source: str) -> common.Change:
    """Points of the plane, which are not dequantised."""
    return (
        common.without("model.interval"),
        {"data": common.images(source) | {"batch_size": 256}},
        {"train": common.MINUTES | {"steps": 5_000, "evaluate_every_steps": 1_000}},
        {"sample": {"num_images": 2_000, "batch_size": 2_000}},
        {"optimizer": common.ADAM | {"warmup_steps": 100, "clip_norm": 10.0}},
        sizes(
            glow={"num_scales": 1, "num_steps": 8, "features": 64},
            nice={"hidden_layers": (3,) * 8, "features": 64, "init_range": 0.2},
            i_resnet=RESIDUAL_POINTS,
            residual=RESIDUAL_POINTS
            | {"num_dense_blocks": 0, "roulette": "geometric", "logit_margin": None},
        ),
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
        ),
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
        ),
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
        ),
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
        ),
    ),
}


def get_config(variant: str = "glow") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("flow", variant, PUBLISHED, flow=MODELS, data=DATA)
