"""Trains, evaluates or samples the model that a config describes; see docs/command.md."""

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax import command_line
from gm_jax.training import workdir as workdirs

MODES = (
    *("train", "evaluate", "sample", "reconstruct", "interpolate", "translate"),
    *("compress", "decompress"),  # as in docs/coding.md
    *("export", "report"),
)
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, FILE.py[:VARIANT].")
_WORKDIR = flags.DEFINE_string("workdir", None, "Work directory; runs/<config>-<variant> if empty.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, if several run.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this one is.")
_PRINT_CONFIG = flags.DEFINE_bool("print_config", False, "Print the whole config as JSON; no run.")
_TEMPERATURE = flags.DEFINE_float("temperature", None, "Of samples; the config's if not given.")
_OUTPUT = flags.DEFINE_string("output", None, "Where modes but train write, if not to workdir.")
_DIRECTION = flags.DEFINE_enum("direction", None, ("a_to_b", "b_to_a"), "Of --mode=translate.")
_INPUT = flags.DEFINE_string("input", None, "What it translates or compresses, or a .gmz file.")
_BATTERY = (  # of --mode=evaluate; the defaults are those of gm_jax.evaluation.request.Request
    flags.DEFINE_list(
        "metrics",
        None,
        "auto; bpd,iwae,is,fid,fid_infinity,kid,prd,precision,density,neighbours,diversity,"
        "perplexity,critic,gan_train_test.",
    ),
    flags.DEFINE_integer("num_samples", None, "How many samples to judge."),
    flags.DEFINE_string("samples", None, "folder:PATH or npz:PATH, to judge instead of a run."),
    flags.DEFINE_string("features", None, "inception, classifier:WORKDIR, pixels, exported:FILE."),
    flags.DEFINE_string("features_weights", None, "File of Inception's weights."),
    flags.DEFINE_string("resize", None, "Before Inception: tf1 (as in papers) or clean."),
    flags.DEFINE_string("reference", None, "Source of the real images, if not the config's."),
    flags.DEFINE_string("reference_split", None, "Its split, if not the config's test split."),
    flags.DEFINE_string("reference_statistics", None, "File that fid reads, or writes if missing."),
    flags.DEFINE_integer("num_importance_samples", None, "k of iwae (150), or of metrics=auto."),
    flags.DEFINE_integer("training_steps", None, "Of the networks of critic, gan_train_test."),
    flags.DEFINE_integer("seed", None, "Of samples, subsets and metrics; not of the run."),
)


def main(_: list[str]) -> None:
    """Hands the flags to the run."""
    config = _CONFIG.value
    if _PRINT_CONFIG.value:
        print(workdirs.to_json(config), end="")
        return
    from gm_jax import cpu, session  # after the flags: importing JAX takes seconds
    from gm_jax.training import parallel

    command_line.set_verbosity()
    config_file = flags.FLAGS["config"].config_filename
    with session.ending_together():
        with command_line.refusals():
            parallel.initialize(
                _COORDINATOR.value,
                _NUM_PROCESSES.value,
                _PROCESS_ID.value,
                deterministic=config.train.deterministic,
            )
        cpu.keep_buffers()
        workdir = _WORKDIR.value or command_line.default_workdir(config_file, config)
        battery = {flag.name: flag.value for flag in _BATTERY if flag.value is not None}
        session.run(
            config,
            workdir,
            _MODE.value,
            battery,
            _TEMPERATURE.value,
            _OUTPUT.value,
            _DIRECTION.value,
            _INPUT.value,
            command_line.config_arguments(),
        )


if __name__ == "__main__":
    command_line.run(main)
