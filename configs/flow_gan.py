"""Flow-GAN: a flow trained by an adversary, its likelihood, or both (Grover et al., 2018).

    python experiments/main.py --config=configs/flow_gan.py:MODE[,DATA]

| MODE | what moves the flow | published on CIFAR-10: bits/dim, IS |
|---|---|---|
| hybrid (default) | the adversarial loss and λ times −ln p | 4.2, 3.9 |
| adversarial | the adversarial loss alone | 8.5, 5.8 |
| likelihood | −ln p alone, which is the method of `configs/flow.py` | - |

| DATA | examples | flow | expected |
|---|---|---|---|
| digits (default) | 8×8 digits | NICE | hybrid ≤ 2.82, adversarial 12.4, likelihood ≤ 2.80 |
| fashion_mnist | Fashion-MNIST, 28×28 | NICE, the paper's but narrower | not yet measured |
| cifar10 | CIFAR-10 | Glow | not yet reproduced |
| smoke | digits, two tiny steps, for tests | NICE | - |

The published numbers are those of the thesis (Table 5.3). The paper's flow for CIFAR-10 is
Real-NVP, whose batch norms make samples depend on each other; Glow has none. Its critic is DCGAN's
with batch norm; ours has none, as a penalty on each example's gradient requires. Rates, λ and the
number of critic steps are those of the authors' commands.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import adaptive_density, common, flow

LIKELIHOOD = {
    "ema_decay": 0.0,
    "matmul_dtype": "float32",  # or tf32, bfloat16
    "interval": (-1.0, 1.0),  # that dequantised images fill
    "dequantisation": {"kind": "uniform"},  # or variational, for the likelihood
    "network": flow.PUBLISHED["model"]["network"] | {"num_steps": 8, "features": 256},
}
PUBLISHED = {
    "data": common.CIFAR10 | {"flip": True, "batch_size": 64},
    "train": common.TRAIN | {"init_batch_size": 64},
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM
    | {"learning_rate": 1e-3, "learning_rate_decay": 0.99999, "beta1": 0.5, "beta2": 0.9},
    "model": common.LIPSCHITZ
    | LIKELIHOOD
    | {
        "class_conditional": False,  # no flow here knows classes
        "critic_steps": 5,  # critic updates per flow update
        "likelihood_weight": 20.0,  # λ, of nats per image; MNIST: 1
        "adversarial_loss": "wasserstein",
        "lipschitz": "penalty",
        "discriminator": adaptive_density.DISCRIMINATOR["discriminator"],
    },
}


def likelihood(config: ConfigDict) -> None:
    """The flow alone, with the authors' rates."""
    config.method = "flow"
    config.optimizer.update({"beta1": 0.9, "beta2": 0.999, "learning_rate_decay": 0.999995})
    config.model = LIKELIHOOD


MODELS = {
    "hybrid": {},
    "adversarial": (
        {"optimizer": {"learning_rate": 1e-4, "learning_rate_decay": 1.0}},
        {"model": {"likelihood_weight": 0.0}},
    ),
    "likelihood": likelihood,
}


def nice(**settings: object) -> common.Change:
    """NICE in place of Glow."""

    def change(config: ConfigDict) -> None:
        config.model.network = {"kind": "nice", **settings}

    return change


def one_nat(config: ConfigDict) -> None:
    """λ = 1 where there is a λ, as the paper on MNIST."""
    if config.model.get("likelihood_weight"):
        config.model.likelihood_weight = 1.0


DATA = {
    "digits": (
        one_nat,
        nice(hidden_layers=(2,) * 4, features=128, init_range=0.08, prior="gaussian"),
        common.scale(1 / 4, "model.discriminator.widths"),
        {"data": common.DIGITS | {"batch_size": 64}},
        {"train": common.MINUTES | {"steps": 3_000, "evaluate_every_steps": 1_000}},
        {"evaluate": {"batch_size": 64}},
        common.where_present({"model": {"critic_steps": 2}}),
        # NICE's scales are to grow e-fold several times, and move by the rate a step.
        {"optimizer": {"learning_rate": 1e-3, "learning_rate_decay": 1.0}},
    ),
    "fashion_mnist": (  # 28 is not a multiple of 8: one halving fewer
        one_nat,
        nice(hidden_layers=(5,) * 4, features=256, init_range=0.05, prior="logistic"),
        common.where_present({"model": {"discriminator": {"widths": (16, 32, 64)}}}),
        {"data": common.FASHION_MNIST | {"batch_size": 32}},
        {"train": common.HOUR | {"steps": 2_000, "evaluate_every_steps": 500}},
        {"evaluate": {"num_reconstructions": 8}, "sample": {"num_images": 16, "batch_size": 16}},
        {"optimizer": {"learning_rate": 5e-4, "learning_rate_decay": 1.0}},
    ),
    "cifar10": {},
    "smoke": (
        common.SMOKE,
        one_nat,
        nice(hidden_layers=(1, 1), features=8, init_range=0.3, prior="gaussian"),
        common.where_present({"model": {"critic_steps": 2, "discriminator": {"widths": (8, 8)}}}),
    ),
}


def get_config(variant: str = "hybrid") -> ConfigDict:
    """Returns the locked config of MODE[,DATA]."""
    return common.page("flow_gan", variant, PUBLISHED, mode=MODELS, data=DATA)
