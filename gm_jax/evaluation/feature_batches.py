"""Features in batches, so that their metrics' memory does not grow with the number of samples."""

from collections.abc import Iterable, Iterator

import numpy as np

_CHUNK_ROWS = 4096

Features = np.ndarray | Iterable[np.ndarray]


def feature_batches(features: Features, name: str = "features") -> Iterator[np.ndarray]:
    """Yields features a few thousand rows at a time.

    Args:
      features: [n, d], real, possibly memory-mapped; or an iterable of such batches of any sizes.
      name: their name in error messages.

    Yields:
      Finite float64 [m, d], m in 1..4096, d > 0.

    Raises:
      ValueError: wrong shape, batches of different widths, or values that are not finite.
    """
    width = None
    for source in [features] if hasattr(features, "ndim") else features:
        source = np.asarray(source)
        if source.ndim != 2 or not source.shape[1]:
            raise ValueError(f"{name} are [n, d], d > 0, got shape {source.shape}; flatten them")
        if width not in (None, source.shape[1]):
            raise ValueError(
                f"{name}: a batch has {source.shape[1]} features after batches of {width}; "
                "take all of them from one feature network"
            )
        width = source.shape[1]
        for batch in rows_in_batches(source, np.arange(len(source))):
            batch = batch.astype(np.float64)
            bad_rows = int((~np.isfinite(batch)).any(axis=1).sum())
            if bad_rows:
                raise ValueError(
                    f"{name}: {bad_rows} of {len(batch)} rows hold NaN or infinity; look at the "
                    "images or the feature network"
                )
            yield batch


def rows_in_batches(features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the chosen rows of [n, d], possibly memory-mapped, a few thousand at a time."""
    for start in range(0, len(rows), _CHUNK_ROWS):
        yield features[rows[start : start + _CHUNK_ROWS]]
