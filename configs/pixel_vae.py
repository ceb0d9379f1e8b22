"""VAEs with a PixelCNN for a decoder: PixelVAE and the lossy VAE.

    python experiments/main.py --config=configs/pixel_vae.py[:VARIANT]

| variant | data; latents; view of the decoder | expected bits/dim on test |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits; 16; 1 row of 3 | not yet measured |
| photos | 32×32 crops of scikit-image's photographs; 48; 1 row of 3 | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28; 32; 1 row of 3 | not yet measured |
| cifar10 | CIFAR-10; 64 and 8×8×16; 4 rows of 7 | not yet reproduced (published: ≤ 2.95) |
| smoke | digits, two tiny steps, for tests | - |

PixelVAE (Gulrajani et al., 2017) has levels of latents and a decoder with a whole view:
`--config.model.window="()"`; the lossy VAE (Chen et al., 2017) a window and an autoregressive
prior: `--config.model.prior.length=K`. `--config.model.map_latents="(0,4)"` gives the digits a
second level of 4×4×4 latents. A whole view makes the KL vanish (thesis 3.3.2), unless a warm-up,
free bits or soft free bits keep it; `experiments/latents/who_uses_them.py` compares them. In
Python, `model.resample(images, level)` keeps the latents of the first levels and draws the rest
anew.

`cifar10` has the window, the prior's length and the decoder's size of the lossy VAE, and a vector
above its 8×8×16 latents; its encoder was a ResNet or DenseNet. It trains on 45,000 of 50,000
images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN,
    "evaluate": common.RECONSTRUCT | {"reconstruction_draws": 3},
    # fixed_point; or, with a whole view, cached
    "sample": common.SAMPLE | {"sampler": "fixed_point"},
    "optimizer": common.ADAMAX,
    "model": {
        # (rows, columns) of the pixels that the decoder sees above and, in the pixel's own row, to
        # the left; () sees all before it.
        "window": (4, 7),
        "kl_start": 0.0,  # weight of the KL at the first step,
        "kl_annealing_steps": 10_000,  # from which it rises to 1; 0: it is 1
        "free_bits": 0.0,  # nats under which the KL of a layer of latents is free
        "soft_free_bits": 0.0,  # nats near which the weight of a layer holds its KL; 0: none
        "soft_rate": 0.01,  # by which that weight changes in a step
        "ema_decay": 0.0,  # of the parameters' average; 0 with soft free bits
        "matmul_dtype": "float32",  # or tf32, bfloat16
        # Channels of a map of latents at each resolution below the top, from the image's.
        "map_latents": (0, 0, 16),
        "prior": {"kind": "iaf", "length": 6, "widths": (128,)},  # of the vector; length 0: N(0, I)
        "vae": {
            "widths": (64, 128, 256, 256),  # channels at each resolution
            "top_latents": 64,
            "residual_scale": 0.1,
            "flow": False,  # whether posteriors of the maps have an autoregressive flow
            "head_init_scale": 0.1,
        },
        "decoder": {"flow_layers": 2, "flow_scale": 0.1},
        "condition": {  # between f(z) and the PixelCNN
            "features": 64,
            "kernel_size": 3,
            "residual_init_scale": 0.1,
            "kernel_std": 0.05,
        },
        "pixelcnn": {
            "num_scales": 1,  # of a window; with a whole view it may have more
            "num_blocks": 2,
            "features": 64,
            "num_mixtures": 10,
            "dropout_rate": 0.0,
            "gate_init_scale": 0.1,
            "kernel_std": 0.05,
            "min_log_scale": -7.0,
        },
    },
}
SMALL = {  # a model that two cores train
    "optimizer": {"learning_rate": 0.005},
    "model": {
        "window": (1, 3),
        "prior": {"length": 0},
        "condition": {"features": 16},
        "pixelcnn": {"num_blocks": 2, "features": 24, "num_mixtures": 5},
    },
}
LARGER = {  # images than the digits
    "train": common.HOUR | {"steps": 1_500, "evaluate_every_steps": 500},
    "evaluate": {"num_reconstructions": 8},
    "sample": {"num_images": 16, "batch_size": 16},
    "optimizer": {"learning_rate_decay": 0.999},
    "model": {
        "kl_annealing_steps": 300,
        "map_latents": (0, 0),
        "vae": {"widths": (16, 32, 48), "top_latents": 32},
    },
}
VARIANTS = {
    "digits": (
        SMALL,
        {
            "data": common.DIGITS | {"batch_size": 32},
            "train": common.MINUTES | {"evaluate_every_steps": 500, "init_batch_size": 64},
            "evaluate": {"batch_size": 64},
            "optimizer": {"learning_rate_decay": 0.999},
            "model": {
                "kl_annealing_steps": 300,
                "map_latents": (0, 0),
                "vae": {"widths": (16, 32, 32), "top_latents": 16},
            },
        },
    ),
    "photos": (
        SMALL,
        LARGER,
        {"data": common.PHOTOS | {"batch_size": 16}, "model": {"vae": {"top_latents": 48}}},
    ),
    "fashion_mnist": (SMALL, LARGER, {"data": common.FASHION_MNIST | {"batch_size": 16}}),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        SMALL,
        {
            "model": {
                "kl_start": 0.5,
                "kl_annealing_steps": 3,
                "soft_free_bits": 0.5,
                "prior": {"length": 1, "widths": (4,)},
                "map_latents": (0,),
                "vae": {"widths": (4, 4), "top_latents": 3},
                "condition": {"features": 4},
                "pixelcnn": {"num_blocks": 1, "features": 4, "num_mixtures": 2},
            },
        },
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("pixel_vae", variant, PUBLISHED, variant=VARIANTS)
