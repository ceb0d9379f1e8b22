"""The networks of `flow.py`: as published on CIFAR-10, and their sizes on other data."""

from typing import Any

from ml_collections import ConfigDict

from configs import common
from configs import real_nvp as real_nvp_page


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


LEARNED_NOISE = {
    "kind": "variational",
    "num_couplings": 4,
    "num_mixtures": 32,
    "condition_features": 32,
    "features": 96,
    "num_blocks": 2,
    "num_heads": 4,
    "dropout_rate": 0.2,
}


def flow_plus_plus(config: ConfigDict) -> None:
    """Flow++ as its authors train it on CIFAR-10."""
    config.data.batch_size = 64
    config.train.init_batch_size = 128
    config.optimizer = common.ADAM | {
        "learning_rate": 3e-4,
        "warmup_steps": 2_000,
        "clip_norm": 1.0,
    }
    config.model.update({"ema_decay": 0.999, "interval": (0.0, 1.0)})
    config.model.dequantisation = LEARNED_NOISE
    config.model.network = {
        "kind": "flow_plus_plus",
        "num_checkerboard": 4,  # couplings
        "num_channel": 2,
        "num_last": 3,
        "num_mixtures": 32,
        "features": 96,
        "num_blocks": 10,
        "num_heads": 4,
        "dropout_rate": 0.2,
        "logit_margin": 0.05,
    }


def real_nvp(config: ConfigDict) -> None:
    """The page `real_nvp`; `points` makes it a flow of vectors."""
    config.method = "real_nvp"
    config.train.update(real_nvp_page.PUBLISHED["train"])
    config.optimizer.update(real_nvp_page.PUBLISHED["optimizer"])
    config.model = real_nvp_page.PUBLISHED["model"]
    with config.evaluate.unlocked():
        config.evaluate.update(common.RECALIBRATE)


def layers(kind: str, length: int, **settings: Any) -> common.Change:
    """A flow of vectors, on images of their pixels."""

    def change(config: ConfigDict) -> None:
        config.optimizer = common.ADAM | {"clip_norm": 10.0}
        config.model.network = {"kind": kind, "length": length, **settings}

    return change


def sizes(**networks: common.Change) -> common.Change:
    """The fields of `model.network`, by its kind, or those of `model.real_nvp`."""

    def change(config: ConfigDict) -> None:
        if config.method == "real_nvp":
            config.model.real_nvp.update(networks["real_nvp"])
        else:
            config.model.network.update(networks[config.model.network.kind])

    return change


def noise_sizes(**fields: int) -> common.Change:
    """The fields of a learned dequantisation, if there is one."""
    return common.where_present({"model": {"dequantisation": fields}})


FEW_COUPLINGS = {
    **{"num_checkerboard": 2, "num_channel": 2, "num_last": 1},
    **{"num_mixtures": 4, "num_blocks": 1, "num_heads": 2},
}
FEW_COUPLINGS_OF_NOISE = noise_sizes(
    num_couplings=2,
    num_mixtures=4,
    condition_features=16,
    features=16,
    num_blocks=1,
    num_heads=2,
)
ONE_COUPLING = {
    **{"num_checkerboard": 1, "num_channel": 0, "num_last": 1, "num_mixtures": 2},
    **{"features": 4, "num_blocks": 1, "num_heads": 2},
}
RESIDUAL_POINTS = {"num_scales": 1, "num_blocks": 10, "features": 32, "evaluation_terms": 0}
SIZES_OF_POINTS = sizes(
    glow={"num_scales": 1, "num_steps": 8, "features": 64},
    nice={"hidden_layers": (3,) * 8, "features": 64, "init_range": 0.2},
    i_resnet=RESIDUAL_POINTS,
    residual=RESIDUAL_POINTS
    | {"num_dense_blocks": 0, "roulette": "geometric", "logit_margin": None},
    flow_plus_plus={"num_mixtures": 8, "features": 64, "num_blocks": 1},
    real_nvp={},
    planar={},
    radial={},
    iaf={"length": 8, "widths": (64, 64)},
)
