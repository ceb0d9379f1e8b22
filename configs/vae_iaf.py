"""The IAF-VAE (Kingma et al., 2016) by itself; AGAVE can start from such a run.

    python experiments/main.py --config=configs/vae_iaf.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 2.27 (one seed of commit 1a4987f) |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: ≤ 3.15 with one sample) |
| smoke | digits, two tiny steps, for tests | - |

Each variant of `configs/agave.py` takes its network and free bits from the same variant here.
Bits/dim are one-sample bounds. `cifar10` trains on 45,000 of the paper's 50,000 images
(`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 256},  # global: 32 on each of 8 GPUs
    "train": common.TRAIN,  # paper: number of steps not stated
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 3},
    "sample": common.SAMPLE,
    "optimizer": common.ADAMAX,
    "model": {
        "num_importance_samples": 1,  # k; above 1 it trains the k-sample bound, without free bits
        "free_bits": 0.1,  # nats per latent channel
        "ema_decay": 0.999,
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "vae": {
            "num_scales": 1,
            "num_blocks": 20,
            "features": 160,
            "num_latents": 32,
            "kernel_size": 3,
            "stem_kernel_size": 5,
            "stem_stride": 2,
            "flow": True,
            "flow_layers": 2,  # masked convolutions before those to the shift and log-scale,
            "flow_scale": 0.1,  # which are multiplied by this
            "flow_init_scale": 1.0,
            "residual_scale": 0.1,
            "init_scale": 0.1,
            "init_exponent": 1 / 3,
            "kernel_std": 0.05,  # of weight normalisation's initial directions
            "init_log_scale": 0.697,  # ln(512/255): log-scale 0 in the published scaling to [−½, ½]
        },
    },
}
SMALL = {  # of photos and Fashion-MNIST: a model that two cores train
    "train": common.HOUR,
    "evaluate": {"num_reconstructions": 8},
    "sample": {"num_images": 16, "batch_size": 16},
    "optimizer": {"learning_rate": 0.008},
    "model": {
        "free_bits": 0.05,
        "vae": {"num_blocks": 2, "features": 32, "num_latents": 16, "init_log_scale": -1.5},
    },
}
VARIANTS = {
    "digits": {
        "data": common.DIGITS | {"batch_size": 24},
        "train": common.MINUTES
        | {"steps": 6_000, "evaluate_every_steps": 1_500, "init_batch_size": 64},
        "evaluate": {"batch_size": 64},
        "optimizer": {"learning_rate": 0.03, "learning_rate_decay": 0.9997},
        "model": {
            "free_bits": 0.01,
            "ema_decay": 0.998,
            "vae": {"num_scales": 2, "num_blocks": 1, "features": 32, "num_latents": 8}
            | {"stem_kernel_size": 3, "init_log_scale": -1.5},
        },
    },
    "photos": (SMALL, {"data": common.PHOTOS | {"batch_size": 8}}),
    "fashion_mnist": (
        SMALL,
        {"data": common.FASHION_MNIST | {"batch_size": 16}},
        {"train": {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"model": {"free_bits": 0.6}},  # lies between the divergences of its latents
        {"model": {"vae": {"num_blocks": 1, "features": 8, "num_latents": 4}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("vae_iaf", variant, PUBLISHED, variant=VARIANTS)
