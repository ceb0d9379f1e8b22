"""Two unpaired domains, of images or of points: 'pair:SOURCE_A|SOURCE_B'."""

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import SECOND_DOMAIN


def two_sources(argument: str) -> tuple[str, str]:
    """Splits 'SOURCE_A|SOURCE_B' into its sources.

    Raises:
      ValueError: there are not exactly two.
    """
    sources = argument.split("|")
    if len(sources) != 2 or not all(sources):
        raise ValueError(
            f"pair:{argument} names {len([*filter(None, sources)])} sources; give two, "
            "pair:SOURCE_A|SOURCE_B"
        )
    return sources[0], sources[1]


def two_splits(split: str) -> tuple[str, str]:
    """The split of each domain: 'SPLIT_A|SPLIT_B', or a single one for both.

    Raises:
      ValueError: there are more than two.
    """
    splits = split.split("|")
    if len(splits) > 2 or not all(splits):
        raise ValueError(f"split {split!r} of a pair; give 'SPLIT' of both or 'SPLIT_A|SPLIT_B'")
    return splits[0], splits[-1]


def pair_of(first: Dataset, second: Dataset, name: str, split: str) -> Dataset:
    """Combines two data sets: image, label, image_b, label_b (or point, …, point_b, …).

    A domain's labels are present if it has any. The domains keep their own lengths: no example of
    one belongs to an example of the other.
    """
    arrays, fields = dict(first.arrays), dict(first.fields)
    for field in second.fields:
        arrays[field + SECOND_DOMAIN] = second.arrays[field]
        fields[field + SECOND_DOMAIN] = second.fields[field]
    digests = first.fingerprint()
    digests |= {field + SECOND_DOMAIN: digest for field, digest in second.fingerprint().items()}
    return Dataset(arrays, fields, name, split, digests=digests)
