"""The IAF-VAE (Kingma et al., 2016), alone; AGAVE can start from such a run.

    python experiments/main.py --config=configs/vae_iaf.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 2.27 after 6,000 steps |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| cifar10 | CIFAR-10, the paper's setting | not yet reproduced (published: ≤ 3.15 with one sample) |
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
    config.method, config.variant, config.seed = "vae_iaf", variant, 0
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,
        "batch_size": 256,  # global: 32 on each of 8 GPUs
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
    config.evaluate = {"batch_size": 128, "num_reconstructions": 16, "reconstruction_draws": 3}
    config.sample = {"num_images": 64, "batch_size": 64, "temperature": 1.0}
    config.optimizer = {
        "name": "adamax",
        "learning_rate": 0.002,
        "learning_rate_decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_root": 0.0,
    }
    config.model = {
        "num_importance_samples": 1,  # k; above 1 the k-sample bound is trained, without free bits
        "free_bits": 0.1,  # nats a latent channel
        "ema_decay": 0.999,
        "matmul_dtype": "float32",  # or bfloat16
        "vae": {
            "num_scales": 1,
            "num_blocks": 20,
            "features": 160,
            "num_latents": 32,
            "kernel_size": 3,
            "stem_kernel_size": 5,
            "stem_stride": 2,
            "flow": True,
            "flow_layers": 2,  # masked convolutions before those to shift and log-scale,
            "flow_scale": 0.1,  # which are multiplied by this
            "flow_init_scale": 1.0,
            "residual_scale": 0.1,
            "init_scale": 0.1,
            "init_exponent": 1 / 3,
            "kernel_std": 0.05,  # of the directions of weight normalisation when drawn
            "init_log_scale": 0.697,  # ln(512/255): log-scale 0 in the published scaling to [−½, ½]
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
            "train_split": "train",
            "validation_split": "validation",
            "batch_size": 24,
        },
        "train": {
            "steps": 6_000,
            "log_every_steps": 20,
            "evaluate_every_steps": 1_500,
            "checkpoint_every_steps": 250,
            "init_batch_size": 64,
        },
        "evaluate": {"batch_size": 64},
        "optimizer": {"learning_rate": 0.03, "learning_rate_decay": 0.9997},
        "model": {
            "free_bits": 0.01,
            "ema_decay": 0.998,
            "vae": {
                "num_scales": 2,
                "num_blocks": 1,
                "features": 32,
                "num_latents": 8,
                "stem_kernel_size": 3,
                "init_log_scale": -1.5,
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
        "evaluate": {"num_reconstructions": 8},
        "optimizer": {"learning_rate": 0.008},
        "model": {
            "free_bits": 0.05,
            "vae": {"num_blocks": 2, "features": 32, "num_latents": 16, "init_log_scale": -1.5},
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
        "evaluate": {"batch_size": 16, "num_reconstructions": 4},
        "sample": {"num_images": 8, "batch_size": 8},
        "model": {
            "free_bits": 0.6,  # between the divergences of its latents
            "vae": {"num_blocks": 1, "features": 8, "num_latents": 4},
        },
    }
