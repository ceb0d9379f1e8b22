"""AGAVE: an IAF-VAE sketches the image, a PixelCNN++ draws it (Lucas & Verbeek, 2018).

    python experiments/main.py --config=configs/agave.py[:VARIANT]

| variant | data | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | ≤ 1.709 in 264 s, 2 slow CPU cores |
| photos | 32×32 crops of scikit-image's photographs | ≤ 4.51 after 500 steps, 5 minutes |
| fashion_mnist | Fashion-MNIST, 28×28 | ≤ 3.12 after 700 steps, 16 minutes of a core (one seed) |
| cifar10 | CIFAR-10, the thesis's setting, λ = 12 | not yet reproduced (published: ≤ 2.92) |
| cifar10_small | CIFAR-10, one GPU, about an hour | not measured |
| smoke | digits, two tiny steps, for tests | - |

The thesis (3.4.1) pretrains VAE and PixelCNN separately, in parallel, "to speed up training", but
does not say for how long. Its run takes three commands, each half with its own published optimizer:

    python experiments/main.py --config=configs/vae_iaf.py:cifar10
    python experiments/main.py --config=configs/pixelcnn.py:cifar10
    python experiments/main.py --config=configs/agave.py:cifar10
        --config.pretrained.vae=runs/vae_iaf-cifar10
        --config.pretrained.pixelcnn=runs/pixelcnn-cifar10

The same works for `digits` and `photos`. Without the two fields everything trains jointly from the
start, with the PixelCNN's condition growing from zero, which deviates from the thesis. With
auxiliary images in grey or of half or quarter size, only the PixelCNN can be pretrained, because
the VAE then decodes another image.

Bits/dim here are one-sample bounds; the thesis reports bounds with 150 samples (`--mode=evaluate
--num_importance_samples=150`). `cifar10` trains on 45,000 of its 50,000 images
(`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common, pixelcnn, vae_iaf

PUBLISHED = {
    # Global batch; thesis: not stated. PixelCNN++: 16 on each of 8 GPUs.
    "data": common.CIFAR10 | {"batch_size": 128},
    "train": common.TRAIN,
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 3},
    # cached takes about one forward pass; fixed_point compiles faster
    "sample": common.SAMPLE | {"sampler": "cached"},
    # Work directories of the runs from which the halves start; "" starts from scratch. A run that
    # resumes from its own checkpoint no longer reads them.
    "pretrained": {"vae": "", "pixelcnn": ""},
    "optimizer": common.ADAMAX,  # thesis 3.4.1: Adamax, 0.002, no decay
    "model": {
        "kl_weight": 12.0,  # λ of Eq. 3.13
        "auxiliary_until_step": -1,  # then only Eq. 3.6 (figure 3.7); -1: never
        "auxiliary": {  # the image y (3.4.5)
            "downsampling": 1,  # or 2, 4: averages over 2×2, 4×4 pixels
            "grayscale": False,
            "levels": 0,  # 2 to the levels of x; 0: those of x. 4-bit grey: 16
        },
        "free_bits": 0.1,  # nats per latent channel; as in IAF-VAE, thesis: not stated
        "ema_decay": 0.9995,  # as in PixelCNN++, thesis: not stated
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "vae": vae_iaf.PUBLISHED["model"]["vae"],
        "condition": {  # thesis: not stated
            "features": 160,
            "kernel_size": 3,
            "residual_init_scale": 0.1,
            "kernel_std": 0.05,
        },
        "pixelcnn": pixelcnn.PUBLISHED["model"]["pixelcnn"],
    },
}


def halves(config: ConfigDict) -> None:
    """Takes the networks and the free bits from the same variants of the halves' pages."""
    vae = vae_iaf.get_config(config.variant).model
    config.model.update({"vae": vae.vae.to_dict(), "free_bits": vae.free_bits})
    config.model.update({"pixelcnn": pixelcnn.get_config(config.variant).model.pixelcnn.to_dict()})


SMALL = {  # of photos and Fashion-MNIST: a model that two cores train
    "train": common.HOUR,
    "evaluate": {"num_reconstructions": 8},
    "sample": {"num_images": 16, "batch_size": 16},
    "optimizer": {"learning_rate": 0.008},
    "model": {"kl_weight": 2.0, "ema_decay": 0.999, "condition": {"features": 24}},
}
VARIANTS = {
    "digits": (
        halves,
        {
            "data": common.DIGITS | {"train_split": "train_augmented of digits", "batch_size": 24},
            "train": common.MINUTES
            | {"steps": 2_500, "evaluate_every_steps": 2_500}
            | {"checkpoint_every_steps": 500, "init_batch_size": 64},
            "evaluate": {"batch_size": 64},
            "sample": {"sampler": "fixed_point"},
            "optimizer": {"learning_rate": 0.018, "learning_rate_decay": 0.99959},
            "model": {"kl_weight": 2.5, "ema_decay": 0.998, "condition": {"features": 24}},
        },
    ),
    "photos": (halves, SMALL, {"data": common.PHOTOS | {"batch_size": 8}}),
    "fashion_mnist": (
        halves,
        SMALL,
        {"data": common.FASHION_MNIST | {"batch_size": 16}},
        {"train": {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "cifar10_small": {  # gives a useful curve within ten minutes
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
    },
    "smoke": (
        common.SMOKE,
        halves,
        {"sample": {"sampler": "fixed_point"}},
        {"model": {"kl_weight": 2.0, "condition": {"features": 8}}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("agave", variant, PUBLISHED, variant=VARIANTS)
