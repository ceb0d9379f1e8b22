"""VQ-VAE (van den Oord et al., 2017): an auto-encoder whose latents are codes of a codebook.

    python experiments/main.py --config=configs/vq_vae.py[:DATA]

| DATA | images and codes | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels; 4×4 codes of 16 | not yet measured |
| photos | 32×32 crops of scikit-image's photographs; 8×8 of 64 | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28; 7×7 of 64 | not yet measured |
| cifar10 | CIFAR-10; 8×8 of 512 | not yet reproduced (published: 4.67 bits/dim) |
| smoke | digits, two tiny steps, for tests | - |

Bits/dim are those of a code in two parts with uniform codes; `configs/code_prior.py` learns their
prior. Samples here have uniform codes. The sizes of `cifar10` are the paper's, with a codebook as
in the authors' code; the paper does not say by which likelihood and prior it comes to its number.
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 128},
    "train": common.TRAIN | {"steps": 250_000, "init_batch_size": 64},
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": 2e-4},
    "model": {
        "likelihood": "discretized_logistic",  # or others of configs/vae.py
        "init_log_scale": -1.5,  # of a logistic of a pixel in [−1, 1]
        "commitment_weight": 0.25,  # β of Eq. 2.71
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "codebook": {
            "num_codes": 512,  # K
            "features": 64,  # D
            "decay": 0.99,  # γ of the running means
            # Vectors whose usage falls below this share of the mean start anew; 0: never.
            "reset_share": 0.01,
        },
        "network": {
            "num_halvings": 2,
            "num_blocks": 2,
            "features": 256,
            "residual_features": 256,
        },
    },
}
SMALL = {"features": 64, "residual_features": 32}
VARIANTS = {
    "digits": (
        {"data": common.DIGITS | {"batch_size": 64}, "evaluate": {"batch_size": 64}},
        {"train": common.MINUTES | {"steps": 4_000, "evaluate_every_steps": 1_000}},
        {"optimizer": {"learning_rate": 0.002, "learning_rate_decay": 0.999}},
        {"model": {"codebook": {"num_codes": 16, "features": 8}}},
        {"model": {"network": {"num_halvings": 1, "num_blocks": 1} | SMALL}},
    ),
    "photos": (
        {"data": common.PHOTOS | {"batch_size": 16}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"optimizer": {"learning_rate": 0.001}},
        {"model": {"codebook": {"num_codes": 64, "features": 16}, "network": SMALL}},
    ),
    "fashion_mnist": (
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 4_000, "evaluate_every_steps": 1_000}},
        {"optimizer": {"learning_rate": 0.001}},
        {"model": {"codebook": {"num_codes": 64, "features": 16}, "network": SMALL}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"model": {"codebook": {"num_codes": 4, "features": 3, "decay": 0.9}}},
        {"model": {"network": {"num_halvings": 1, "num_blocks": 1, "features": 4}}},
        {"model": {"network": {"residual_features": 4}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("vq_vae", variant, PUBLISHED, variant=VARIANTS)
