"""What an evaluation of a run is asked for."""

from dataclasses import dataclass

from gm_jax.evaluation.feature_networks import FeatureNetwork

AUTO = ("auto",)  # all metrics that the run and its data allow, without training a network


@dataclass(frozen=True)
class Request:
    """What is asked for, as the flags of `experiments/main.py` name it.

    Attributes:
      metrics: names of `metrics.METRICS`, or AUTO.
      num_samples: how many samples to judge; None: as many as `sample.num_images` says, or all
        images of `samples`.
      samples: folder:PATH or npz:PATH, images to judge instead of a run's; None: the run's.
      features: a name of `feature_networks.NETWORKS`, or a FeatureNetwork.
      features_weights: file of Inception's weights; None: the environment variable says.
      resize: of Inception, 'tf1' or 'clean'.
      reference: source of the real images; None: the config's.
      reference_split: its split; None: the config's test split.
      num_importance_samples: k of `iwae`.
      training_steps: of the networks that `critic` and `gan_train_test` train; None: their own.
      seed: of samples, subsets and metrics.
    """

    metrics: tuple[str, ...] = AUTO
    num_samples: int | None = None
    samples: str | None = None
    features: str | FeatureNetwork = "inception"
    features_weights: str | None = None
    resize: str = "tf1"
    reference: str | None = None
    reference_split: str | None = None
    num_importance_samples: int = 150
    training_steps: int | None = None
    seed: int = 0
