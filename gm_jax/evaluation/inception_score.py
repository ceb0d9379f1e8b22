"""Inception score: whether samples are recognisable individually and varied as a set."""

import numpy as np
from numpy.typing import ArrayLike

from gm_jax.evaluation.feature_batches import rows_in_batches


def inception_score(logits: ArrayLike, num_splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """exp E_x KL(p(y|x) ‖ p(y)), mean and standard deviation over splits.

    Salimans et al. 2016; α-GAN section 5. The rows are shuffled before they are split: otherwise
    samples sorted by class would give splits of one class each, and a score near 1.

    Args:
      logits: [n, classes], real; −inf means probability zero. Scores comparable with the literature
        need Inception's 1008 logits without bias.
      num_splits: number of contiguous parts of the shuffled rows; 10 in the literature.
      seed: seeds the shuffle.

    Returns:
      Mean and (population) standard deviation over splits, each score in 1..classes.

    Raises:
      ValueError: not [n, classes], NaN or +inf, a row without a possible class, or fewer rows than
        splits.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise ValueError(f"logits are [n, classes], got shape {logits.shape}")
    if num_splits < 1 or len(logits) < num_splits:
        raise ValueError(
            f"{len(logits)} samples cannot make {num_splits} splits; give more samples or set "
            "num_splits between 1 and their number"
        )
    order = np.random.default_rng(seed).permutation(len(logits))
    scores = [_score(logits, rows) for rows in np.array_split(order, num_splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: np.ndarray, rows: np.ndarray) -> float:
    """Score of one split, whose rows are read in chunks to bound the memory.

    The mean of KL(p(y|x) ‖ p(y)) is the mean of Σ p(y|x) log p(y|x) minus Σ p(y) log p(y).
    """
    marginal, negative_entropy = np.zeros(logits.shape[1]), 0.0
    for batch in rows_in_batches(logits, np.sort(rows)):
        log_probs = _log_probs(batch)
        probs = np.exp(log_probs)
        marginal += probs.sum(axis=0) / len(rows)
        # 0 log 0 = 0: an impossible class adds nothing.
        negative_entropy += (probs * np.where(probs > 0, log_probs, 0.0)).sum() / len(rows)
    possible = marginal[marginal > 0]
    return np.exp(negative_entropy - (possible * np.log(possible)).sum())


def _log_probs(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    bad_rows = int((np.isnan(logits).any(1) | ~np.isfinite(logits.max(1))).sum())
    if bad_rows:
        raise ValueError(
            f"{bad_rows} of {len(logits)} rows of logits hold NaN, +inf or only -inf; look at the "
            "samples or the classifier"
        )
    log_probs = logits - logits.max(axis=1, keepdims=True)
    return log_probs - np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
