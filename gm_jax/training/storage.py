"""Checks that a work directory can hold a run, before anything is computed for it."""

import jax
import numpy as np
from etils import epath

from gm_jax.borders import described
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints, meet


def probe(workdir: epath.PathLike) -> None:
    """Saves and reads back a few numbers in a work directory, before anything is computed for it.

    Raises:
      ValueError: the storage cannot serve it.
    """
    folder = workdirs.absolute(workdir) / ".probe"
    numbers = {"numbers": np.arange(8, dtype=np.float32)}
    try:
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(0, numbers)
            checkpoints.verify(0, numbers)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"--workdir={workdir} cannot hold checkpoints: a small one, for a try, failed "
            f"({described(error)})"
        ) from error
    finally:
        meet("storage probed")
        if jax.process_index() == 0 and folder.exists():
            folder.rmtree()
