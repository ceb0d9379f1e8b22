"""The prior of a VQ-VAE's codes: a PixelCNN (van den Oord et al., 2017, section 3.3).

    python experiments/main.py --config=configs/vq_vae.py:DATA
    python experiments/main.py --config=configs/code_prior.py:DATA
        --config.frozen.quantiser=runs/vq_vae-DATA

| DATA | images | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | not yet measured |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10 | not yet reproduced |
| smoke | digits, two tiny steps, for tests | - |

Samples, codes and bits/dim are those of the VQ-VAE together with this prior, and the run needs the
other one no more once it has a checkpoint. The PixelCNN is that of `configs/pixelcnn.py` with a
category in place of a mixture; the paper's is not described.
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    # The work directory of the quantiser's run, not read once this run has a checkpoint.
    "frozen": {"quantiser": ""},
    "data": common.CIFAR10 | {"batch_size": 128},
    "train": common.TRAIN | {"steps": 100_000, "evaluate_every_steps": 5_000},
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE | {"sampler": "cached"},  # or fixed_point
    "optimizer": common.ADAM,
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "pixelcnn": {
            "num_scales": 1,
            "num_blocks": 5,
            "features": 128,
            "dropout_rate": 0.1,
            "gate_init_scale": 0.1,
            "kernel_std": 0.05,
        },
    },
}
SMALL = {"model": {"pixelcnn": {"num_blocks": 2, "features": 32}}}
SOON = {"train": common.MINUTES | {"steps": 1_500, "evaluate_every_steps": 250}}
VARIANTS = {
    "digits": (
        SMALL,
        SOON,
        {"data": common.DIGITS | {"batch_size": 64}, "evaluate": {"batch_size": 64}},
        {"model": {"pixelcnn": {"dropout_rate": 0.3}}},
    ),
    "photos": (SMALL, SOON, {"data": common.PHOTOS | {"batch_size": 16}}),
    "fashion_mnist": (SMALL, SOON, {"data": common.FASHION_MNIST | {"batch_size": 32}}),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"sample": {"sampler": "fixed_point"}},
        {"model": {"pixelcnn": {"num_blocks": 1, "features": 4}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("code_prior", variant, PUBLISHED, variant=VARIANTS)
