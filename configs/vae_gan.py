"""VAE-GAN: an auto-encoder whose errors a discriminator measures (Larsen et al., 2016).

    python experiments/main.py --config=configs/vae_gan.py[:VARIANT]

| variant | images | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, 17 levels | not yet measured |
| fashion_mnist | Fashion-MNIST, 28×28 | not yet measured |
| cifar10 | CIFAR-10, the setting of the authors' code | not yet reproduced |
| smoke | digits, two tiny steps, for tests | - |

The paper's discriminator sees reconstructions, too, which some versions of the code leave out:
`--config.model.reconstructions_as_fakes=False`. The authors' networks have a dense layer of 1024
units more in the encoder, one of 512 in the discriminator, and ReLUs in it. Their rate falls over
the epochs.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import alpha_gan, common

PUBLISHED = {
    "data": common.CIFAR10 | {"batch_size": 64},
    "train": common.TRAIN | {"steps": 100_000, "init_batch_size": 64},
    "evaluate": common.RECONSTRUCT | common.RECALIBRATE,
    "sample": common.SAMPLE,
    # RMSProp, but for the correction of the first steps; the code's rate is 0.025 a batch's sum.
    "optimizer": common.ADAM | {"learning_rate": 3e-4, "beta1": 0.0, "beta2": 0.9},
    "model": {
        "matmul_dtype": "float32",  # or tf32, bfloat16
        "num_latents": 256,
        "adversarial_loss": "minimax",  # of the generator: ln(1 − D); or non_saturating
        "feature_layer": "Conv_2",  # of the discriminator, before its batch norm
        "feature_weight": 1e-5,  # γ, of the generator; 1e-6 for CelebA
        "reconstructions_as_fakes": True,
        # (channels, stride) of each convolution, from the image; the generator's are transposed
        "encoder": {"kernel_size": 5, "layers": ((64, 2), (128, 2), (256, 2))},
        "generator": {"kernel_size": 5, "layers": ((32, 1), (128, 2), (192, 2), (256, 2))},
        "discriminator": {
            "kernel_size": 5,
            "layers": ((32, 1), (128, 2), (192, 2), (256, 2)),
            "batch_norm": True,
        },
    },
}


def networks(layers: tuple[tuple[int, int], ...], feature_layer: str) -> common.Change:
    """The same convolutions in all networks, and the layer whose features are compared."""
    convolutions = {"kernel_size": 4, "layers": layers}
    names = ("encoder", "generator", "discriminator")
    return (
        {"model": dict.fromkeys(names, convolutions)},
        {"model": {"num_latents": 32, "feature_layer": feature_layer, "feature_weight": 1e-2}},
    )


VARIANTS = {
    "digits": (
        networks(alpha_gan.TINY["layers"], "Conv_1"),
        {"data": common.DIGITS, "train": common.MINUTES, "evaluate": {"batch_size": 64}},
    ),
    "fashion_mnist": (
        networks(((32, 1), (32, 2), (64, 2)), "Conv_2"),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
    ),
    "cifar10": {},
    "smoke": (
        networks(((8, 2), (8, 2)), "Conv_1"),
        common.SMOKE,
        {"model": {"num_latents": 4}},
    ),
}


def get_config(variant: str = "digits") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("vae_gan", variant, PUBLISHED, variant=VARIANTS)
