"""Real-NVP: an invertible network trained by exact likelihood (Dinh et al., 2017).

    python experiments/main.py --config=configs/real_nvp.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 2.248 in 2 to 4 minutes, one core |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: 3.49) |
| smoke | digits, two tiny steps, for tests | - |

Bits/dim refer to the dequantised images: an exact density, and a bound on the discrete likelihood.
The training curve is too good, by .84 bits/dim with batches of 4 and .2 with 16, because its
determinants treat a batch's moments as constants. Validation and its pictures use running averages;
what is scored and drawn after the training uses the moments of 64 batches, estimated anew: `photos`
after 200 steps ≤ 4.752, not 4.889 (one seed); `digits` ≤ 2.248, not 2.242 (mean of three seeds).
`cifar10` trains on 45,000 of the paper's 50,000 images (`--config.data.train_split=train` uses
all). Details that the paper does not give follow its authors' code (tensorflow/models).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"flip": True, "batch_size": 64},  # flips: section 4.1
    "train": common.TRAIN | {"init_batch_size": 64},  # paper: number of steps not stated
    "evaluate": common.RECONSTRUCT | common.RECALIBRATE,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"clip_norm": 100.0},  # for the gradient of nats per image
    "model": {
        "ema_decay": 0.0,  # running statistics do not fit an average
        "l2_penalty": 5e-5,  # on the squared gains of weight norm and the couplings' scales
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "real_nvp": {
            "num_scales": 2,  # paper: CIFAR-10 is downscaled once
            "num_blocks": 8,
            "features": 64,  # at the first scale
            "num_checkerboard": 3,  # couplings per scale before the last
            "num_channel": 3,
            "num_last": 4,  # couplings of the last scale
            "batch_norm_decay": 0.9,  # share of the old value; the published ".1" is the new one's
            "batch_norm_epsilon": 1e-4,
            "logit_margin": 0.05,
        },
    },
}
VARIANTS = {
    "digits": {  # after step 400, validation changes by a hundredth of a bit
        "data": common.DIGITS,
        "train": common.MINUTES
        | {"steps": 900, "evaluate_every_steps": 100, "checkpoint_every_steps": 100},
        "evaluate": {"batch_size": 64},
        "optimizer": {"learning_rate": 2e-3, "learning_rate_decay": 0.998},
        "model": {"real_nvp": {"num_blocks": 1, "features": 16, "batch_norm_decay": 0.97}},
    },
    "photos": {
        "data": common.PHOTOS | {"batch_size": 16},
        "train": common.HOUR,
        "evaluate": {"num_reconstructions": 8},
        "sample": {"num_images": 16, "batch_size": 16},
        "model": {"real_nvp": {"num_blocks": 1, "features": 16, "batch_norm_decay": 0.98}},
    },
    "fashion_mnist": {
        "data": common.FASHION_MNIST | {"flip": True, "batch_size": 32},
        "train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500},
        "evaluate": {"num_reconstructions": 8},
        "sample": {"num_images": 16, "batch_size": 16},
        "model": {"real_nvp": {"num_blocks": 1, "features": 16, "batch_norm_decay": 0.98}},
    },
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        {"model": {"real_nvp": {"num_blocks": 1, "features": 4}}},
        {"model": {"real_nvp": {"num_checkerboard": 1, "num_channel": 1, "num_last": 1}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("real_nvp", variant, PUBLISHED, variant=VARIANTS)
