"""The bits/dim of a GAN: an encoder and noise around a frozen generator (Lucas et al., 2019).

    python experiments/main.py --config=configs/adaptive_density.py:gan,DATA
    python experiments/main.py --config=configs/gan_likelihood.py:DATA
        --config.frozen.generator=runs/adaptive_density-gan,DATA

| DATA | images | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | [≤ 4.61] in 2 minutes of one CPU core |
| photos | 32×32 crops of scikit-image's photographs | not measured |
| cifar10 | CIFAR-10 | not yet reproduced (published: [7.0], with rd [6.9]) |
| smoke | digits, two tiny steps, for tests | - |

`frozen.generator` is the run of any model that generates images from one vector of latents; its
best checkpoint is taken. The brackets are the paper's: the number is that of a density which the
GAN was given afterwards, and a bound on it.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    if variant not in SETTINGS:
        raise ValueError(f"unknown variant '{variant}'; choose among {', '.join(SETTINGS)}")
    config = ConfigDict()
    config.method, config.variant, config.seed = "gan_likelihood", variant, 0
    # The work directory of the generator's run; once this run has a checkpoint it is not read.
    config.frozen = {"generator": ""}
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,
        "batch_size": 64,
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }
    config.train = {
        "steps": 100_000,  # paper: not said
        "log_every_steps": 100,
        "evaluate_every_steps": 5_000,
        "checkpoint_every_steps": 2_000,
        "init_batch_size": 64,  # images of the data-dependent initialisation
        "parallel": "shard_map",  # all devices; or pmap; or jit: one device
        "deterministic": False,  # on GPU: bitwise the same run again, and slower
    }
    config.evaluate = {"batch_size": 128, "num_reconstructions": 16, "reconstruction_draws": 2}
    config.sample = {"num_images": 64, "batch_size": 64, "temperature": 1.0}
    config.optimizer = {  # appendix C
        "name": "adamax",
        "learning_rate": 0.002,
        "learning_rate_decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_root": 0.0,
    }
    config.model = {
        "init_log_std": -1.0,  # of σ, in the units of [−1, 1]
        "matmul_dtype": "float32",  # or bfloat16
        "encoder": {  # symmetric to the generator; the generator's own come with its run
            "widths": (64, 128, 256, 512),
            "residual_scale": 0.0,
            "head_init_scale": 0.1,  # of the posterior's mean and log standard deviation
        },
    }
    SETTINGS[variant](config)
    return config.lock()


def digits(config: ConfigDict) -> None:
    """Five minutes on two cores."""
    config.data.update({"source": "digits", "train_split": "train",
                        "validation_split": "validation"})  # fmt: skip
    config.train.update({"steps": 1_500, "log_every_steps": 20, "evaluate_every_steps": 250,
                         "checkpoint_every_steps": 250})  # fmt: skip
    config.evaluate.batch_size = 64
    config.model.encoder.widths = (16, 32, 64, 128)


def photos(config: ConfigDict) -> None:
    """Natural images without a download."""
    config.data.update({"source": "photos", "train_split": "train", "flip": True,
                        "validation_split": "validation", "batch_size": 16})  # fmt: skip
    config.train.update({"steps": 2_000, "log_every_steps": 20, "evaluate_every_steps": 500,
                         "checkpoint_every_steps": 200})  # fmt: skip
    config.model.encoder.widths = (8, 16, 32, 64)


def cifar10(config: ConfigDict) -> None:
    """The paper's images."""


def smoke(config: ConfigDict) -> None:
    """Two tiny steps on the digits."""
    digits(config)
    config.data.update({"train_split": "train[:64]", "validation_split": "validation[:24]",
                        "test_split": "test[:24]", "batch_size": 16})  # fmt: skip
    config.train.update({"steps": 2, "log_every_steps": 1, "evaluate_every_steps": 2,
                         "checkpoint_every_steps": 1, "init_batch_size": 16})  # fmt: skip
    config.evaluate.update({"batch_size": 16, "num_reconstructions": 4})
    config.sample.update({"num_images": 8, "batch_size": 8})
    config.model.encoder.widths = (8, 16, 32)


SETTINGS = {function.__name__: function for function in (digits, photos, cifar10, smoke)}
