"""The examples of one split: an array for every field, and what their values mean."""

import dataclasses
from collections.abc import Callable

import numpy as np

from gm_jax.data.fields import DataSpec, Field, domains, image_spec


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The examples of one split.

    Attributes:
      arrays: {field: [N, ...]}, memory-mapped where they are large. Fields of a second domain
        (`image_b`, `label_b`) have an N of their own.
      fields: what they mean.
      name: the source, as asked for.
      split: the split, as asked for.
      log_density: the exact log-density of the distribution that the examples are drawn from, in
        nats: points, float [N, D] -> float64 [N]. None where nobody knows it.

    Raises:
      ValueError: an array is not what its field says, or the arrays of a domain differ in length.
    """

    arrays: dict[str, np.ndarray]
    fields: DataSpec
    name: str
    split: str
    log_density: Callable[[np.ndarray], np.ndarray] | None = None

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
        """Images in memory, uint8 [N, H, W, C], and their labels where there are any."""
        arrays = {"image": images}
        fields = image_spec(images.shape[1:], levels)
        if labels is not None:
            arrays["label"] = np.asarray(labels, np.int32)
            fields["label"] = Field((), "int32", num_classes=num_classes)
        return cls(arrays, fields, name, split)

    @property
    def lengths(self) -> dict[str, int]:
        """{suffix of a domain: its number of examples}: "" for the first, "_b" for the second."""
        return {
            suffix: len(self.arrays[names[0]]) for suffix, names in domains(self.fields).items()
        }

    def __len__(self) -> int:
        """The number of examples; of two domains, the longer one's."""
        return max(self.lengths.values())

    def first(self, count: int) -> "Dataset":
        """The first examples (of each domain), or all where there are fewer."""
        arrays = {name: array[:count] for name, array in self.arrays.items()}
        return dataclasses.replace(self, arrays=arrays)

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Copies the examples of some rows, {field: [len(rows), ...]}.

        Rows beyond the end of the shorter of two domains start over at its beginning.
        """
        # As plain arrays: the same memory map, without memmap's slow indexing.
        return {name: np.asarray(array)[rows % len(array)] for name, array in self.arrays.items()}

    # Views for people; each is None where the field is not there.

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
