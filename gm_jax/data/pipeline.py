"""Examples to devices: epochs shuffled from the seed, one batch ahead, resumed exactly."""

import atexit
import functools
import weakref
from collections.abc import Callable, Iterator

import grain
import numpy as np

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import SECOND_DOMAIN, domains, is_image

Batch = dict[str, np.ndarray]

# Endless for every purpose; grain wants a number.
_STEPS = 2**31 - 1
# What the seeds of a domain's random streams end in: (seed, epoch, *these) permutes, (seed, step,
# *these, j) flips batch j of a step. NumPy takes (s, t) and (s, t, 0) for one seed, so that no end
# is a zero, and batch 0 has none.
_PERMUTATION = {"": (), SECOND_DOMAIN: (2,)}
_FLIPS = {"": (1,), SECOND_DOMAIN: (3,)}
_iterators: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_iterators() -> None:
    """Stops the prefetching threads while the modules that they use still exist."""
    for iterator in list(_iterators):
        iterator.close()
        # grain closes once more in `__del__`, by then without the modules that this needs.
        iterator.close = lambda: None


def _local_slice(batch_size: int, process_index: int, process_count: int) -> slice:
    """Returns the part of every global batch that this process reads."""
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} is not a multiple of the {process_count} processes; give "
            f"{max(1, round(batch_size / process_count)) * process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index {process_index} is not in 0..{process_count - 1}")
    local = batch_size // process_count
    return slice(process_index * local, (process_index + 1) * local)


def _permutations(seed: int, count: int, suffix: str) -> Callable[[int], np.ndarray]:
    """Returns the function epoch -> order of a domain's examples."""

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch, *_PERMUTATION[suffix])).permutation(count)

    return permutation


def _rows(permutation: Callable[[int], np.ndarray], count: int, numbers: np.ndarray) -> np.ndarray:
    """Returns the rows of some consecutive examples of the run; they span two epochs at most."""
    epochs, positions = np.divmod(numbers, count)
    rows = permutation(int(epochs[0]))[positions]
    later = epochs > epochs[0]
    if later[-1]:
        rows[later] = permutation(int(epochs[-1]))[positions[later]]
    return rows


def training_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    batches_per_step: int = 1,
    flip: bool = False,
    process_index: int = 0,
    process_count: int = 1,
    put: Callable[[Batch], dict] | None = None,
) -> grain.DatasetIterator:
    """Returns the endless iterator over shuffled training batches.

    Example i of batch j of step t is number p = (t · batches_per_step + j) · batch_size + i of
    the run: position p mod N of the permutation of epoch p div N. Batches straddle epochs, so
    that every example is seen once an epoch. Permutations and flips depend on seed, epoch, step
    and j alone, so that a run is the same on any number of processes, and resumes from a step
    number.

    A second domain (`image_b`, `label_b`) has an N and permutations of its own, so that pairs are
    formed anew all the time: the shorter domain starts its next epoch while the longer one is
    still in its first. The first domain comes in the order that it would have alone.

    A thread prepares and puts a step's batches ahead; what it has prepared but not given does not
    count in `get_state()`, which says {'next_index': the step that `next()` gives}. `close()`
    stops the thread; it is called at exit.

    Args:
      dataset: at least one global batch of examples in each domain.
      batch_size: examples of a global batch, a multiple of process_count.
      seed: of permutations and flips.
      batches_per_step: fresh batches that a step sees.
      flip: mirror each image left to right with probability 1/2; the two domains' images each by
        a coin of their own.
      process_index: which slice of every global batch to read.
      process_count: number of slices.
      put: maps a batch of the host to devices, in the background thread.

    Returns:
      Iterator over {field: [B, ...]} with B = batch_size / process_count, mapped by `put`; over
      tuples of `batches_per_step` of them where that is more than one.

    Raises:
      ValueError: fewer examples than a batch, a batch that the processes cannot share, no batch a
        step, or flips where there are no images.
    """
    grouped, lengths = domains(dataset.fields), dataset.lengths
    count = min(lengths.values())  # no batch holds an example twice
    if batch_size > count:
        domain = " of the shorter domain" if len(lengths) > 1 else ""
        raise ValueError(
            f"data.batch_size {batch_size} is more than the {count} examples{domain} of "
            f"{dataset.name} {dataset.split}; give data.batch_size={count} or less, or a larger "
            "split"
        )
    if batches_per_step < 1:
        raise ValueError(f"batches_per_step is {batches_per_step}; give 1 or more")
    images = {name for name, field in dataset.fields.items() if is_image(field)}
    if flip and not images:
        raise ValueError(f"data.flip mirrors images; {dataset.name} has none: set data.flip=False")
    local = _local_slice(batch_size, process_index, process_count)
    # As plain arrays: the same memory maps, without memmap's slow indexing.
    arrays = {name: np.asarray(array) for name, array in dataset.arrays.items()}
    permutations = {suffix: _permutations(seed, lengths[suffix], suffix) for suffix in grouped}

    def batch_of(step: int, number: int) -> Batch:
        first = (step * batches_per_step + number) * batch_size
        numbers = first + np.arange(local.start, local.stop)
        batch = {}
        for suffix, names in grouped.items():
            rows = _rows(permutations[suffix], lengths[suffix], numbers)
            batch.update({name: arrays[name][rows] for name in names})
            if flip:
                # Drawn for the global batch: the same image is flipped on any number of processes.
                tail = (number,) if number else ()
                generator = np.random.default_rng((seed, step, *_FLIPS[suffix], *tail))
                flipped = generator.random(batch_size)[local] < 0.5
                for name in images.intersection(names):
                    batch[name][flipped] = batch[name][flipped, :, ::-1]
        return batch

    def step_of(step: int) -> Batch | tuple[Batch, ...]:
        if batches_per_step == 1:
            return batch_of(int(step), 0)
        return tuple(batch_of(int(step), number) for number in range(batches_per_step))

    batches = grain.MapDataset.range(_STEPS).map(step_of)
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if put is not None:
        one, several = put, lambda step: tuple(map(put, step))
        batches = batches.map(one if batches_per_step == 1 else several)
    iterator = iter(grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=1))
    _iterators.add(iterator)
    return iterator


def evaluation_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Returns the iterator over every example once, in order, in batches of one shape.

    The last global batch is filled up with the last example, masked out. Where a second domain is
    longer or shorter, the shorter one is filled up until the longer one ends.

    Args:
      dataset: what to evaluate on.
      batch_size: examples of a global batch, a multiple of process_count.
      process_index: which slice of every global batch to read.
      process_count: number of slices; all processes get the same number of batches.

    Returns:
      Iterator over {field: [B, ...], 'index': int32 [B], position in the split, 'mask': bool [B],
      False where filled up, and 'mask_b' of a second domain}.

    Raises:
      ValueError: a batch that the processes cannot share.
    """
    longest, grouped, lengths = len(dataset), domains(dataset.fields), dataset.lengths
    local = _local_slice(batch_size, process_index, process_count)
    arrays = {name: np.asarray(array) for name, array in dataset.arrays.items()}

    def batch_from(start: int) -> Batch:
        positions = start + np.arange(local.start, local.stop)
        batch = {"index": np.minimum(positions, longest - 1).astype(np.int32)}
        for suffix, names in grouped.items():
            rows = np.minimum(positions, lengths[suffix] - 1)
            batch.update({name: arrays[name][rows] for name in names})
            batch[f"mask{suffix}"] = positions < lengths[suffix]
        return batch

    return map(batch_from, range(0, longest, batch_size))
