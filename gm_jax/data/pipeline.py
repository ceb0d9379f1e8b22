"""Feeds examples to devices: seeded shuffling of epochs, one batch ahead, exact resumption."""

import atexit
import functools
import weakref
from collections.abc import Callable, Iterator

import grain
import numpy as np

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import SECOND_DOMAIN, domains, is_image

Batch = dict[str, np.ndarray]

# Practically endless; grain needs a number.
_STEPS = 2**31 - 1
# The endings of the seeds of a domain's random streams: (seed, epoch, *ending) permutes, and (seed,
# step, *ending, j) flips batch j of a step. NumPy treats (s, t) and (s, t, 0) as the same seed, so
# no ending is zero, and batch 0 has no j.
_PERMUTATION = {"": (), SECOND_DOMAIN: (2,)}
_FLIPS = {"": (1,), SECOND_DOMAIN: (3,)}
_iterators: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_iterators() -> None:
    """Stops the prefetching threads while the modules that they use still exist."""
    for iterator in list(_iterators):
        iterator.close()
        # grain closes again in `__del__`, when the modules that this needs are gone.
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
    """Returns a function epoch -> order of a domain's examples."""

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch, *_PERMUTATION[suffix])).permutation(count)

    return permutation


def _rows(permutation: Callable[[int], np.ndarray], count: int, numbers: np.ndarray) -> np.ndarray:
    """Returns the rows of consecutive examples of the run, which span at most two epochs."""
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

    Example i of batch j of step t is number p = (t · batches_per_step + j) · batch_size + i of the
    run: position p mod N of the permutation of epoch p div N. Batches straddle epochs, so every
    example is seen once per epoch. Permutations and flips depend only on seed, epoch, step and j,
    so a run is the same on any number of processes, and can resume from a step number.

    A second domain (`image_b`, `label_b`) has its own N and permutations, so pairs keep changing:
    the shorter domain starts its next epoch while the longer one is still in its first. The first
    domain has the same order as it would have alone.

    A thread prepares a step's batches ahead and puts them on devices; batches that it has prepared
    but not yet returned do not count in `get_state()`, which is {'next_index': the step that
    `next()` returns}. `close()` stops the thread; it is called at exit.

    Args:
      dataset: has at least one global batch of examples in each domain.
      batch_size: examples per global batch, a multiple of process_count.
      seed: seeds permutations and flips.
      batches_per_step: number of fresh batches per step.
      flip: whether to mirror each image left to right with probability 1/2, independently in the
        two domains.
      process_index: the slice of every global batch to read.
      process_count: number of slices.
      put: maps a batch from the host to devices, in the background thread.

    Returns:
      Iterator over {field: [B, ...]} with B = batch_size / process_count, mapped by `put`; or over
      tuples of `batches_per_step` such batches if that is more than one.

    Raises:
      ValueError: fewer examples than a batch, a batch that the processes cannot share, no batch per
        step, or flips without images.
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
    # Plain arrays have the same memory maps, without memmap's slow indexing.
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
                # Drawn for the global batch, so the flips do not depend on the number of processes.
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
    """Returns an iterator over every example once, in order, in batches of the same shape.

    Masked copies of the last example fill the last global batch. If two domains differ in length,
    the shorter one is filled up in the same way until the longer one ends.

    Args:
      dataset: the examples to evaluate on.
      batch_size: examples per global batch, a multiple of process_count.
      process_index: the slice of every global batch to read.
      process_count: number of slices; all processes get the same number of batches.

    Returns:
      Iterator over {field: [B, ...], 'index': int32 [B], position in the split, 'mask': bool [B],
      False for filled-up examples, and 'mask_b' for a second domain}.

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
