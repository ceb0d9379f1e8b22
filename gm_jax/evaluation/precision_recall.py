"""Precision and recall of distributions, which judge quality and coverage separately."""

import tempfile
import warnings
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from gm_jax.evaluation.feature_batches import Features, feature_batches

# Angles stop short of 0 and π/2, where the slope λ is 0 or infinite.
_ANGLE_MARGIN = 1e-10


def precision_recall_distribution(
    eval_features: Features,
    reference_features: Features,
    num_clusters: int = 20,
    num_angles: int = 1001,
    num_runs: int = 10,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision-recall curve of samples against real images, from clusters of their features.

    Sajjadi et al. 2018, section 4: k-means on the union of both sets, the two histograms of cluster
    membership, and their exact curve, averaged over runs of k-means. AdE paper E.2. The order of
    the arguments matters: swapping them swaps precision and recall. Apart from a few bytes per
    sample, memory does not grow with their number: k-means reads them, in float32, from a temporary
    file of 8 n d bytes (in the folder TMPDIR).

    Args:
      eval_features: [n, d] features of the samples to judge, or an iterable of such batches.
      reference_features: [n, d] features of real images, as many as samples (a larger set would
        fill more clusters, which would count as recall), or an iterable of such batches.
      num_clusters, num_angles, num_runs: 20, 1001 and 10 in the paper.
      seed: seeds k-means, with its own seed for each run.

    Returns:
      Precision and recall, [num_angles] each, in 0..1, from recall-heavy to precision-heavy λ.

    Raises:
      ValueError: not [n, d], unequal numbers or dimensions, fewer samples than clusters, or values
        that are not finite.
    """
    if num_runs < 1:
        raise ValueError(f"num_runs is at least 1, got {num_runs}")
    with tempfile.TemporaryFile() as file:
        shapes = (
            _append(file, eval_features, "eval_features"),
            _append(file, reference_features, "reference_features"),
        )
        _check_shapes(*shapes, num_clusters)
        file.flush()
        union = np.memmap(file, np.float32, "r", shape=(2 * shapes[0][0], shapes[0][1]))
        curves = []
        for run_seed in np.random.SeedSequence(seed).generate_state(num_runs):
            labels = _cluster(union, num_clusters, int(run_seed))
            samples, reference = (
                np.bincount(part, minlength=num_clusters) for part in np.split(labels, 2)
            )  # the sets are equally large: the first half is the samples
            curves.append(prd_from_histograms(samples, reference, num_angles))
    precision, recall = np.mean(curves, axis=0)
    return precision, recall


def prd_from_histograms(
    eval_weights: ArrayLike, reference_weights: ArrayLike, num_angles: int = 1001
) -> tuple[np.ndarray, np.ndarray]:
    """Precision-recall curve of two distributions on the same finite set.

    precision(λ) = Σ_i min(λ p_i, q_i) and recall(λ) = precision(λ) / λ, where p is the reference, q
    the samples and λ the tan of equally spaced angles; Sajjadi et al. 2018, theorem 3 and algorithm
    1.

    Args:
      eval_weights, reference_weights: [k], >= 0, counts or probabilities; normalised here.
      num_angles: number of slopes, at least 3.

    Returns:
      Precision and recall, [num_angles] each, in 0..1.

    Raises:
      ValueError: different lengths, negative or non-finite weights, or an empty histogram.
    """
    eval_weights = np.asarray(eval_weights, np.float64)
    reference_weights = np.asarray(reference_weights, np.float64)
    if eval_weights.ndim != 1 or eval_weights.shape != reference_weights.shape:
        raise ValueError(
            f"histograms are [k] over the same cells, got shapes {eval_weights.shape} and "
            f"{reference_weights.shape}"
        )
    for name, weights in (("eval", eval_weights), ("reference", reference_weights)):
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise ValueError(
                f"{name}_weights are finite, >= 0 and not all zero, got {weights.tolist()}"
            )
    if num_angles < 3:
        raise ValueError(f"a curve needs num_angles >= 3, got {num_angles}")
    angles = np.linspace(_ANGLE_MARGIN, np.pi / 2 - _ANGLE_MARGIN, num_angles)
    slopes = np.tan(angles)
    eval_probs = eval_weights / eval_weights.sum()
    reference_probs = reference_weights / reference_weights.sum()
    precision = np.minimum(slopes[:, None] * reference_probs, eval_probs).sum(axis=1)
    return np.clip(precision, 0.0, 1.0), np.clip(precision / slopes, 0.0, 1.0)


def f_beta(precision: ArrayLike, recall: ArrayLike, beta: float) -> float:
    """Largest F_β = (1 + β²) p r / (β² p + r) on a curve; F_8 favours recall, F_1/8 precision.

    Sajjadi et al. 2018, section 5.1.

    Args:
      precision, recall: [m], in 0..1.
      beta: > 0; recall counts β times as much as precision.

    Returns:
      The largest value on the curve, in 0..1.

    Raises:
      ValueError: not a curve, values outside 0..1, or beta <= 0.
    """
    precision, recall = _check_curve(precision, recall)
    if not beta > 0:
        raise ValueError(f"beta is positive, got {beta}")
    denominator = beta**2 * precision + recall
    safe = np.where(denominator > 0, denominator, 1.0)  # p = r = 0 scores 0
    return float(np.max((1 + beta**2) * precision * recall / safe))


def area_under_curve(precision: ArrayLike, recall: ArrayLike) -> float:
    """Area under precision as a function of recall (trapezoids); 1 for equal distributions.

    The AUC of AdE paper E.2.

    Args:
      precision, recall: [m], in 0..1, in the order in which `prd_from_histograms` returns them.

    Returns:
      The area, in 0..1.

    Raises:
      ValueError: not a curve, or values outside 0..1.
    """
    precision, recall = _check_curve(precision, recall)
    return float(abs(np.trapezoid(precision, recall)))


def _check_curve(precision: ArrayLike, recall: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    precision, recall = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    if precision.ndim != 1 or precision.shape != recall.shape or not precision.size:
        raise ValueError(
            f"a curve is two arrays [m], got shapes {precision.shape} and {recall.shape}"
        )
    for name, values in (("precision", precision), ("recall", recall)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} lies in 0..1, got {values.min():g}..{values.max():g}")
    return precision, recall


def _append(file: IO[bytes], features: Features, name: str) -> tuple[int, int]:
    """Appends features in float32 to a file; returns their shape [n, d]."""
    count = width = 0
    for batch in feature_batches(features, name):
        file.write(batch.astype(np.float32).data)
        count, width = count + len(batch), batch.shape[1]
    return count, width


def _check_shapes(
    eval_shape: tuple[int, int], reference_shape: tuple[int, int], num_clusters: int
) -> None:
    (num_samples, width), (num_reference, reference_width) = eval_shape, reference_shape
    if num_samples != num_reference:
        raise ValueError(
            f"{num_samples} samples against {num_reference} reference images: the curve is biased "
            "unless their numbers are equal; draw a random subset of the larger set"
        )
    if width != reference_width:
        raise ValueError(
            f"features have {width} and {reference_width} dimensions; take both from the same "
            "feature network"
        )
    if not 1 <= num_clusters <= num_samples:
        raise ValueError(
            f"{num_samples} samples cannot fill num_clusters = {num_clusters}; give more samples "
            "or fewer clusters (at least 1)"
        )


def _cluster(features: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """Cluster index of each row, [n]."""
    # scikit-learn takes seconds to import, so it is imported only for clustering.
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    model = MiniBatchKMeans(num_clusters, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        # With fewer distinct rows than clusters some clusters are empty; the curve is still right.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_predict(features)
