"""The battery of evaluations: every metric is a function of arrays.

Metrics that need only NumPy are imported here; those that need networks are imported on first use,
to keep the import quick.
"""

import importlib
from typing import Any

from gm_jax.evaluation.extrapolation import extrapolated_frechet_distance
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.inception_score import inception_score
from gm_jax.evaluation.kernel_distance import kernel_distance, squared_mmd
from gm_jax.evaluation.latent_checks import covariance_of_codes, histogram_of_means
from gm_jax.evaluation.manifolds import density_coverage, manifold_precision_recall
from gm_jax.evaluation.mode_coverage import ModeCoverage, mode_coverage
from gm_jax.evaluation.ms_ssim import ms_ssim, sample_diversity
from gm_jax.evaluation.precision_recall import (
    area_under_curve,
    f_beta,
    prd_from_histograms,
    precision_recall_distribution,
)

# name -> module. No module has the name of a function in it: importing it would replace the
# function by the module.
_LAZY = {
    "gan_train_test": "train_test_classifier",
    "independent_wasserstein_critic": "wasserstein_critic",
    "inception_features": "inception_v3",
    "load_inception_weights": "inception_weights",
    "read_statistics": "reference_statistics",
    "write_exported": "exported_network",
    "write_statistics": "reference_statistics",
}

__all__ = [
    "ModeCoverage",
    "area_under_curve",
    "covariance_of_codes",
    "density_coverage",
    "extrapolated_frechet_distance",
    "f_beta",
    "feature_statistics",
    "frechet_distance",
    "gan_train_test",
    "histogram_of_means",
    "inception_features",
    "inception_score",
    "independent_wasserstein_critic",
    "kernel_distance",
    "load_inception_weights",
    "manifold_precision_recall",
    "mode_coverage",
    "ms_ssim",
    "prd_from_histograms",
    "precision_recall_distribution",
    "read_statistics",
    "sample_diversity",
    "squared_mmd",
    "write_exported",
    "write_statistics",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
