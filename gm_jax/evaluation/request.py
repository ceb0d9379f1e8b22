"""The request for an evaluation of a run."""

from dataclasses import dataclass

from gm_jax.evaluation.feature_networks import FeatureNetwork

AUTO = ("auto",)  # all metrics that the run and its data allow, without training a network


@dataclass(frozen=True)
class Request:
    """The requested evaluation; the fields are named like the flags of `experiments/main.py`.

    Attributes:
      metrics: names from `metrics.METRICS`, or AUTO.
      num_samples: number of samples to judge; None takes `sample.num_images`, or all images of
        `samples`.
      samples: folder:PATH or npz:PATH with images to judge; None judges the run's samples.
      features: a name from `feature_networks.NETWORKS`, or a FeatureNetwork.
      features_weights: file of Inception's weights; None takes it from the environment variable.
      resize: Inception's resize, 'tf1' or 'clean'.
      reference: source of the real images; None takes the config's.
      reference_split: split of the real images; None takes the config's test split.
      reference_statistics: npz of statistics of the reference's features, by which `fid` judges
        without the images; where it is missing, it is written.
      num_importance_samples: k of `iwae`.
      training_steps: training steps of the networks of `critic` and `gan_train_test`; None takes
        their defaults.
      seed: seeds the samples, subsets and metrics.
    """

    metrics: tuple[str, ...] = AUTO
    num_samples: int | None = None
    samples: str | None = None
    features: str | FeatureNetwork = "inception"
    features_weights: str | None = None
    resize: str = "tf1"
    reference: str | None = None
    reference_split: str | None = None
    reference_statistics: str | None = None
    num_importance_samples: int = 150
    training_steps: int | None = None
    seed: int = 0
