"""Trains, evaluates or samples the model that a config describes; the README shows how."""

from absl import app, flags, logging
from ml_collections import config_flags

from gm_jax import command_line

MODES = ("train", "evaluate", "sample", "reconstruct")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, FILE.py[:VARIANT].")
_WORKDIR = flags.DEFINE_string("workdir", None, "Work directory; runs/<config>-<variant> if empty.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, if several run.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this one is.")


def main(_: list[str]) -> None:
    """Hands the flags to the run."""
    from gm_jax import session
    from gm_jax.training import parallel  # after the flags: importing JAX takes seconds

    logging.set_verbosity(logging.WARNING)
    config = _CONFIG.value
    config_file = flags.FLAGS["config"].config_filename
    with parallel.ending_together():
        with command_line.refusals():
            parallel.initialize(
                _COORDINATOR.value,
                _NUM_PROCESSES.value,
                _PROCESS_ID.value,
                deterministic=config.train.deterministic,
            )
        workdir = _WORKDIR.value or command_line.default_workdir(config_file, config)
        session.run(config, workdir, _MODE.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    command_line.run(main)
