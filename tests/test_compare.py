"""Runs side by side: what was measured, what it depends on, what was published."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from experiments import compare
from gm_jax.evaluation.records import FILE_NAME, Records
from gm_jax.images import save_png


def result(metric, seed=0, warning=None, **values):
    identity = {"samples": {"model": {"step": 5}, "num_images": 100}, "seed": seed}
    extra = {"warning": warning} if warning else {}
    return {"metric": metric, "identity": identity, "values": values, **extra}


@pytest.fixture
def runs(tmp_path):
    """Two evaluated runs, one of them with a grid of samples."""
    first, second = Records(tmp_path / "first"), Records(tmp_path / "second")
    first.add(result("bpd", bpd=3.25, standard_error=0.04, likelihood="exact"))
    first.add(result("fd_c", fd_c=40.0, warning="n = 100 images"))
    first.add(result("prd", prd=0.5, f_8=0.75), {"precision": np.ones(3)})
    second.add(result("bpd", seed=1, bpd=9.0))
    second.add(result("bpd", bpd=2.5))
    save_png(tmp_path / "first" / "samples" / "step_1.png", np.zeros((9, 20, 3), np.uint8))
    save_png(tmp_path / "first" / "samples" / "best_step_1.png", np.full((9, 20, 1), 7, np.uint8))
    return [str(tmp_path / name) for name in ("first", "second")]


def test_the_latest_numbers_stand_side_by_side_in_three_files(runs, tmp_path, capsys):
    compare.main([*runs, "--published=cifar10", f"--output={tmp_path / 'table'}"])
    text = (tmp_path / "table" / "comparison.md").read_text()
    assert capsys.readouterr().out == text
    lines = text.splitlines()
    assert lines[0] == "| model | bpd | fd_c | prd |"
    assert lines[2] == "| first | 3.25 ± 0.04 | 40* | 0.5 |"
    assert lines[3] == "| second | 2.5 | – | – |"
    assert "| AV-ADE (published: AdE) | 3.9 | – | – |" in lines
    assert "- first; bpd, fd_c, prd: samples.model.step 5, samples.num_images 100, seed 0" in lines
    assert "- \\* first; fd_c: n = 100 images" in lines
    table = list(csv.DictReader(io.StringIO((tmp_path / "table" / "comparison.csv").read_text())))
    assert table[0]["bpd"] == "3.25 ± 0.04" and table[0]["published"] == ""
    assert {row["published"] for row in table if row["model"] == "VAE"} == {"AdE"}
    with Image.open(tmp_path / "table" / "comparison.png") as picture:
        assert picture.size == (20, 9 + 16) and picture.getpixel((5, 20)) == (7, 7, 7)


def test_runs_that_were_not_judged_alike_are_told_apart(runs, tmp_path):
    note = "- bpd: the runs were not judged alike; see what each depends on"
    rows = [compare.read_run(run, ["bpd"]) for run in runs]
    assert note not in compare.markdown(rows, ["bpd"])
    Records(tmp_path / "second").add(result("bpd", seed=1, bpd=9.0))
    rows = [compare.read_run(run, ["bpd"]) for run in runs]
    assert note in compare.markdown(rows, ["bpd"])


def test_images_given_beside_a_run_are_not_its_samples(runs, tmp_path):
    given = result("bpd", bpd=1.0)
    given["identity"]["samples"].pop("model")
    Records(tmp_path / "second").add(given)
    assert compare.read_run(runs[1], []).cells["bpd"] == "1"
    (tmp_path / "second" / "config.json").write_text("{}")
    assert compare.read_run(runs[1], []).cells["bpd"] == "2.5"


def test_columns_are_chosen_and_may_be_any_number_of_a_result(runs, tmp_path):
    compare.main([*runs, "--metrics=prd.f_8,bpd", f"--output={tmp_path}"])
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert lines[0] == "| model | prd.f_8 | bpd |"
    assert lines[2] == "| first | 0.75 | 3.25 ± 0.04 |"


def test_published_tables_are_those_of_the_reference():
    rows = {row.name: row for row in compare.published_rows("cifar10")}
    assert rows["AV-ADE"].cells == {"bpd": "3.9", "is": "7.1", "fid": "28.0"}
    assert rows["M-BGAN"].source == "thesis ch. 4"


def test_what_cannot_be_compared_is_refused(runs, tmp_path, capsys):
    for arguments, expected in (
        ([str(tmp_path)], "holds no results: call experiments/main.py --workdir="),
        ([*runs, "--metrics=fid"], "no run has fid; measured are"),
        ([*runs, "--published=mnist"], "no published table 'mnist'; choose among cifar10"),
    ):
        with pytest.raises(SystemExit) as end:
            compare.main([*arguments, f"--output={tmp_path}"])
        assert end.value.code == 2 and expected in capsys.readouterr().err


def test_results_survive_and_damage_is_named(tmp_path):
    records = Records(tmp_path)
    added = records.add(result("prd", prd=0.5), {"precision": np.arange(3)})
    assert Records(tmp_path).find("prd", added["identity"]) == added
    np.testing.assert_array_equal(np.load(tmp_path / added["arrays"])["precision"], [0, 1, 2])
    (tmp_path / FILE_NAME).write_text('{"results": [')
    with pytest.raises(ValueError, match=r"evaluation.json is damaged .* evaluate again"):
        Records(tmp_path)
