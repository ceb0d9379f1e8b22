"""Eight virtual CPU devices and a persistent compilation cache for the whole suite."""

import os
from pathlib import Path

import jaxlib

# Tests run tiny models for a few steps: what they cost is compilation. The first flag halves it;
# the second halves it again, but only this jaxlib is known to have it. Without the third, LLVM
# compiles a program in up to 32 parts: a quarter more CPU time for tiny programs.
FLAGS = "--xla_backend_optimization_level=0"
if jaxlib.__version__.startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)

import jax
import pytest

jax.config.update("jax_platforms", "cpu")  # also where there is a GPU
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update(
    "jax_compilation_cache_dir",
    os.environ.get(
        "JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "gm_jax" / "compilation")
    ),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


# Folders and files that compile or train whole methods; every other test is marked `fast`.
SLOW = (
    *("methods", "experiments", "exporting", "reporting"),
    *("coding/test_codec.py", "coding/test_files.py"),
    *("configs/test_networks.py", "configs/test_sizes.py"),
    *("data/test_folder.py", "flows/test_residual.py", "flows/test_variational_dequantisation.py"),
    *("networks", "training", "test_cpu.py", "test_flow_run.py", "test_load.py", "test_sweep.py"),
    *("test_damaged_inputs.py", "test_notebook.py"),
    *("evaluation/test_battery.py", "evaluation/test_latent_information.py"),
    "evaluation/test_translation.py",
    *("evaluation/test_inception_v3.py", "evaluation/test_points.py"),
    *("evaluation/test_train_test_classifier.py", "evaluation/test_wasserstein_critic.py"),
    *("evaluation/test_precision_recall.py", "evaluation/test_likelihood.py"),
)


def group_of(nodeid):
    """The tests that one process runs, because they share what they compile: a file's.

    In the long battery of methods, a page is a group (the likelihood of a GAN needs the GAN).
    """
    path, _, test = nodeid.partition("::")
    if not path.endswith("/test_every_method.py"):
        return path
    return path + test.partition("[")[2].removesuffix("]").removesuffix("_likelihood")


@pytest.hookimpl(optionalhook=True)  # there is none without pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Of pytest-xdist 3.8, `--dist loadgroup` groups nothing under pytest 9.2, without a word."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items):
    """Marks tests outside SLOW as `fast`."""
    root = Path(__file__).parent
    slow = [root / path for path in SLOW]
    for item in items:
        if not any(item.path.is_relative_to(path) for path in slow):
            item.add_marker(pytest.mark.fast)


@pytest.fixture(scope="session")
def real_data():
    """Folder of real images (tests that use it are skipped if it is missing)."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("GM_JAX_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no image data at {folder}; set GM_JAX_TEST_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="module")
def toy():
    """Lets configs name the method of `tests/toy.py`."""
    from gm_jax import methods
    from tests.toy import Toy

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "toy", Toy)
        yield


@pytest.fixture(scope="module")
def toy_workdir(tmp_path_factory, toy):
    """Work directory of a trained toy, whose end drew samples and scored the test images."""
    from gm_jax import session
    from tests.toy import get_config

    folder = tmp_path_factory.mktemp("run")
    session.run(get_config(), str(folder), "train")
    return folder
