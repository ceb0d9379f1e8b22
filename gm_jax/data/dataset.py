"""The examples of one split: an array for every field, and the meaning of its values."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gm_jax.data.fields import (
    DOMAINS,
    DataSpec,
    Field,
    domains,
    image_spec,
    label_field,
    listed,
    of_domain,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The examples of one split.

    Attributes:
      arrays: {field: [N, ...]}, memory-mapped if they are large. Fields of a second domain
        (`image_b`, `label_b`) have their own N.
      fields: the fields' meanings.
      name: the source, as requested.
      split: the split, as requested.
      log_density: the exact log-density of the distribution of the examples, in nats: points, float
        [N, D] -> float64 [N]. None if unknown.
      digests: {field: hash of its values} if the source provides them, and `drawn`, what it says
        that it draws at random; see `fingerprint`.

    Raises:
      ValueError: an array does not match its field, or the arrays of a domain differ in length.
    """

    arrays: dict[str, np.ndarray]
    fields: DataSpec
    name: str
    split: str
    log_density: Callable[[np.ndarray], np.ndarray] | None = None
    digests: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        where = f"{self.name} {self.split}"
        if self.arrays.keys() != self.fields.keys():
            raise ValueError(f"{where} has arrays {[*self.arrays]} of fields {[*self.fields]}")
        for name, field in self.fields.items():
            array = self.arrays[name]
            if array.dtype != field.dtype or array.shape[1:] != tuple(field.shape):
                raise ValueError(
                    f"{name} of {where} is {array.dtype} {array.shape}; its field says "
                    f"{field.dtype} [N, {', '.join(map(str, field.shape))}]"
                )
        for names in domains(self.fields).values():
            counts = {name: len(self.arrays[name]) for name in names}
            if len(set(counts.values())) > 1:
                raise ValueError(f"fields of one domain of {where} differ in length: {counts}")

    @classmethod
    def of_images(
        cls,
        images: np.ndarray,
        labels: np.ndarray | None,
        levels: int,
        num_classes: int | None,
        name: str,
        split: str,
    ) -> "Dataset":
        """Builds a data set from images in memory, uint8 [N, H, W, C], and labels if given."""
        arrays, fields = {"image": images}, image_spec(images.shape[1:], levels)
        if labels is not None:
            arrays["label"] = np.asarray(labels, np.int32)
            fields["label"] = (
                Field((), "int32") if num_classes is None else label_field(num_classes)
            )
        return cls(arrays, fields, name, split)

    @property
    def lengths(self) -> dict[str, int]:
        """{domain suffix: number of examples}: "" for the first domain, "_b" for the second."""
        return {
            suffix: len(self.arrays[names[0]]) for suffix, names in domains(self.fields).items()
        }

    def __len__(self) -> int:
        """The number of examples; with two domains, the larger number."""
        return max(self.lengths.values())

    def first(self, count: int) -> "Dataset":
        """The first examples (of each domain), or all if there are fewer."""
        return self._part(slice(count))

    def chosen(self, rows: slice | np.ndarray) -> "Dataset":
        """The examples at these rows (of each domain), int [n] or a slice."""
        return self._part(rows)

    def domain(self, domain: str) -> "Dataset":
        """The examples of one domain, `a` or `b`, whose fields then have no suffix."""
        fields = of_domain(self.fields, domain)
        arrays = {name: self.arrays[name + DOMAINS[domain]] for name in fields}
        return Dataset(arrays, fields, f"domain {domain} of {self.name}", self.split)

    def _part(self, rows: slice | np.ndarray) -> "Dataset":
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        return dataclasses.replace(self, arrays=arrays, digests=None)

    def fingerprint(self) -> dict[str, str]:
        """{field: hash of its values}, which changes with any example and with their order.

        Of a source that draws, `drawn` says what.
        """
        if self.digests is not None:
            return dict(self.digests)
        return {name: digest_of(array) for name, array in self.arrays.items()}

    def labels_among(self, classes: Sequence[str]) -> np.ndarray:
        """The labels as numbers in other classes, matched by name: int32 [N].

        Another set of images may number its classes in another order, and lack some.

        Raises:
          ValueError: there are no labels, or some of their classes are not among the others.
        """
        labels = self.labels
        if labels is None:
            raise ValueError(f"the images of {self.name} {self.split} have no labels")
        ours = self.fields["label"].classes or tuple(map(str, range(self.num_classes or 0)))
        numbers = {name: number for number, name in enumerate(classes)}
        there = np.unique(labels)
        unknown = [ours[label] for label in there if ours[label] not in numbers]
        if unknown:
            raise ValueError(
                f"the classes of {self.name} {self.split} are {listed(ours)}; they cannot be "
                f"matched by name with the classes {listed(classes)}: there is no "
                f"{listed(unknown)}. Give both sets the same names (folders of these names, or "
                "names in an npz's `label`)"
            )
        return np.array([numbers.get(name, -1) for name in ours], np.int32)[labels]

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Copies the examples at these rows, {field: [len(rows), ...]}.

        Beyond the end of the shorter of two domains, rows start over at its beginning.
        """
        # A plain array has the same memory map, without memmap's slow indexing.
        return {name: np.asarray(array)[rows % len(array)] for name, array in self.arrays.items()}

    # Convenient views; each is None if there is no such field.

    @property
    def images(self) -> np.ndarray | None:
        """uint8 [N, H, W, C] in 0..levels−1."""
        return self.arrays.get("image")

    @property
    def labels(self) -> np.ndarray | None:
        """int32 [N] in 0..num_classes−1."""
        return self.arrays.get("label")

    @property
    def points(self) -> np.ndarray | None:
        """float32 [N, D]."""
        return self.arrays.get("point")

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Height, width and channels of every image."""
        return tuple(self.fields["image"].shape) if "image" in self.fields else None

    @property
    def levels(self) -> int | None:
        """The number of values that a pixel may take."""
        return self.fields["image"].levels if "image" in self.fields else None

    @property
    def num_classes(self) -> int | None:
        """The number of classes of the labels."""
        return self.fields["label"].num_classes if "label" in self.fields else None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, in the order of their numbers."""
        return self.fields["label"].classes if "label" in self.fields else None


def digest_of(array: np.ndarray) -> str:
    """A hash of an array's dtype, shape and values, read a few megabytes at a time."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, (1 << 24) // row_bytes)
    for start in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[start : start + step]).data)
    return digest.hexdigest()[:16]
