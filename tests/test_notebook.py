"""The notebook runs from its first cell to its last, and shows what its run's files say."""

import json
from pathlib import Path

import jax
import pytest

MISSING = "pip install -e '.[test]' brings it"
nbformat = pytest.importorskip("nbformat", reason=MISSING)
nbclient = pytest.importorskip("nbclient", reason=MISSING)
DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """{cell: outputs} and the work directory of the notebook, with its smallest model."""
    workdir = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["parameters"].source = f"variant, workdir = 'gaussian,smoke', {str(workdir)!r}"
    with pytest.MonkeyPatch.context() as environment:  # of the kernel, which is another process
        environment.setenv("JAX_PLATFORMS", "cpu")
        environment.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
        environment.setenv("PYTHONPATH", str(DOCS.parent))
        where = {"metadata": {"path": DOCS}}
        nbclient.NotebookClient(notebook, timeout=300, resources=where).execute()
    return {name: cell.get("outputs", []) for name, cell in cells.items()}, workdir


def pictured(outputs):
    """The cells that display a picture."""
    return {
        name
        for name, cell in outputs.items()
        if any("image/png" in output.get("data", {}) for output in cell)
    }


def test_every_picture_is_displayed(executed):
    assert pictured(executed[0]) == {"sample", "reconstruct", "interpolate"}


def test_the_bits_are_those_of_the_run(executed):
    outputs, workdir = executed
    bits = json.loads((workdir / "test.json").read_text())["bits_per_dim"]
    assert f"≤ {bits:.4f} " in "".join(output.text for output in outputs["bits"])


def test_the_stored_notebook_has_the_outputs_of_its_run():
    stored = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    assert pictured({cell.id: cell.get("outputs", []) for cell in stored.cells}) == {
        *("sample", "reconstruct", "interpolate")
    }
