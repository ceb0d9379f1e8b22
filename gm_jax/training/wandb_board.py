"""Weights & Biases as a display of a run's curves and pictures beside TensorBoard."""

import importlib.util
import os
from typing import Any

import numpy as np
from etils import epath

from gm_jax.training import workdir as workdirs

_ID = "wandb_id.txt"


def check_library(project: str) -> None:
    """Refuses a project without the library, before anything is computed.

    Raises:
      ValueError: it is missing.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            f"train.wandb_project is '{project}', but wandb is missing: pip install -e '.[wandb]'"
        )


class WandbBoard:
    """A run of W&B, which goes on when the training goes on.

    `WANDB_MODE=offline` keeps everything in the work directory, for `wandb sync`. W&B takes no
    step twice: what a resumed training logs again of old steps is not shown.
    """

    def __init__(self, folder: epath.Path, project: str):
        """Opens the run.

        Args:
          folder: the work directory; its `config.json` is the run's config.
          project: the project's name.

        Raises:
          OSError: W&B cannot be reached, or no one is logged in.
        """
        import wandb

        self._wandb = wandb
        known = folder / _ID
        config = folder / "config.json"
        local = None if workdirs.is_remote(folder) else os.fspath(folder)
        try:
            self._run = wandb.init(
                project=project,
                name=folder.name,
                dir=local,
                id=known.read_text().strip() if known.exists() else None,
                resume="allow",
                config=workdirs.read_json(config) if config.exists() else None,
                settings=wandb.Settings(silent=True),
            )
        except (wandb.Error, ValueError) as error:
            raise OSError(f"Weights & Biases: {error}") from error
        known.write_text(f"{self._run.id}\n")

    def scalar(self, name: str, value: float, step: int) -> None:
        """Shows a number for a step."""
        self._log(name, value, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows an image for a step, uint8 [H, W, C]."""
        self._log(name, self._wandb.Image(image), step)

    def close(self) -> None:
        """Sends what remains."""
        try:
            self._run.finish()
        except self._wandb.Error as error:
            raise OSError(f"Weights & Biases: {error}") from error

    def _log(self, name: str, value: Any, step: int) -> None:
        try:
            self._run.log({name: value}, step=step)
        except self._wandb.Error as error:
            raise OSError(f"Weights & Biases: {error}") from error
