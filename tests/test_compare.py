"""Runs side by side: what was measured, what it depends on, what was published."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import compare
from experiments.side_by_side import newest_grid, overlay_curves, read_curves
from gm_jax.evaluation.records import FILE_NAME, Records
from gm_jax.evaluation.scatter import COLOURS
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
    assert lines[0] == "| model | bpd | kind | fd_c | prd |"
    first, second = runs
    assert lines[2] == f"| {first} | 3.25 ± 0.04 | exact | 40* | 0.5 |"
    assert lines[3] == f"| {second} | 2.5 | – | – | – |"
    assert "| AV-ADE (published: AdE) | 3.9 | – | – | – |" in lines
    depends = "samples.model.step 5, samples.num_images 100, seed 0"
    assert f"- {first}; bpd, fd_c, prd: {depends}" in lines
    assert f"- \\* {first}; fd_c: n = 100 images" in lines
    table = list(csv.DictReader(io.StringIO((tmp_path / "table" / "comparison.csv").read_text())))
    assert table[0]["bpd"] == "3.25 ± 0.04" and table[0]["published"] == ""
    assert {row["published"] for row in table if row["model"] == "VAE"} == {"AdE"}
    with Image.open(tmp_path / "table" / "comparison.png") as picture:
        assert picture.size == (20, 9 + 16) and picture.getpixel((5, 20)) == (7, 7, 7)


def test_runs_that_were_not_judged_alike_are_told_apart(runs, tmp_path):
    note = "- bpd: the runs were not judged alike; see what each depends on (seed)"
    rows = [compare.read_run(run, ["bpd"]) for run in runs]
    assert note not in compare.markdown(rows, ["bpd"])
    Records(tmp_path / "second").add(result("bpd", seed=1, bpd=9.0))
    rows = [compare.read_run(run, ["bpd"]) for run in runs]
    assert note in compare.markdown(rows, ["bpd"])


def finished(folder, metrics=(), **test):
    """A run as training leaves it: config, test scores, metrics and a grid."""
    folder.mkdir(parents=True)
    score = {"source": "digits", "split": "test", "num_images": 180, "step": 3, "bits_per_dim": 2.0}
    score |= {"standard_error": 0.1, "likelihood": "exact", **test}
    (folder / "test.json").write_text(json.dumps(score))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    save_png(folder / "samples" / "best_step_3.png", np.full((9, 20, 1), 7, np.uint8))
    return str(folder)


def test_end_of_training_and_evaluation_are_judged_alike_unless_a_setting_differs(tmp_path):
    test = {"source": "digits", "split": "test", "num_images": 180, "sha256": "ab"}
    evaluated = {"model": {"method": "m", "step": 9, "sha256": "cd"}, "test": test}
    Records(tmp_path / "b").add({"metric": "bpd", "identity": evaluated, "values": {"bpd": 1.0}})
    for number, (split, alike) in enumerate((("test", True), ("test[:50%]", False))):
        rows = [finished(tmp_path / f"a{number}", split=split), str(tmp_path / "b")]
        rows = [compare.read_run(run, ["bpd"]) for run in rows]
        assert (compare.not_alike(rows, "bpd") == []) == alike
        assert ("not judged alike" in compare.markdown(rows, ["bpd"])) != alike
    assert compare.not_alike(rows, "bpd") == ["test.split"]


def test_points_in_nats_and_images_in_bits_are_in_one_table_each_with_its_kind(tmp_path):
    points = finished(tmp_path / "points", nats=-1.5, likelihood="exact")
    score = json.loads((tmp_path / "points" / "test.json").read_text())
    del score["bits_per_dim"]
    (tmp_path / "points" / "test.json").write_text(json.dumps(score))
    added = finished(tmp_path / "added", likelihood="[lower bound, one sample]")
    compare.main([points, added, f"--output={tmp_path / 'table'}"])
    lines = (tmp_path / "table" / "comparison.md").read_text().splitlines()
    assert lines[0] == "| model | bpd | nats | kind |"
    assert lines[2] == f"| {points} | – | -1.5 ± 0.1 | exact |"
    assert lines[3] == f"| {added} | [2 ± 0.1] | – | lower bound, one sample |"
    compare.main([points, "--metrics=nats", f"--output={tmp_path / 'one'}"])
    assert (tmp_path / "one" / "comparison.md").read_text().startswith("| model | nats |\n")


def test_two_folders_of_one_name_are_two_rows_and_two_grids(tmp_path):
    runs = [finished(tmp_path / name / "seed0") for name in ("one", "two")]
    compare.main([*runs, f"--output={tmp_path / 'table'}"])
    lines = (tmp_path / "table" / "comparison.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == [f"| {run}" for run in runs]
    with Image.open(tmp_path / "table" / "comparison.png") as picture:
        assert picture.size == (20, 2 * (9 + 16))
    with pytest.raises(SystemExit):
        compare.main([runs[0], runs[0] + "/"])


def test_a_field_that_came_later_is_no_difference(tmp_path):
    runs = [finished(tmp_path / name) for name in ("old", "new")]
    old = {"seed": 0, "train": {"steps": 1}}
    new = {"seed": 1, "train": {"steps": 1, "accumulate_steps": 1, "rematerialize": False}}
    for run, config in zip(runs, (old, new), strict=True):
        (Path(run) / "config.json").write_text(json.dumps(config))
    rows = compare.differences(runs).splitlines()[3:]
    assert rows == ["| seed | 0 | 1 |"]


def test_the_fields_in_which_configs_differ_are_listed(tmp_path):
    configs = (
        {"seed": 0, "data": {"source": "pair:a|b"}, "model": {"widths": [1, 2], "old": 1}},
        {"seed": 0, "data": {"source": "digits"}, "model": {"widths": [1, 3]}},
    )
    runs = [finished(tmp_path / str(number)) for number in range(3)]
    for run, config in zip(runs, configs, strict=False):
        (Path(run) / "config.json").write_text(json.dumps(config))
    lines = compare.differences(runs).splitlines()
    assert lines[1] == f"| the configs differ in | {runs[0]} | {runs[1]} |"
    assert lines[3:] == [
        '| data.source | "pair:a\\|b" | "digits" |',
        "| model.widths | [1, 2] | [1, 3] |",
        "| model.old | 1 | (absent) |",
    ]
    assert compare.differences([runs[0], runs[2]]) == ""
    (Path(runs[2]) / "config.json").write_text(json.dumps(configs[0]))
    assert "are equal" in compare.differences([runs[0], runs[2]])


def test_nothing_is_written_over_without_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = [finished(tmp_path / name) for name in ("a", "b")]
    compare.main(runs[:1])
    first = {path.name: path.read_bytes() for path in (tmp_path / "runs/comparison").iterdir()}
    compare.main(runs)
    compare.main(runs)
    again = {path.name: path.read_bytes() for path in (tmp_path / "runs/comparison").iterdir()}
    assert again == first and "in runs/comparison-3: comparison.md" in capsys.readouterr().err
    assert (tmp_path / "runs/comparison-2/comparison.md").exists()


def test_curves_of_several_runs_are_in_one_picture(tmp_path):
    def metrics(shift):
        lines = [{"step": s, "loss": s + shift, "images_per_second": 9} for s in (1, 2, 3)]
        return [*lines, {"step": 3, "validation/nats": shift}, {"step": 4, "loss": None}]

    runs = [finished(tmp_path / str(shift), metrics(shift)) for shift in (0, 5)]
    curves = {run: read_curves(run) for run in runs}
    assert curves[runs[1]] == {"loss": [(1, 6), (2, 7), (3, 8)], "validation/nats": [(3, 5)]}
    compare.main([*runs, f"--output={tmp_path / 'table'}"])
    picture = np.asarray(Image.open(tmp_path / "table" / "curves.png"))
    legend = 3 * 16
    assert picture.shape == (legend + 2 * 240, 640, 3)
    for colour in COLOURS[1:3]:
        rows = np.flatnonzero((picture == colour).all(-1).any(1))
        assert all(((low <= rows) & (rows < low + 240)).any() for low in (legend, legend + 240))
    assert overlay_curves({"none": {}}) is None


def test_the_grid_is_of_the_model_itself_where_there_is_one(tmp_path):
    run = finished(tmp_path / "run")
    for name in ("best_step_3_temperature_0.5.png", "step_4.png"):
        save_png(tmp_path / "run" / "samples" / name, np.zeros((9, 20, 1), np.uint8))
    assert newest_grid(run).name == "best_step_3.png"
    recalibrated = tmp_path / "run" / "samples" / "best_step_3_64_batches.png"
    save_png(recalibrated, np.zeros((9, 20, 1), np.uint8))
    assert newest_grid(run) == recalibrated


def test_what_is_not_finite_is_said(tmp_path):
    run = finished(tmp_path / "run", bits_per_dim=None, standard_error=None)
    assert compare.read_run(run, []).cells == {"bpd": "not finite", "kind": "exact"}


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
    assert lines[2] == f"| {runs[0]} | 0.75 | 3.25 ± 0.04 |"


def test_published_tables_are_those_of_the_reference():
    rows = {row.name: row for row in compare.published_rows("cifar10")}
    assert rows["AV-ADE"].cells == {"bpd": "3.9", "is": "7.1", "fid": "28.0"}
    assert rows["M-BGAN"].source == "thesis ch. 4"


def test_what_cannot_be_compared_is_refused(runs, tmp_path, capsys):
    for arguments, expected in (
        ([str(tmp_path)], "holds no results: call experiments/main.py --workdir="),
        ([*runs, "--metrics=fid"], "no run has fid; measured are"),
        ([*runs, "--metrics=step_ms"], "are bpd, fd_c, prd, kind; --costs measures"),
        ([*runs, "--published=mnist"], "no published table 'mnist'; choose among cifar10"),
    ):
        with pytest.raises(SystemExit) as end:
            compare.main([*arguments, f"--output={tmp_path}"])
        assert end.value.code == 2 and expected in capsys.readouterr().err


@pytest.mark.parametrize("name", ["test.json", "config.json", "samples/best_step_3.png"])
def test_a_damaged_file_of_a_run_is_a_line_and_nothing_is_written(tmp_path, capsys, name):
    run = finished(tmp_path / "run")
    for damage in ("", '{"bits_per_dim": 2.0}', "{"):
        if name == "config.json" and damage.endswith("}"):
            continue  # a config
        (tmp_path / "run" / name).write_text(damage)
        with pytest.raises(SystemExit) as end:
            compare.main([run, f"--output={tmp_path / 'comparison'}"])
        (line,) = capsys.readouterr().err.splitlines()
        assert end.value.code == 2 and line.startswith("error: ") and name in line
    assert not (tmp_path / "comparison").exists()


def test_an_output_that_cannot_be_written_is_a_line(tmp_path, capsys):
    run = finished(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        compare.main([run, f"--output={tmp_path / 'file' / 'comparison'}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and "comparison: Not a directory" in line


def test_results_survive_and_damage_is_named(tmp_path):
    records = Records(tmp_path)
    added = records.add(result("prd", prd=0.5), {"precision": np.arange(3)})
    assert Records(tmp_path).find("prd", added["identity"]) == added
    np.testing.assert_array_equal(np.load(tmp_path / added["arrays"])["precision"], [0, 1, 2])
    (tmp_path / FILE_NAME).write_text('{"results": [')
    with pytest.raises(ValueError, match=r"evaluation.json is damaged .* evaluate again"):
        Records(tmp_path)


def test_the_page_shows_the_table_the_curves_and_the_pictures(runs, tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    for run in runs:
        (Path(run) / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        (Path(run) / "config.json").write_text(json.dumps({"seed": run[-5:]}))
    compare.main([*runs, f"--output={tmp_path / 'table'}"])
    text = (tmp_path / "table" / "comparison.html").read_text()
    assert f"<td>{runs[0]}</td><td>3.25 ± 0.04</td><td>exact</td><td>40*</td>" in text
    assert text.count("<polyline") == 2 and text.count("data:image/png;base64,") == 1
    assert "<td>seed</td><td>&quot;first&quot;</td><td>&quot;econd&quot;</td>" in text
    assert "http" not in text and "<script" not in text
