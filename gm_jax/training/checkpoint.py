"""Checkpoints of a run: the latest two and the best, written in the background."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator
from typing import Any, Literal, NoReturn, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from grain import checkpoint as grain_checkpoint
from jax.experimental import multihost_utils

from gm_jax import borders
from gm_jax.training import checkpoint_manager as manager
from gm_jax.training import checkpoint_reading as reading
from gm_jax.training import checkpoint_tree as trees
from gm_jax.training import workdir as workdirs

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of a run in `<workdir>/checkpoints`, one folder per step, in orbax's format.

    A folder has the items `state` (the train state), `checksums` of its arrays, `data` (the
    position in the data) and, if validation was scored, `metrics`. The latest two and the one with
    the lowest validation bits/dim are kept. In a run of several processes, all of them call every
    method in the same order.
    """

    def __init__(self, workdir: epath.PathLike, *, read_only: bool = False):
        """Opens the checkpoints of a run.

        Args:
          workdir: the run's directory.
          read_only: for evaluating or sampling a run that may be live: it makes, moves and deletes
            nothing, and refuses `save`. Otherwise the caller holds the directory (`workdir.hold`),
            and the remains of a killed save are removed.
        """
        self._workdir = workdirs.absolute(workdir)
        self._read_only = read_only
        self._manager = manager.open_manager(self._workdir / "checkpoints", read_only)

    def save(
        self,
        step: int,
        state: Any,
        data_iterator: Any | None = None,
        validation: float | None = None,
    ) -> None:
        """Saves a state; returns once it is copied, and writes it in the background.

        A step that is already saved stays unchanged (a run restored there has the same state),
        except that a missing validation score is added.

        Args:
          step: the state's step, not below the latest saved one.
          state: tree of arrays, which must be global in a run of several processes.
          data_iterator: the grain iterator whose position belongs to the state, or None.
          validation: bits/dim on the validation split, lower is better; with None, or a score that
            is not finite, the checkpoint cannot become the best.

        Raises:
          ValueError: the step is before the latest saved one, or this is `read_only`.
          OSError: it cannot be written. The next call raises errors from the background.
        """
        if self._read_only:
            raise ValueError(f"{self._workdir} is open for reading only: step {step} is not saved")
        step = int(step)
        metrics = None
        if validation is not None and math.isfinite(validation):
            metrics = {"validation": float(validation)}
        self.wait()
        latest = self.latest_step()
        if step in self._manager.all_steps():
            self._add_metrics(step, metrics)
            return
        if latest is not None and step < latest:
            raise ValueError(
                f"step {step} cannot be saved in {self._workdir}: its latest checkpoint is of step "
                f"{latest}; restore that one, or give another --workdir"
            )
        state = jax.tree.map(trees.as_array, state)
        items = {
            "state": ocp.args.StandardSave(state),
            "checksums": ocp.args.JsonSave(trees.checksums(state)),
        }
        if data_iterator is not None:
            items["data"] = grain_checkpoint.CheckpointSave(data_iterator)
        args = ocp.args.Composite(**items)
        with self._writing():
            if not self._manager.save(step, args=args, metrics=metrics, force=True):
                raise OSError(f"step {step} was not taken")

    def latest_step(self) -> int | None:
        """The latest saved step (which may still be being written), or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the lowest validation bits/dim, or None if none was scored."""
        return self._manager.best_step()

    def is_scored(self, step: int) -> bool:
        """Whether a saved step has its validation score."""
        return self._manager.metrics(step) is not None

    def restore(
        self,
        template: Any,
        data_iterator: Any | None = None,
        which: Literal["latest", "best"] = "latest",
    ) -> tuple[Any, int]:
        """Restores the latest or the best checkpoint, and skips damaged ones with a warning.

        Once an intact one is restored, the damaged ones are moved to
        `<workdir>/damaged_checkpoints/<step>-<n>`, so that their steps can be saved again.

        Args:
          template: the tree of the state, each leaf with shape, dtype and possibly a sharding
            (`jax.eval_shape`, or arrays). A leaf with a sharding is restored onto it, however it
            was saved; one without becomes an array on the default device, like a fresh one.
          data_iterator: grain iterator, moved to the saved position, or None.
          which: 'latest', or 'best' on validation (the latest if none was scored).

        Returns:
          The state, and its step.

        Raises:
          ValueError: there is no checkpoint; none can be restored; or the template's tree, shapes
            or dtypes differ from what was saved (`checkpoint_tree.MismatchError`).
          OSError: a checkpoint could not be read for a reason other than damage, after several
            attempts (`checkpoint_reading`).
        """
        if which not in ("latest", "best"):
            raise ValueError(f"which is {which!r}: choose 'latest' or 'best'")
        self.wait()
        damaged: dict[int, str] = {}
        while True:
            manager.patiently(self._manager.reload)  # a live run keeps replacing them
            step = self._choose(which, damaged)
            if step is None:
                self._refuse(damaged)
            state, position, error = self._try_to_read(step, template, data_iterator is not None)
            if error is None:
                break
            if self._read_only:
                time.sleep(0.5)  # a live run may be deleting it
                if not self._folder(step).exists():
                    continue
            damaged[step] = error
            _log.warning(
                "checkpoint %s cannot be read and is stepped over: %s", self._folder(step), error
            )
        if not self._read_only:
            self._move_aside(damaged)
        state = trees.placed(template, state)
        if data_iterator is not None:
            with borders.reading(f"{self._folder(step) / 'data'}", "move this checkpoint away"):
                data_iterator.set_state(position)
        return state, step

    def wait(self) -> None:
        """Returns once everything is written; raises errors from the background."""
        with self._writing():
            self._manager.wait_until_finished()

    def verify(self, step: int, state: Any, data_iterator: Any | None = None) -> None:
        """Waits for a step to be saved, reads it back and compares it with the original.

        Some file systems take what they do not give back, and some names of folders (those with a
        backslash or with brackets) lead the storage elsewhere when it reads: then every save
        succeeds, and no restore.

        Args:
          step: which was saved.
          state: as it was given to `save`.
          data_iterator: the same.

        Raises:
          ValueError: it cannot be read, or is not what was saved.
        """
        self.wait()
        # On the host, so that the devices need no room for a second state.
        template = jax.tree.map(lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), state)
        found, position, error = self._try_to_read(step, template, data_iterator is not None)
        if error is None:
            error = trees.first_difference(state, found)
            if data_iterator is not None and position != data_iterator.get_state():
                error = f"the position in the data is {position}"
        if error is not None:
            raise ValueError(
                f"{self._workdir}: its storage does not give back what was saved there ({error}). "
                "Give a --workdir on another file system, or one whose path is of letters, digits, "
                "dots, hyphens and underscores"
            )

    def close(self) -> None:
        """Waits and releases the directory."""
        with self._writing():
            self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Whatever goes wrong in orbax while it writes is an error of the storage."""
        try:
            yield
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            raise OSError(
                f"{self._workdir}: a checkpoint cannot be written ({borders.described(error)}). "
                "What was saved before is good: once there is room and access, the same command "
                "goes on"
            ) from error

    def _folder(self, step: int) -> epath.Path:
        return self._manager.directory / str(step)

    def _choose(self, which: str, damaged: dict[int, str]) -> int | None:
        """The step to try next; the first process decides for all."""
        steps = sorted((s for s in self._manager.all_steps() if s not in damaged), reverse=True)
        if which == "best":
            scores = {step: self._manager.metrics(step) for step in steps}
            steps.sort(key=lambda s: manager.validation(scores[s]) if scores[s] else math.inf)
        chosen = steps[0] if steps else -1
        if jax.process_count() > 1:
            chosen = int(multihost_utils.broadcast_one_to_all(np.int32(chosen)))
        return None if chosen < 0 else chosen

    def _try_to_read(
        self, step: int, template: Any, with_data: bool
    ) -> tuple[Any, dict | None, str | None]:
        """(state, position in the data, None), or (None, None, what is wrong) if damaged."""

        def read_description() -> dict | None:
            saved = self._manager.item_metadata(step)["state"]
            if saved is None:
                raise FileNotFoundError("the item 'state' is missing")
            trees.check_same(self._folder(step), saved, template)
            return self._position(step) if with_data else None

        def read_state() -> Any:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(trees.targets(template)))
            state = self._manager.restore(step, args=args)["state"]
            sums = self._folder(step) / "checksums" / "metadata"
            if sums.exists():  # versions before this one wrote none
                trees.check_sums(json.loads(sums.read_text()), state)
            return state

        what = f"checkpoint {self._folder(step)}"
        # Individual reads come first: restoring is collective, and a process alone in it hangs.
        position, error = reading.read(what, read_description)
        if error is not None:
            return None, None, error
        state, error = reading.read(what, read_state)
        if error is not None:
            return None, None, error
        return state, position, None

    def _position(self, step: int) -> dict[str, Any]:
        """The position in the data, in global batches and so the same for every process."""
        folder = self._folder(step) / "data"
        own = folder / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
        # Another number of processes saved it; the first one's position is valid for all.
        path = own if own.exists() else next(iter(sorted(folder.glob("process_0-of-*.json"))), own)
        return json.loads(path.read_text())

    def _refuse(self, damaged: dict[int, str]) -> NoReturn:
        if damaged:
            raise ValueError(
                f"none of the checkpoints in {self._manager.directory} can be restored (steps "
                f"{', '.join(map(str, damaged))}; the first: {next(iter(damaged.values()))}). "
                "Repair or move them, or give another --workdir to start afresh"
            )
        raise ValueError(
            f"no checkpoint in {self._manager.directory}: train first, or check --workdir"
        )

    def _move_aside(self, damaged: dict[int, str]) -> None:
        for step, error in damaged.items():
            if jax.process_index() == 0:
                aside = self._workdir / "damaged_checkpoints"
                aside.mkdir(parents=True, exist_ok=True)
                number = 1
                while (aside / f"{step}-{number}").exists():
                    number += 1
                # This also works in a bucket, where a folder exists only once it has a file.
                (aside / f"{step}-{number}.txt").write_text(f"{error}\n")
                self._folder(step).rename(aside / f"{step}-{number}")
                _log.warning("checkpoint %d is moved to %s", step, aside / f"{step}-{number}")
        if damaged:
            meet("damaged checkpoints moved aside")
            self._manager.reload()

    def _add_metrics(self, step: int, metrics: dict[str, float] | None) -> None:
        """Scores a saved step, in the file where orbax looks for it; keeps an older score."""
        if metrics is None or self._manager.metrics(step) is not None:
            return
        if jax.process_index() == 0:
            folder = self._folder(step) / "metrics"
            folder.mkdir(exist_ok=True)
            workdirs.write_atomically(folder / "metrics", workdirs.dumps(metrics))
        meet("metrics added")
        self._manager.reload()


def meet(name: str) -> None:
    """Waits until all processes of the run are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
