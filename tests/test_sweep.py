"""Runs over a grid: their names, that each is trained once, and their table."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import agave, classifier
from gm_jax import session, sweep

AGAVE = agave.get_config("smoke")
GRIDS, SEEDS = {"train.steps": [1, 2]}, [0, 1, 2]


@pytest.fixture(scope="module")
def members():
    """A classifier, which compiles fastest; steps and seeds are no part of a compiled program."""
    return sweep.product(classifier.get_config("smoke"), GRIDS, SEEDS)


@pytest.fixture(scope="module")
def folder(members, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    for name, member in members.items():
        sweep.train(member.config, folder / name)
    return folder


def test_a_grid_is_read_in_the_type_of_its_field():
    texts = {
        "model.kl_weight=1,2.5": [1.0, 2.5],
        "model.auxiliary.levels=2,4": [2, 4],
        "model.auxiliary.grayscale=true,False": [True, False],
        "data.train_split=train[:8],train": ["train[:8]", "train"],
        "data.source=['a,b', 'c']": ["a,b", "c"],
    }
    for text, values in texts.items():
        field = text.partition("=")[0]
        assert sweep.parse_grids(AGAVE, [text]) == {field: values}
        parsed = sweep.parse_grids(AGAVE, [text])[field]
        assert [type(value) for value in parsed] == [type(value) for value in values]
    widths = ConfigDict({"widths": (1, 2)})
    assert sweep.parse_grids(widths, ["widths=[(1,), (3, 4)]"]) == {"widths": [(1,), (3, 4)]}


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (["model.kl_weigt=1"], r"no config field 'model.kl_weigt'; did you mean model.kl_weight"),
        (["model.auxiliary=1"], "it is a section: give model.auxiliary.downsampling or"),
        (["model.auxiliary.levels=2,b"], "is of type int, such as 0"),
        (["model.auxiliary.levels=2.5"], "is of type int, such as 0"),
        (["model.kl_weight="], "is of type float"),
        (["model.kl_weight=1,1.0"], "and each once"),
        (["seed=1,2"], "give the seeds by --seeds"),
        (["model.kl_weight=1", "model.kl_weight=2"], "give each field once"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(grids, message):
    with pytest.raises(ValueError, match=message):
        sweep.parse_grids(AGAVE, grids)


def test_every_combination_has_every_seed():
    grids = {"model.kl_weight": [1.0, 2.5], "model.vae.features": [8]}
    runs = sweep.product(AGAVE, grids, [0, 3])
    assert list(runs) == [
        f"kl_weight_{w}-features_8-seed_{s}" for w in ("1", "2.5") for s in (0, 3)
    ]
    for run in runs.values():
        changed = {**run.fields, "seed": run.seed}
        fields = sweep.fields_of(run.config)
        assert {name: fields[name] for name in changed} == changed
        assert fields == sweep.fields_of(AGAVE) | changed
    both = sweep.product(AGAVE, {"model.vae.features": [8], "model.condition.features": [4]}, [0])
    assert list(both) == ["model.vae.features_8-model.condition.features_4-seed_0"]
    assert list(sweep.product(AGAVE, {}, [5])) == ["seed_5"]


def test_finished_runs_are_not_trained_again(members, folder, monkeypatch):
    def train(*_):
        raise AssertionError("a run was trained")

    monkeypatch.setattr(session, "train", train)
    for name, member in members.items():
        scores = sweep.train(member.config, folder / name)
        assert scores == json.loads((folder / name / "test.json").read_text())
    more = sweep.with_fields(members["steps_1-seed_0"].config, {"train.steps": 2})
    assert not sweep.is_finished(more, folder / "steps_1-seed_0")


def test_a_folder_of_another_run_is_refused(members, folder):
    config = members["steps_2-seed_0"].config
    other = sweep.with_fields(config, {"seed": 1})
    fewer = sweep.with_fields(config, {"train.steps": 1})
    with pytest.raises(ValueError, match="seed: 0 -> 1"):
        sweep.check({"steps_2-seed_0": other}, folder)
    with pytest.raises(ValueError, match="is trained for 2 steps, more than the 1 asked for"):
        sweep.check({"steps_2-seed_0": fewer}, folder)


def test_the_table_holds_mean_and_range_of_the_runs(members, folder):
    rows = sweep.columns(sweep.collect(members, folder))
    assert [(row["train.steps"], row["seeds"]) for row in rows] == [("1", 3), ("2", 3)]
    for row in rows:
        tests = [folder / f"steps_{row['train.steps']}-seed_{s}" / "test.json" for s in SEEDS]
        errors = [json.loads(test.read_text())["error"] for test in tests]
        assert (row["error_min"], row["error_max"]) == (min(errors), max(errors))
        np.testing.assert_allclose(row["error_mean"], sum(errors) / 3, rtol=1e-12)
    assert not any(name.startswith(("step_", "num_images")) for name in rows[0])


def test_a_run_that_is_not_finished_is_not_counted(members, folder):
    longer = sweep.product(members["steps_1-seed_0"].config, {"train.steps": [1, 2, 3]}, [0, 1])
    rows = sweep.collect(longer, folder)
    assert [(row.fields["train.steps"], len(row.runs)) for row in rows] == [(1, 2), (2, 2)]
    table = sweep.markdown(rows).splitlines()
    assert table[0].startswith("| train.steps | seeds | ") and len(table) == 4
    values = rows[0].scores["error"]
    assert f"| {values.mean():.4f} ({values.min():.4f} to {values.max():.4f}) |" in table[2]
