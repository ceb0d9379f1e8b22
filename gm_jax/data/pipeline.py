"""Images to devices: epochs shuffled from the seed, one batch ahead, resumed exactly."""

import atexit
import functools
import weakref
from collections.abc import Callable, Iterator

import grain
import numpy as np

from gm_jax.data.sources import ImageDataset

# Endless for every purpose; grain wants a number.
_STEPS = 2**31 - 1
# Keeps the random numbers of flips apart from those of permutations.
_FLIPS = 1
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


def _gather(dataset: ImageDataset, images: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the images and labels of some rows, copied out of the memory map."""
    batch = {"image": images[rows]}
    if dataset.labels is not None:
        batch["label"] = dataset.labels[rows]
    return batch


def training_batches(
    dataset: ImageDataset,
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    process_index: int = 0,
    process_count: int = 1,
    put: Callable[[dict[str, np.ndarray]], dict] | None = None,
) -> grain.DatasetIterator:
    """Returns the endless iterator over shuffled training batches.

    Example i of step t is number p = t · batch_size + i of the run: position p mod N of the
    permutation of epoch p div N. Batches straddle epochs, so that every image is seen once an
    epoch. Permutation and flips depend on seed, epoch and step alone, so that a run is the same
    on any number of processes, and resumes from a step number.

    A thread prepares and puts batches ahead; what it has prepared but not given does not count
    in `get_state()`, which says {'next_index': the step that `next()` gives}. `close()` stops
    the thread; it is called at exit.

    Args:
      dataset: at least one global batch of images.
      batch_size: images of a global batch, a multiple of process_count.
      seed: of permutations and flips.
      flip: mirror each image left to right with probability 1/2.
      process_index: which slice of every global batch to read.
      process_count: number of slices.
      put: maps the host's batch to devices, in the background thread.

    Returns:
      Iterator over {'image': uint8 [B, H, W, C], 'label': int32 [B] where there are labels}
      with B = batch_size / process_count, mapped by `put`.

    Raises:
      ValueError: fewer images than a batch, or a batch that the processes cannot share.
    """
    count = len(dataset)
    if batch_size > count:
        raise ValueError(
            f"data.batch_size {batch_size} is more than the {count} images of {dataset.name} "
            f"{dataset.split}; give data.batch_size={count} or less, or a larger split"
        )
    local = _local_slice(batch_size, process_index, process_count)
    images = np.asarray(dataset.images)  # the same memory map, without memmap's slow indexing

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(count)

    def batch_at_step(step: int) -> dict[str, np.ndarray]:
        epochs, positions = np.divmod(
            int(step) * batch_size + np.arange(local.start, local.stop), count
        )
        rows = permutation(int(epochs[0]))[positions]
        later = epochs > epochs[0]  # at most one epoch later, a batch being no longer than one
        if later[-1]:
            rows[later] = permutation(int(epochs[-1]))[positions[later]]
        batch = _gather(dataset, images, rows)
        if flip:
            # Drawn for the global batch: the same image is flipped on any number of processes.
            generator = np.random.default_rng((seed, int(step), _FLIPS))
            flipped = generator.random(batch_size)[local] < 0.5
            batch["image"][flipped] = batch["image"][flipped, :, ::-1]
        return batch

    batches = grain.MapDataset.range(_STEPS).map(batch_at_step)
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if put is not None:
        batches = batches.map(put)
    iterator = iter(grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=1))
    _iterators.add(iterator)
    return iterator


def evaluation_batches(
    dataset: ImageDataset,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Returns the iterator over every image once, in order, in batches of one shape.

    The last global batch is filled up with the last image, masked out.

    Args:
      dataset: what to evaluate on.
      batch_size: images of a global batch, a multiple of process_count.
      process_index: which slice of every global batch to read.
      process_count: number of slices; all processes get the same number of batches.

    Returns:
      Iterator over {'image': uint8 [B, H, W, C], 'label': int32 [B] where there are labels,
      'index': int32 [B], position in the split, 'mask': bool [B], False where filled up}.

    Raises:
      ValueError: a batch that the processes cannot share.
    """
    count = len(dataset)
    local = _local_slice(batch_size, process_index, process_count)
    images = np.asarray(dataset.images)

    def batch_from(start: int) -> dict[str, np.ndarray]:
        positions = start + np.arange(local.start, local.stop)
        rows = np.minimum(positions, count - 1)
        batch = _gather(dataset, images, rows)
        return {**batch, "index": rows.astype(np.int32), "mask": positions < count}

    return map(batch_from, range(0, count, batch_size))
