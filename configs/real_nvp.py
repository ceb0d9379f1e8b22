"""Real-NVP: an invertible network trained by exact likelihood (Dinh et al., 2017).

    python experiments/main.py --config=configs/real_nvp.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 2.26 in 3 minutes on one CPU core |
| photos | 32×32 crops of scikit-image's photographs | not yet measured |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: 3.49) |
| smoke | digits, two tiny steps, for tests | - |

Bits/dim are of the dequantised images: an exact density, and a bound on the discrete likelihood.
What the paper leaves open follows its authors' code (tensorflow/models).
"""

from ml_collections import ConfigDict

VARIANTS = ("digits", "photos", "cifar10", "smoke")


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant '{variant}'; choose among {', '.join(VARIANTS)}")
    config = ConfigDict()
    config.method, config.variant, config.seed = "real_nvp", variant, 0
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": True,  # paper, 4.1
        "batch_size": 64,  # global
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }
    config.train = {
        "steps": 400_000,  # paper: not said
        "log_every_steps": 100,
        "evaluate_every_steps": 10_000,
        "checkpoint_every_steps": 2_000,
        "init_batch_size": 64,  # images of the first running statistics
        "parallel": "shard_map",  # all devices; or pmap; or jit: one device
        "deterministic": False,  # on GPU: bitwise the same run again, and slower
    }
    config.evaluate = {"batch_size": 128, "num_reconstructions": 16, "reconstruction_draws": 1}
    config.sample = {"num_images": 64, "batch_size": 64, "temperature": 1.0}
    config.optimizer = {
        "name": "adam",
        "learning_rate": 1e-3,
        "learning_rate_decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_root": 0.0,
        "clip_norm": 100.0,  # of the gradient of nats an image
    }
    config.model = {
        "l2_penalty": 5e-5,  # on the squares of weight norm's gains and of the couplings' scales
        "matmul_dtype": "float32",  # or bfloat16
        "real_nvp": {
            "num_scales": 2,  # paper: CIFAR-10 is downscaled once
            "num_blocks": 8,
            "features": 64,  # of the first scale
            "num_checkerboard": 3,  # couplings of a scale before the last
            "num_channel": 3,
            "num_last": 4,  # couplings of the last scale
            "batch_norm_decay": 0.9,  # share of the old value; published ".1" is of the new one
            "batch_norm_epsilon": 1e-4,
            "logit_margin": 0.05,
        },
    }
    overrides = {"digits": digits, "photos": photos, "smoke": smoke}
    if variant in overrides:
        config.update(overrides[variant]())
    return config.lock()


def digits() -> dict:
    """Three minutes on one core; from step 400 on validation moves by a hundredth of a bit."""
    return {
        "data": {
            "source": "digits",
            "train_split": "train",
            "validation_split": "validation",
            "flip": False,
            "batch_size": 64,
        },
        "train": {
            "steps": 900,
            "log_every_steps": 20,
            "evaluate_every_steps": 100,
            "checkpoint_every_steps": 100,
        },
        "evaluate": {"batch_size": 64},
        "optimizer": {"learning_rate": 2e-3, "learning_rate_decay": 0.998},
        "model": {"real_nvp": {"num_blocks": 1, "features": 16, "batch_norm_decay": 0.97}},
    }


def photos() -> dict:
    """Natural images without a download."""
    return {
        "data": {
            "source": "photos",
            "train_split": "train",
            "validation_split": "validation",
            "batch_size": 16,
        },
        "train": {
            "steps": 10_000,
            "log_every_steps": 20,
            "evaluate_every_steps": 1_000,
            "checkpoint_every_steps": 200,
        },
        "sample": {"num_images": 16, "batch_size": 16},
        "evaluate": {"num_reconstructions": 8},
        "model": {"real_nvp": {"num_blocks": 1, "features": 16, "batch_norm_decay": 0.98}},
    }


def smoke() -> dict:
    """Two tiny steps on the digits."""
    return {
        "data": {
            "source": "digits",
            "train_split": "train[:64]",
            "validation_split": "validation[:24]",
            "test_split": "test[:24]",
            "flip": False,
            "batch_size": 16,
        },
        "train": {
            "steps": 2,
            "log_every_steps": 1,
            "evaluate_every_steps": 2,
            "checkpoint_every_steps": 1,
            "init_batch_size": 16,
        },
        "evaluate": {"batch_size": 16, "num_reconstructions": 4},
        "sample": {"num_images": 8, "batch_size": 8},
        "model": {
            "real_nvp": {
                "num_blocks": 1,
                "features": 4,
                "num_checkerboard": 1,
                "num_channel": 1,
                "num_last": 1,
            }
        },
    }
