"""Examples in memory, checked against the data that a model expects."""

from collections.abc import Mapping

import numpy as np

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import DataSpec, Field, is_image, main_field


def checked_dataset(
    examples: np.ndarray | Mapping[str, np.ndarray], labels: np.ndarray | None, spec: DataSpec
) -> Dataset:
    """Makes a data set from examples and, if given, labels.

    Args:
      examples: [N, ...] of the main field (images uint8 [N, H, W, C], points [N, D]), or
        {field: [N, ...]} with the main field and any others.
      labels: int [N], or None.
      spec: the fields of the model's data.

    Raises:
      ValueError: they do not fit the model; the message says what would.
    """
    main = main_field(spec)
    given = dict(examples) if isinstance(examples, Mapping) else {main: examples}
    if main not in given or not given.keys() <= spec.keys():
        raise ValueError(
            f"got {', '.join(given) or 'no fields'}; give {main}, and no fields other than "
            f"{', '.join(spec)}"
        )
    arrays = {name: _checked(array, spec[name]) for name, array in given.items()}
    if labels is not None:
        field = spec.get("label", Field((), "int32"))
        arrays["label"] = checked_labels(labels, len(arrays[main]), field.num_classes)
    fields = {name: spec[name] for name in arrays}
    return Dataset(arrays, fields, main, "in memory")


def _checked(array: np.ndarray, field: Field) -> np.ndarray:
    """Returns an array of any field in the field's dtype."""
    if is_image(field):
        return checked_images(array, field)
    if field.num_classes is not None:
        return checked_labels(array, len(array), field.num_classes)
    if field.dtype == "float32":
        return checked_points(array, field)
    array = np.asarray(array)
    _check_shape(array, field, f"{field.dtype} values")
    if array.dtype.kind not in "iu":
        raise ValueError(f"values are {array.dtype}; give {field.dtype}")
    return array.astype(field.dtype)


def checked_images(images: np.ndarray, field: Field) -> np.ndarray:
    """Checks that images are uint8 [N, H, W, C] in 0..levels−1.

    Raises:
      ValueError: they are not; the message says what to give.
    """
    images, levels = np.asarray(images), field.levels or 256
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}; give uint8 in 0..{levels - 1}")
    _check_shape(images, field, "images")
    if images.max() >= levels:
        raise ValueError(
            f"images hold the value {images.max()}; those of {levels} levels are in 0..{levels - 1}"
        )
    return images


def checked_points(points: np.ndarray, field: Field) -> np.ndarray:
    """Converts points, floats or integers, to float32 [N, D].

    Raises:
      ValueError: they are not finite numbers of this shape.
    """
    points = np.asarray(points)
    if points.dtype.kind not in "fiu":
        raise ValueError(f"points are {points.dtype}; give float32")
    _check_shape(points, field, "points")
    if not np.isfinite(points).all():
        raise ValueError("points hold NaN or infinity; give finite ones")
    return points.astype(np.float32)


def _check_shape(array: np.ndarray, field: Field, what: str) -> None:
    """Refuses an array whose shape is not [N ≥ 1, the shape of its field]."""
    shape = tuple(field.shape)
    if not array.ndim or not len(array) or array.shape[1:] != shape:
        wanted = ", ".join(["N ≥ 1", *map(str, shape)])
        raise ValueError(f"{what} have shape {array.shape}; give [{wanted}]")


def checked_labels(labels: np.ndarray, count: int, num_classes: int | None) -> np.ndarray:
    """Converts labels to int32 [count], each in 0..num_classes−1.

    Raises:
      ValueError: they do not fit; the message says what to give.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise ValueError(
            f"labels are {labels.dtype} of shape {labels.shape}; give integers [{count}]"
        )
    classes = num_classes or 0
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels lie in {labels.min()}..{labels.max()}, but there are {classes} classes"
        )
    return labels.astype(np.int32)
