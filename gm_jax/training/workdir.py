"""The work directory of a run: who holds it, and which config it belongs to."""

import contextlib
import fcntl
import importlib.util
import json
import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from ml_collections import config_dict

from gm_jax.borders import described, reading, writing

# These fields do not change what a training step computes: how long to train, what to log, evaluate
# and sample, and the location of the image cache. A run's other fields can never change.
CHANGEABLE_FIELDS = (
    "train.steps",
    "train.log_every_steps",
    "train.evaluate_every_steps",
    "train.checkpoint_every_steps",
    "train.accumulate_steps",  # these two change rounding alone
    "train.rematerialize",
    "train.profile_steps",
    "train.wandb_project",
    "data.cache_dir",
)
CHANGEABLE_SECTIONS = ("evaluate.", "sample.")
# Fields that every page has got since the first runs, with the values by which those ran.
FIELDS_SINCE = {
    "optimizer.linear_decay_steps": 0,
    "optimizer.linear_decay_start": 0,
    "optimizer.warmup_steps": 0,
    "optimizer.cosine_decay_steps": 0,
    "train.accumulate_steps": 1,
    "train.profile_steps": 0,
    "train.rematerialize": False,
    "train.wandb_project": "",
    "model.ema_decay": 0.0,
}
# {kind of bucket: the library that reaches it (or TensorFlow), and how to install it}
CLIENTS = {
    "gs": ("gcsfs", "pip install -e '.[gcs]'"),
    "s3": ("s3fs", "pip install s3fs"),
}

_log = logging.getLogger(__name__)
_warned_of: set[str] = set()


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is in a bucket (gs://..., s3://...) rather than in a file system."""
    return "://" in os.fspath(path)


def check_client(workdir: epath.PathLike) -> None:
    """Refuses a bucket whose client library is missing, before anything is computed.

    Raises:
      ValueError: it is missing, or no library reaches such a path.
    """
    scheme, is_bucket, _ = os.fspath(workdir).partition("://")
    if not is_bucket:
        return
    if scheme not in CLIENTS:
        raise ValueError(f"--workdir={workdir}: give a folder, or gs://… or s3://…")
    library, install = CLIENTS[scheme]
    if importlib.util.find_spec(library) is None and importlib.util.find_spec("tensorflow") is None:
        raise ValueError(f"--workdir={workdir} needs {library}, which is missing: {install}")


def absolute(workdir: epath.PathLike) -> epath.Path:
    """The absolute path of a work directory, which orbax requires."""
    path = epath.Path(workdir)
    return path if is_remote(path) else epath.Path(os.path.abspath(path.expanduser()))


def write_atomically(path: epath.Path, text: str) -> None:
    """Writes a text file so that at any time it is completely the old or the new one."""
    with _partial(path) as partial:
        partial.write_text(text)


def write_bytes(path: epath.Path, content: bytes) -> None:
    """Writes a file so that at any time it is completely the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path) as partial:
        partial.write_bytes(content)


def write_npz(path: epath.Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file so that at any time it is completely the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


@contextlib.contextmanager
def _partial(path: epath.Path) -> Iterator[epath.Path]:
    """A name to write to, which takes that of `path` at the end, or is removed with an error."""
    if is_remote(path):  # a bucket's objects appear at once
        yield path
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            yield partial
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_writable(folder: epath.PathLike) -> None:
    """Refuses a folder, made if it is missing, that cannot be written, before it is needed."""
    path = absolute(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / ".try", "")
        (path / ".try").unlink()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({described(error)}); --output=DIR writes elsewhere"
        ) from error


@contextlib.contextmanager
def hold(workdir: epath.PathLike) -> Iterator[None]:
    """Holds a work directory, so that no second training writes into it.

    The lock is the operating system's (flock on `<workdir>/.lock`) and ends with the process,
    however that ends. In a run of several processes, the first one holds it. Buckets have no locks,
    so there it only warns, once.

    Args:
      workdir: the work directory, created if it is missing.

    Raises:
      ValueError: a live process holds it; the message names the process.
    """
    folder = absolute(workdir)
    if is_remote(folder):
        if str(folder) not in _warned_of:
            _warned_of.add(str(folder))
            _log.warning("%s cannot be locked: start no second training there", folder)
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Never unlinked, or a second process could hold the old file while a third locks a new one.
    with open(folder / ".lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise ValueError(
                f"work directory {folder} is held by a live run ({holder}): wait for it, stop it "
                "(kill -TERM lets it save first), or give another --workdir"
            ) from None
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def check_config(
    workdir: epath.PathLike, config: config_dict.ConfigDict, *, read_only: bool = False
) -> None:
    """Saves a run's config at its first start, and compares with it at every later start.

    In a run of several processes, the first one calls it. Configs are compared as JSON, so a tuple
    equals a list.

    Args:
      workdir: the work directory, created if it is missing; its `config.json` is the saved config.
      config: the current config.
      read_only: only compares (to evaluate or sample a run that may be live) and writes nothing.

    Raises:
      ValueError: a field differs that must not (all but `CHANGEABLE_FIELDS` and
        `CHANGEABLE_SECTIONS`); or `read_only` and there is no run.
    """
    path = absolute(workdir) / "config.json"
    given = to_json(config)
    if not path.exists():
        if read_only:
            raise ValueError(
                f"no run in {path.parent} (there is no config.json): train first with "
                "--mode=train, or give the run's --workdir"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, given)
        return
    found = differences(saved_config(path), with_fields_since(json.loads(given)))
    refused = [text for name, text in found.items() if not _may_change(name)]
    if refused:
        raise ValueError(
            f"{path.parent} holds a run of another config: {'; '.join(refused)} (saved -> given). "
            "Restore these values to go on with it, or give another --workdir"
        )
    if found and not read_only:
        write_atomically(path, given)


def read_config(workdir: epath.PathLike) -> config_dict.ConfigDict:
    """The config with which a run was last started, locked; sequences are tuples, as in configs.

    Raises:
      ValueError: there is no run, or its `config.json` is damaged.
    """
    path = absolute(workdir) / "config.json"
    if not path.exists():
        raise ValueError(f"no run in {path.parent} (there is no config.json): train one there")
    saved = saved_config(path)
    with reading(f"{path} is damaged and", "restore it"):
        return config_dict.ConfigDict(with_tuples(saved)).lock()


def saved_config(path: epath.Path) -> dict[str, Any]:
    """A saved config, with the fields that pages have had since it was written."""
    return with_fields_since(read_json(path))


def with_fields_since(saved: dict[str, Any]) -> dict[str, Any]:
    """A config as JSON, with those of FIELDS_SINCE that its sections lack."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in FIELDS_SINCE.items():
        section, field = name.split(".")
        sections.setdefault(section, {})[field] = value
    added = {
        section: {**fields, **saved[section]}
        for section, fields in sections.items()
        if isinstance(saved.get(section), dict)
    }
    return {**saved, **added}


def to_json(config: config_dict.ConfigDict) -> str:
    """Converts a config to indented JSON; tuples become lists.

    Raises:
      TypeError: a field's value is not a number, string, bool, None, tuple, list or dict.
    """
    return dumps(config.to_dict(), indent=2) + "\n"


def dumps(tree: Any, **options: Any) -> str:
    """`json.dumps`, with null for a number that is not finite, which JSON cannot express."""

    def finite(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: finite(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [*map(finite, value)]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(tree), allow_nan=False, **options)


def read_json(path: epath.Path) -> dict[str, Any]:
    """Reads a JSON file of a work directory; ValueError if it is damaged, or not a JSON object."""
    advice = f"restore it, or move it away if you know that the {path.stem} is still the run's"
    with reading(f"{path} is damaged and", advice):
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
    return found


def with_tuples(tree: Any) -> Any:
    """Converts the lists in JSON back to the tuples that they were."""
    if isinstance(tree, dict):
        return {name: with_tuples(value) for name, value in tree.items()}
    return tuple(map(with_tuples, tree)) if isinstance(tree, list) else tree


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'train': {'steps': 3}} -> {'train.steps': 3}; an empty section stays as a leaf."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def differences(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, str]:
    """{name: 'name: saved value -> given value'} for the fields that differ between JSON trees."""
    saved, given = _flatten(saved), _flatten(json.loads(json.dumps(given)))

    def text(fields: dict[str, Any], name: str) -> str:
        return json.dumps(fields[name]) if name in fields else "(absent)"

    names = sorted(saved.keys() | given.keys())
    pairs = {name: (text(saved, name), text(given, name)) for name in names}
    return {name: f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new}


def _may_change(name: str) -> bool:
    return name in CHANGEABLE_FIELDS or name.startswith(CHANGEABLE_SECTIONS)
