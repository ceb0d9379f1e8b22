"""AGAVE: an IAF-VAE sketches the image, a PixelCNN++ draws it (Lucas & Verbeek, 2018).

    python experiments/main.py --config=configs/agave.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 1.694 in 4 to 5 minutes, 2 CPU cores |
| photos | 32×32 crops of scikit-image's photographs | ≤ 4.41 after 500 steps, 4 minutes |
| cifar10 | CIFAR-10, the thesis's setting, λ = 12 | not yet reproduced (published: ≤ 2.92) |
| cifar10_small | CIFAR-10, one GPU, about an hour | not measured |
| smoke | digits, two tiny steps, for tests | - |

The thesis (3.4.1) pretrains VAE and PixelCNN apart, in parallel, "to speed up training", and says
not for how long. Its run is three commands, each half with its own published optimizer:

    python experiments/main.py --config=configs/vae_iaf.py:cifar10
    python experiments/main.py --config=configs/pixelcnn.py:cifar10
    python experiments/main.py --config=configs/agave.py:cifar10
        --config.pretrained.vae=runs/vae_iaf-cifar10
        --config.pretrained.pixelcnn=runs/pixelcnn-cifar10

The same goes for `digits` and `photos`. Without the two fields everything trains together from the
start, the PixelCNN's condition growing from zero: a deviation. For auxiliary images of half or
quarter size or in grey, only the PixelCNN can be given: the VAE then decodes another image.
"""

from ml_collections import ConfigDict

VARIANTS = ("digits", "photos", "cifar10", "cifar10_small", "smoke")


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant '{variant}'; choose among {', '.join(VARIANTS)}")
    config = ConfigDict()
    config.method, config.variant, config.seed = "agave", variant, 0
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,
        "batch_size": 128,  # global; thesis: not said. PixelCNN++: 16 on each of 8 GPUs
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }
    config.train = {
        "steps": 400_000,
        "log_every_steps": 100,
        "evaluate_every_steps": 10_000,
        "checkpoint_every_steps": 2_000,
        "init_batch_size": 16,  # images of the data-dependent initialisation
        "parallel": "shard_map",  # all devices; or pmap; or jit: one device
        "deterministic": False,  # on GPU: bitwise the same run again, and slower
    }
    config.evaluate = {"batch_size": 128, "num_reconstructions": 16, "reconstruction_draws": 3}
    config.sample = {
        "num_images": 64,
        "batch_size": 64,
        "temperature": 1.0,
        "sampler": "cached",  # in about one forward pass; fixed_point compiles faster
    }
    # Work directories of runs that each half starts from; "": from scratch. A run that goes on from
    # its own checkpoint reads them no more.
    config.pretrained = {"vae": "", "pixelcnn": ""}
    config.optimizer = {  # thesis 3.4.1: Adamax, 0.002, no decay
        "name": "adamax",
        "learning_rate": 0.002,
        "learning_rate_decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_root": 0.0,
    }
    config.model = {
        "kl_weight": 12.0,  # λ of Eq. 3.13
        "auxiliary_until_step": -1,  # then Eq. 3.6 alone (figure 3.7); -1: never
        "auxiliary": {  # the image y (3.4.5)
            "downsampling": 1,  # or 2, 4: averages of as many pixels squared
            "grayscale": False,
            "levels": 0,  # 2 to those of x; 0: those of x. 4-bit grey: 16
        },
        "free_bits": 0.1,  # nats a latent channel; as the IAF-VAE, thesis: not said
        "ema_decay": 0.9995,  # as PixelCNN++, thesis: not said
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
        "condition": {  # thesis: not said
            "features": 160,
            "kernel_size": 3,
            "residual_init_scale": 0.1,
            "kernel_std": 0.05,
        },
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
    overrides = {"digits": digits, "photos": photos, "cifar10_small": cifar10_small, "smoke": smoke}
    if variant in overrides:
        config.update(overrides[variant]())
    return config.lock()


def digits() -> dict:
    """Four to five minutes on two cores."""
    return {
        "data": {
            "source": "digits",
            "train_split": "train_augmented",
            "validation_split": "validation",
            "batch_size": 24,
        },
        "train": {
            "steps": 3_400,
            "log_every_steps": 20,
            "evaluate_every_steps": 3_400,
            "checkpoint_every_steps": 500,
            "init_batch_size": 64,
        },
        "evaluate": {"batch_size": 64},
        "sample": {"sampler": "fixed_point"},
        "optimizer": {"learning_rate": 0.018, "learning_rate_decay": 0.9997},
        "model": {
            "kl_weight": 2.65,
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
            "condition": {"features": 24},
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
        "evaluate": {"num_reconstructions": 8},
        "optimizer": {"learning_rate": 0.008},
        "model": {
            "kl_weight": 2.0,
            "ema_decay": 0.999,
            "free_bits": 0.05,
            "vae": {"num_blocks": 2, "features": 32, "num_latents": 16, "init_log_scale": -1.5},
            "condition": {"features": 24},
            "pixelcnn": {"num_blocks": 1, "features": 24, "num_mixtures": 5, "dropout_rate": 0.1},
        },
    }


def cifar10_small() -> dict:
    """One GPU, about an hour, with a useful curve within ten minutes."""
    return {
        "data": {"batch_size": 64},
        "train": {"steps": 20_000, "evaluate_every_steps": 2_000, "checkpoint_every_steps": 500},
        "model": {
            "kl_weight": 4.0,
            "ema_decay": 0.999,
            "matmul_dtype": "bfloat16",
            "vae": {"num_blocks": 8, "features": 96, "init_log_scale": -1.5},
            "condition": {"features": 64},
            "pixelcnn": {"num_blocks": 2, "features": 96},
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
        "sample": {"num_images": 8, "batch_size": 8, "sampler": "fixed_point"},
        "model": {
            "kl_weight": 2.0,
            "free_bits": 0.6,  # between the divergences of its latents
            "vae": {"num_blocks": 1, "features": 8, "num_latents": 4},
            "condition": {"features": 8},
            "pixelcnn": {"num_scales": 2, "num_blocks": 1, "features": 8, "num_mixtures": 2},
        },
    }
