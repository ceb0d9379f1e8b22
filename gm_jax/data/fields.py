"""The named fields of a data set's examples, and the meaning of their values."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Field(NamedTuple):
    """One named part of every example.

    Attributes:
      shape: shape of one example: (H, W, C) for an image, () for a label, (D,) for a point.
      dtype: NumPy's name: uint8 for images, int32 for labels and tokens, float32 for points.
      levels: the pixels of an image are in 0..levels−1; None for other fields.
      num_classes: labels are in 0..num_classes−1; None for other fields.
      classes: names of these classes; None if unknown.
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
        """Whether both are equal; class names that only one of them knows match."""
        if other is None:
            return False
        known = self.classes is not None and other.classes is not None
        return self == (other if known else other._replace(classes=self.classes))


# {name: Field}: `image`, `label`, `point`, `tokens`, and a second domain's `image_b`, `label_b`, ….
DataSpec = Mapping[str, Field]
# The suffix of the names of a second domain's fields.
SECOND_DOMAIN = "_b"
# {domain: the suffix of its fields}, and {direction: the domains from which and to which}.
DOMAINS = {"a": "", "b": SECOND_DOMAIN}
DIRECTIONS = {"a_to_b": ("a", "b"), "b_to_a": ("b", "a")}


def label_field(classes: int | Sequence[str]) -> Field:
    """The field for labels of some classes, given by their names or by how many there are.

    Unnamed classes are named by their numbers, from 0.
    """
    names = tuple(map(str, range(classes) if isinstance(classes, int) else classes))
    return Field((), "int32", num_classes=len(names), classes=names)


def image_spec(
    image_shape: tuple[int, int, int], levels: int, classes: int | Sequence[str] | None = None
) -> dict[str, Field]:
    """The fields of images and, if there are classes, their labels (see `label_field`)."""
    spec = {"image": Field(tuple(image_shape), "uint8", levels)}
    if classes is not None:
        spec["label"] = label_field(classes)
    return spec


def listed(names: Sequence[str], most: int = 20) -> str:
    """Lists names for a message; if there are very many, the first ones and their number."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … {len(names)} in all"


def to_json(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """Converts the fields to JSON; leaves out None."""
    return {
        name: {key: value for key, value in field._asdict().items() if value is not None}
        for name, field in spec.items()
    }


def from_json(saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Field]:
    """Reads the fields that `to_json` wrote; raises an error of any kind for anything else."""

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
    """Arrays [count, ...] of zeros with the fields' shapes and dtypes, which take no memory."""
    return {
        name: np.broadcast_to(np.zeros((), field.dtype), (count, *field.shape))
        for name, field in spec.items()
    }


def main_field(spec: DataSpec) -> str:
    """The name of the field that is modelled: `image`, `point` or `tokens`.

    Raises:
      ValueError: there is no such field.
    """
    for name in ("image", "point", "tokens"):
        if name in spec:
            return name
    raise ValueError(f"no image, point or tokens among the fields {', '.join(spec) or 'none'}")


def is_image(field: Field) -> bool:
    """Whether a field holds images; only pixels have levels."""
    return field.levels is not None


def domains(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups fields by their domain's suffix: "" for the first, "_b" for the second.

    Every example of a domain has all of its fields; examples of two domains are not paired, and
    their numbers may differ.
    """
    grouped: dict[str, tuple[str, ...]] = {}
    for name in names:
        suffix = SECOND_DOMAIN if name.endswith(SECOND_DOMAIN) else ""
        grouped[suffix] = (*grouped.get(suffix, ()), name)
    return grouped


def ends_of(direction: str) -> tuple[str, str]:
    """The domains from which and to which one of DIRECTIONS leads; ValueError for any other."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is '{direction}'; give {' or '.join(DIRECTIONS)}")
    return DIRECTIONS[direction]


def of_domain(spec: DataSpec, domain: str) -> dict[str, Field]:
    """The fields of one of DOMAINS, without its suffix; {} if there are none."""
    suffix = DOMAINS[domain]
    return {name.removesuffix(suffix): spec[name] for name in domains(spec).get(suffix, ())}
