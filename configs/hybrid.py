"""Hybrid of flow and classifier: −λ ln p(x) − ln p(y | x) (Chen et al., 2019; tutorial, Eq. 21).

    python experiments/main.py --config=configs/hybrid.py:FLOW[,DATA] \\
        --config.model.likelihood_weight=1.0

`experiments/flows/hybrid.py` makes the tutorial's table, which is of CIFAR-10:

| FLOW | network | λ = 0: accuracy | λ = 1/D: bits/dim, accuracy | λ = 1 |
|---|---|---|---|---|
| residual (default) | x + g(x) | 91.78 % | 3.62, 90.47 % | 3.39, 70.32 % |
| convolution | affine couplings and 1×1 convolutions | 90.82 % | 4.09, 87.96 % | 3.47, 67.38 % |
| coupling | affine couplings | 89.77 % | 4.30, 87.58 % | 3.54, 67.62 % |

| DATA | examples | expected |
|---|---|---|
| digits (default) | scikit-learn's 8×8 digits, D = 64 | residual, λ = 1: 2.153, 95.0 % |
| fashion_mnist | Fashion-MNIST, 28×28, D = 784 | not yet measured |
| cifar10 | CIFAR-10, the networks of `configs/flow.py`, D = 3,072 | not yet reproduced |
| smoke | digits, two tiny steps, for tests | - |

Departures. The classifier is linear in the features, as the tutorial says; the authors' code pools
a small network's features at each scale. Its couplings are in blocks like its residual ones; here
they are those of Glow.

`cifar10` trains on 45,000 of 50,000 images (`--config.data.train_split=train` uses all).
"""

from ml_collections import ConfigDict

from configs import common, flow, flow_networks

PUBLISHED = flow.PUBLISHED | {
    "model": flow.PUBLISHED["model"]
    | {"likelihood_weight": 1.0},  # λ, of nats; for 1/D of digits: 0.015625
}
MODELS = {
    "residual": flow_networks.residual,
    "convolution": {},
    "coupling": {"model": {"network": {"convolution": "none"}}},
}
DATA = {
    "digits": (
        flow.DATA["digits"],
        {"train": {"steps": 1_000}},
        flow_networks.sizes(
            glow={"num_steps": 4},
            residual={"num_blocks": 2, "features": 32, "num_dense_blocks": 1},
        ),
    ),
    **{name: flow.DATA[name] for name in ("fashion_mnist", "cifar10", "smoke")},
}


def get_config(variant: str = "residual") -> ConfigDict:
    """Returns the locked config of a variant."""
    return common.page("hybrid", variant, PUBLISHED, flow=MODELS, data=DATA)
