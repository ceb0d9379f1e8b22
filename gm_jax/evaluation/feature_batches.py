"""Features in batches: what keeps the memory of their metrics flat in the number of samples."""

from collections.abc import Iterable, Iterator

import numpy as np

_CHUNK_ROWS = 4096


def feature_batches(features: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields features a few thousand rows at a time.

    Args:
      features: [n, d], real, or an iterable of such batches of any sizes.

    Yields:
      Finite float64 [m, d], m in 1..4096.

    Raises:
      ValueError: another shape, batches of different widths, or values that are not finite.
    """
    width = None
    for source in [features] if hasattr(features, "ndim") else features:
        source = np.asarray(source)
        if source.ndim != 2:
            raise ValueError(f"features are [n, d], got shape {source.shape}; flatten them first")
        if width not in (None, source.shape[1]):
            raise ValueError(
                f"a batch has {source.shape[1]} features after batches of {width}; "
                "take all of them from one feature network"
            )
        width = source.shape[1]
        for start in range(0, len(source), _CHUNK_ROWS):
            batch = source[start : start + _CHUNK_ROWS].astype(np.float64)
            bad_rows = int((~np.isfinite(batch)).any(axis=1).sum())
            if bad_rows:
                raise ValueError(
                    f"{bad_rows} of {len(batch)} feature rows hold NaN or infinity; look at the "
                    "samples or the feature network, a distance would be meaningless"
                )
            yield batch
