"""Multi-scale structural similarity of image pairs, and the diversity of an image set."""

import numpy as np
from numpy.typing import ArrayLike

# From Wang, Simoncelli, Bovik 2003: exponents of the five scales, window, stabilising constants.
_SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
_WINDOW_SIZE, _WINDOW_STD = 11, 1.5
_LUMINANCE_CONSTANT, _CONTRAST_CONSTANT = 0.01, 0.03
_SMALLEST_SIDE = 2 ** (len(_SCALE_WEIGHTS) - 1)  # leaves one pixel at the last scale
# Pixels of an image set that are filtered at once, which bounds the memory.
_CHUNK_PIXELS = 2**20


def ms_ssim(a: ArrayLike, b: ArrayLike, data_range: float = 255) -> np.ndarray | float:
    """Multi-scale structural similarity of pairs of images.

    l_5^w_5 Π_j (cs_j)^w_j, where cs_j is the mean contrast-structure term after j − 1 halvings and
    l_5 the luminance inside the last mean; Wang et al. 2003, eq. 7, per channel and then averaged
    over channels. On scales smaller than 11 pixels the Gaussian window shrinks with its standard
    deviation, so that 64 x 64 images keep all five scales. A negative mean term is clipped to 0 for
    each pair separately (averaging over pairs first would hide it).

    Args:
      a, b: [n, height, width, channels], or one pair without n; integer or real in 0..data_range;
        height and width at least 16.
      data_range: largest possible value, 255 for uint8.

    Returns:
      float64 [n] (a float for one pair), in 0..1; 1 for equal images.

    Raises:
      ValueError: shapes differ, a side is under 16 pixels, or values lie outside 0..data_range.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim not in (3, 4):
        raise ValueError(
            f"a and b are [n, height, width, channels] of one shape, got {a.shape} and {b.shape}"
        )
    if a.ndim == 3:
        return float(_of_pairs(a[None], b[None], data_range)[0])
    return _of_pairs(a, b, data_range)


def sample_diversity(images: ArrayLike, num_pairs: int, seed: int) -> float:
    """1 − mean MS-SSIM over random pairs of distinct images.

    α-GAN section 5 ("sample diversity score"), after Odena et al. 2017. Compare it with the same
    number for real images: too much diversity is noise.

    Args:
      images: uint8 [n, height, width, channels], n >= 2, sides at least 16 pixels.
      num_pairs: number of pairs, drawn without repetition; at most n (n − 1) / 2.
      seed: seeds the draw.

    Returns:
      The diversity, in 0..1; 0 if all images are equal.

    Raises:
      ValueError: not uint8 images, a single image, or more pairs than there are.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(
            "images are uint8 [n, height, width, channels], got "
            f"{images.dtype} of shape {images.shape}; round and clip to 0..255 first"
        )
    all_pairs = len(images) * (len(images) - 1) // 2
    if not 1 <= num_pairs <= all_pairs:
        raise ValueError(
            f"{len(images)} images make {all_pairs} pairs of distinct images, num_pairs = "
            f"{num_pairs} must lie between 1 and that"
        )
    numbers = np.random.default_rng(seed).choice(all_pairs, num_pairs, replace=False)
    second, first = _pair_of_number(np.sort(numbers))
    # Pairs are gathered in slices, because all of them may be many times the size of the images.
    step = max(1, _CHUNK_PIXELS // int(np.prod(images.shape[1:])))
    total = sum(
        _of_pairs(
            images[first[start : start + step]], images[second[start : start + step]], 255
        ).sum()
        for start in range(0, num_pairs, step)
    )
    return float(1.0 - total / num_pairs)


def _pair_of_number(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (i, j), i > j, with numbers i (i − 1) / 2 + j in the list of all pairs."""
    larger = ((1 + np.sqrt(1 + 8 * numbers.astype(np.float64))) / 2).astype(np.int64)
    larger -= larger * (larger - 1) // 2 > numbers  # the root may round up past an integer
    larger += (larger + 1) * larger // 2 <= numbers  # or down
    return larger, numbers - larger * (larger - 1) // 2


def _of_pairs(a: np.ndarray, b: np.ndarray, data_range: float) -> np.ndarray:
    """MS-SSIM [n] of [n, H, W, C], in chunks."""
    _check_images(a, data_range)
    _check_images(b, data_range)
    chunk = max(1, _CHUNK_PIXELS // int(np.prod(a.shape[1:])))
    parts = [
        _chunk(a[start : start + chunk], b[start : start + chunk], data_range)
        for start in range(0, len(a), chunk)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _chunk(a: np.ndarray, b: np.ndarray, data_range: float) -> np.ndarray:
    """MS-SSIM [n] of checked [n, H, W, C]."""
    a = np.moveaxis(a, -1, 1).astype(np.float64)
    b = np.moveaxis(b, -1, 1).astype(np.float64)
    product = np.ones(a.shape[:2])
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            a, b = _halve(a), _halve(b)
        luminance, contrast = _similarity_maps(a, b, data_range)
        last = scale == len(_SCALE_WEIGHTS) - 1
        term = (luminance * contrast if last else contrast).mean(axis=(-2, -1))
        product *= np.maximum(term, 0.0) ** weight
    return product.mean(axis=1)


def _similarity_maps(
    a: np.ndarray, b: np.ndarray, data_range: float
) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure terms at every window position, [n, C, H', W']."""
    rows, columns = _window(a.shape[-2]), _window(a.shape[-1])

    def smooth(images: np.ndarray) -> np.ndarray:
        return rows @ images @ columns.T

    mean_a, mean_b = smooth(a), smooth(b)
    variances = smooth(a * a) - mean_a**2 + smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    constant = (_LUMINANCE_CONSTANT * data_range) ** 2
    luminance = (2 * mean_a * mean_b + constant) / (mean_a**2 + mean_b**2 + constant)
    constant = (_CONTRAST_CONSTANT * data_range) ** 2
    return luminance, (2 * covariance + constant) / (variances + constant)


def _window(length: int) -> np.ndarray:
    """Gaussian weights of every full window position along one side, [positions, length]."""
    size = min(_WINDOW_SIZE, length)
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (offsets / (_WINDOW_STD * size / _WINDOW_SIZE)) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((length - size + 1, length))
    for place in range(len(matrix)):
        matrix[place, place : place + size] = weights
    return matrix


def _halve(images: np.ndarray) -> np.ndarray:
    """Averages 2 x 2 pixels; the last row and column of odd sides count twice."""
    odd_rows, odd_columns = images.shape[-2] % 2, images.shape[-1] % 2
    images = np.pad(images, ((0, 0), (0, 0), (0, odd_rows), (0, odd_columns)), mode="edge")
    shape = images.shape
    return images.reshape(*shape[:2], shape[2] // 2, 2, shape[3] // 2, 2).mean(axis=(3, 5))


def _check_images(images: np.ndarray, data_range: float) -> None:
    height, width = images.shape[1:3]
    if min(height, width) < _SMALLEST_SIDE:
        raise ValueError(
            f"images of {height} x {width} pixels are too small for {len(_SCALE_WEIGHTS)} scales; "
            f"sides are at least {_SMALLEST_SIDE}"
        )
    if not images.size:
        return
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= data_range):  # also refuses NaN
        raise ValueError(
            f"values lie in 0..data_range = {data_range}, got {low}..{high}; set data_range or "
            "rescale the images"
        )
