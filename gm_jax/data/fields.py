"""What an example of a data set is made of: named fields, and what their values mean."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Field(NamedTuple):
    """One named part of every example.

    Attributes:
      shape: of one example: (H, W, C) of an image, () of a label, (D,) of a point.
      dtype: NumPy's name: uint8 for images, int32 for labels and tokens, float32 for points.
      levels: the values of an image's pixels are 0..levels−1; None for all else.
      num_classes: the values of a label are 0..num_classes−1; None for all else.
      classes: the names of these classes; None where nobody knows them.
    """

    shape: tuple[int, ...]
    dtype: str
    levels: int | None = None
    num_classes: int | None = None
    classes: tuple[str, ...] | None = None

    def __str__(self) -> str:
        of = {"levels": self.levels, "classes": self.num_classes}
        counts = "".join(f", {count} {what}" for what, count in of.items() if count is not None)
        names = "" if self.classes is None else f" ({listed(self.classes)})"
        return f"{self.dtype} {list(self.shape)}{counts}{names}"

    def equals(self, other: "Field | None") -> bool:
        """Whether both say the same; names of classes that one of them does not know may be any."""
        if other is None:
            return False
        known = self.classes is not None and other.classes is not None
        return self == (other if known else other._replace(classes=self.classes))


# {name: Field}: `image`, `label`, `image_b` and `label_b` of a second domain, `point`, `tokens`.
DataSpec = Mapping[str, Field]
# What ends the names of the fields of a second domain.
SECOND_DOMAIN = "_b"


def label_field(classes: int | Sequence[str]) -> Field:
    """The field of labels of some classes, given by their names or, unnamed, by their number.

    The names of unnamed classes are their numbers, from 0.
    """
    names = tuple(map(str, range(classes) if isinstance(classes, int) else classes))
    return Field((), "int32", num_classes=len(names), classes=names)


def image_spec(
    image_shape: tuple[int, int, int], levels: int, classes: int | Sequence[str] | None = None
) -> dict[str, Field]:
    """The fields of images, and of their labels where there are classes (see `label_field`)."""
    spec = {"image": Field(tuple(image_shape), "uint8", levels)}
    if classes is not None:
        spec["label"] = label_field(classes)
    return spec


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message; of very many the first ones, and how many there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … {len(names)} in all"


def to_json(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """The fields as JSON holds them; what is None is left out."""
    return {
        name: {key: value for key, value in field._asdict().items() if value is not None}
        for name, field in spec.items()
    }


def from_json(saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Field]:
    """The fields of `to_json`; any error where they are not that."""

    def value(name: str, saved: Any) -> Any:
        if name == "dtype":
            return np.dtype(saved).name
        if name == "classes":
            return tuple(map(str, saved))
        return tuple(map(operator.index, saved)) if name == "shape" else operator.index(saved)

    return {
        name: Field(**{key: value(key, each) for key, each in field.items()})
        for name, field in saved.items()
    }


def blanks(spec: DataSpec, count: int) -> dict[str, np.ndarray]:
    """Arrays [count, ...] of zeros in the shapes and dtypes of the fields, without their memory."""
    return {
        name: np.broadcast_to(np.zeros((), field.dtype), (count, *field.shape))
        for name, field in spec.items()
    }


def main_field(spec: DataSpec) -> str:
    """The name of what a model is of: `image`, `point` or `tokens`.

    Raises:
      ValueError: there is none of them.
    """
    for name in ("image", "point", "tokens"):
        if name in spec:
            return name
    raise ValueError(f"no image, point or tokens among the fields {', '.join(spec) or 'none'}")


def is_image(field: Field) -> bool:
    """Whether a field holds images; their pixels alone have levels."""
    return field.levels is not None


def domains(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups fields by the suffix of their domain: "" for the first, "_b" for the second.

    Examples of one domain have all of its fields; those of two domains are not paired, and need
    not be as many.
    """
    grouped: dict[str, tuple[str, ...]] = {}
    for name in names:
        suffix = SECOND_DOMAIN if name.endswith(SECOND_DOMAIN) else ""
        grouped[suffix] = (*grouped.get(suffix, ()), name)
    return grouped
