"""PixelCNN++ (Salimans et al., 2017), alone; AGAVE can start from such a run.

    python experiments/main.py --config=configs/pixelcnn.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | 1.69, in 9 minutes on one core |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: 2.92) |
| smoke | digits, two tiny steps, for tests | - |

Each variant has the network of the same variant of `configs/agave.py`.
"""

from ml_collections import ConfigDict

VARIANTS = ("digits", "photos", "cifar10", "smoke")


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant '{variant}'; choose among {', '.join(VARIANTS)}")
    config = ConfigDict()
    config.method, config.variant, config.seed = "pixelcnn", variant, 0
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,
        "batch_size": 128,  # global: 16 on each of 8 GPUs
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }
    config.train = {
        "steps": 400_000,  # paper: not said
        "log_every_steps": 100,
        "evaluate_every_steps": 10_000,
        "checkpoint_every_steps": 2_000,
        "init_batch_size": 16,  # images of the data-dependent initialisation
        "parallel": "shard_map",  # all devices; or pmap; or jit: one device
        "deterministic": False,  # on GPU: bitwise the same run again, and slower
    }
    config.evaluate = {"batch_size": 128}
    config.sample = {
        "num_images": 64,
        "batch_size": 64,
        "temperature": 1.0,
        "sampler": "cached",  # in about one forward pass; fixed_point compiles faster
    }
    config.optimizer = {
        "name": "adam",
        "learning_rate": 0.001,
        "learning_rate_decay": 0.999995,
        "beta1": 0.95,
        "beta2": 0.9995,
        "epsilon": 0.0,
        "epsilon_root": 1e-8,
    }
    config.model = {
        "ema_decay": 0.9995,
        "matmul_dtype": "float32",  # or bfloat16
        "pixelcnn": {
            "num_scales": 3,
            "num_blocks": 5,
            "features": 160,
            "num_mixtures": 10,
            "dropout_rate": 0.5,
            "gate_init_scale": 0.1,
            "kernel_std": 0.05,
            "min_log_scale": -7.0,
        },
    }
    overrides = {"digits": digits, "photos": photos, "smoke": smoke}
    if variant in overrides:
        config.update(overrides[variant]())
    return config.lock()


def digits() -> dict:
    """A few minutes on two cores."""
    return {
        "data": {
            "source": "digits",
            "train_split": "train_augmented",
            "validation_split": "validation",
            "batch_size": 24,
        },
        "train": {
            "steps": 3_000,
            "log_every_steps": 20,
            "evaluate_every_steps": 1_000,
            "checkpoint_every_steps": 250,
            "init_batch_size": 64,
        },
        "evaluate": {"batch_size": 64},
        "sample": {"sampler": "fixed_point"},
        "optimizer": {"learning_rate": 0.006, "learning_rate_decay": 0.9995},
        "model": {
            "ema_decay": 0.998,
            "pixelcnn": {
                "num_scales": 1,
                "num_blocks": 3,
                "features": 24,
                "num_mixtures": 10,
                "dropout_rate": 0.3,
            },
        },
    }


def photos() -> dict:
    """Natural images without a download."""
    return {
        "data": {
            "source": "photos",
            "train_split": "train",
            "validation_split": "validation",
            "batch_size": 8,
            "flip": True,
        },
        "train": {
            "steps": 10_000,
            "log_every_steps": 20,
            "evaluate_every_steps": 1_000,
            "checkpoint_every_steps": 200,
        },
        "sample": {"num_images": 16, "batch_size": 16},
        "optimizer": {"learning_rate": 0.003},
        "model": {
            "ema_decay": 0.999,
            "pixelcnn": {"num_blocks": 1, "features": 24, "num_mixtures": 5, "dropout_rate": 0.1},
        },
    }


def smoke() -> dict:
    """Two tiny steps on the digits."""
    return {
        "data": {
            "source": "digits",
            "train_split": "train[:64]",
            "validation_split": "validation[:24]",
            "test_split": "test[:24]",
            "batch_size": 16,
        },
        "train": {
            "steps": 2,
            "log_every_steps": 1,
            "evaluate_every_steps": 2,
            "checkpoint_every_steps": 1,
        },
        "evaluate": {"batch_size": 16},
        "sample": {"num_images": 8, "batch_size": 8, "sampler": "fixed_point"},
        "model": {
            "pixelcnn": {"num_scales": 2, "num_blocks": 1, "features": 8, "num_mixtures": 2},
        },
    }
