"""The battery on runs of a method with known numbers: its weights are log-normal."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from configs import classifier
from gm_jax import data, distributions, methods, session
from gm_jax.evaluation import battery, drawing, feature_networks, report, train_test_classifier
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.exported_network import write_exported
from gm_jax.evaluation.feature_networks import FeatureNetwork, any_callable
from gm_jax.evaluation.inception_weights import InceptionWeights
from gm_jax.evaluation.records import read_results
from gm_jax.evaluation.request import Request
from gm_jax.images import save_png, spread
from gm_jax.methods.method import Loss, Method, Player
from gm_jax.training.run import open_run
from tests import toy

SIGMA = 0.5


class Toy(Method):
    """p(x|z)p(z)/q(z|x) = exp(σε − σ²/2): its mean over ε is 1, so that log p(x) = 0 exactly."""

    likelihood = "bound"

    def __init__(self, config, data, frozen=None):
        super().__init__(config, data, frozen)
        self.condition_on_classes(True)
        self.players = (Player("toy", ("toy",), optax.sgd(0.1), self.loss),)

    def init_networks(self, key, batch, noise):
        return {"toy": {"params": {"shift": jnp.zeros(())}}}

    def loss(self, variables, batch, noise, step):
        return Loss({"nothing": 0 * variables["toy"]["params"]["shift"]})

    def log_likelihood(self, variables, batch, noise):
        return {"log_likelihood": SIGMA * noise.normal() - SIGMA**2 / 2}

    def draw(self, variables, noise, labels, temperature):
        x = 0.3 * noise.normal(*self.image_shape) + (labels[:, None, None, None] / 5 - 1)
        x += variables["toy"]["params"]["shift"]
        return {"image": distributions.quantize(x, self.levels)}


def toy_config(cache, **changes):
    config = toy.get_config().unlock()
    config.method, config.data.cache_dir = "conditional_toy", str(cache)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config.lock()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Work directory of a trained toy."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "conditional_toy", Toy)
        session.run(toy_config(folder / "cache"), str(folder / "run"), "train")
        yield folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """The trained toy, with an empty cache of its own."""
    (trained / "evaluation.json").unlink(missing_ok=True)
    return open_run(toy_config(tmp_path), trained)


@pytest.fixture
def network(run):
    """The mean and the spread of every image, and three logits."""
    return any_callable(lambda images: images.reshape(len(images), -1)[:, :3], "corner", run)


def results(run, metrics, **request):
    request = Request(tuple(metrics), **{"num_samples": 24, **request})
    missing = battery.evaluate(run, request)
    return {result["metric"]: result for result in read_results(run.workdir)}, missing


def test_importance_samples_close_the_gap_of_the_bound(run):
    found, missing = results(run, ["bpd", "iwae"], num_importance_samples=300)
    assert missing == {}
    nats = np.load(run.workdir / found["iwae"]["arrays"])
    assert (nats["log_likelihood"] >= nats["one_sample"]).all()
    np.testing.assert_allclose(nats["one_sample"].mean(), -(SIGMA**2) / 2, atol=0.03)
    np.testing.assert_allclose(nats["log_likelihood"], 0, atol=4 * SIGMA / np.sqrt(300))
    bits = -nats["log_likelihood"].mean() / (64 * np.log(2))
    np.testing.assert_allclose(found["iwae"]["values"]["iwae"], bits)
    assert found["iwae"]["values"]["likelihood"] == "lower bound, 300 samples"


def test_both_doors_give_the_same_likelihood(run):
    found, _ = results(run, ["bpd", "iwae"], num_importance_samples=3)
    plain = report.evaluate(run, num_importance_samples=3)
    for name, score, error in (
        ("bpd", "bits_per_dim", "standard_error"),
        ("iwae", "importance_weighted", "importance_weighted_standard_error"),
    ):
        values = found[name]["values"]
        assert (values[name], values["standard_error"]) == (plain[score], plain[error])


def test_numbers_do_not_depend_on_batch_size_or_devices(trained, run, tmp_path):
    metrics = ["bpd", "iwae", "fid", "fid_infinity", "kid", "prd", "precision", "density"]
    options = {"features": "pixels", "num_importance_samples": 3}
    first, _ = results(run, metrics, **options)
    changes = {"train__parallel": "jit", "evaluate__batch_size": 5, "sample__batch_size": 7}
    config = toy_config(tmp_path / "other", **changes)
    (run.workdir / "evaluation.json").unlink()
    second, _ = results(open_run(config, trained), metrics, **options)
    judged = {f"{name.replace('fid', 'fd')}_pixels" for name in metrics[2:]}
    assert first.keys() == second.keys() == {"bpd", "iwae", *judged}
    for name, result in first.items():
        assert result["identity"] == second[name]["identity"]
        numbers = [
            [value for value in found["values"].values() if not isinstance(value, str)]
            for found in (result, second[name])
        ]
        np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-9)


def test_a_result_is_kept_until_what_names_it_changes(run, network, capsys):
    first, _ = results(run, ["fid"], features=network)
    again, _ = results(run, ["fid"], features=network)
    assert again == first and "already in" in capsys.readouterr().err
    results(run, ["fid"], features=network, seed=1)
    results(run, ["fid"], features=network, reference_split="train[:30]")
    stored = read_results(run.workdir)
    assert [result["identity"]["seed"] for result in stored] == [0, 1, 0]
    assert len({result["values"]["fd_corner"] for result in stored}) == 3


def test_reference_features_are_computed_once(run, network):
    seen = []

    def extract(images):
        seen.append(len(images))
        return network.extract(images)

    for name, new in (("a", True), ("a", False), ("b", True)):
        counting = FeatureNetwork(name, {"name": name}, extract)
        with Context(run, Request(("fid",), features=counting)) as context:
            mean, covariance, count, *_ = context.reference_statistics
            features = context.reference_features["features"]
        np.testing.assert_allclose(mean, features.mean(0), rtol=1e-5)
        np.testing.assert_allclose(covariance, np.cov(features.T), rtol=1e-4)
        assert count == 24 and bool(seen) == new
        seen.clear()


def test_statistics_in_a_file_stand_for_the_images(run, network, tmp_path):
    """Those of the training split, which are read where the reference is the test split."""
    file = str(tmp_path / "shared" / "train.npz")
    options = {"features": network, "reference_statistics": file}
    results(run, ["fid"], features=network, reference_split="train[:30]")
    written, missing = results(run, ["fid"], **options, reference_split="train[:30]")  # found
    assert missing == {}
    (run.workdir / "evaluation.json").unlink()
    read, _ = results(run, ["fid"], **options)
    assert read["fd_corner"]["identity"] == written["fd_corner"]["identity"]
    assert read["fd_corner"]["values"] == written["fd_corner"]["values"]
    assert read["fd_corner"]["identity"]["reference"]["split"] == "train[:30]"
    _, missing = results(run, ["fid", "prd"], features="pixels", reference_statistics=file)
    assert '{"name": "corner"}, not of {"name": "pixels"' in missing["fid"]
    assert "is of other images" in missing["prd"]
    _, missing = results(run, ["fid"], **options, reference_split="train[:29]")
    assert "is of other images" in missing["fid"]


def test_a_missing_metric_says_why_and_the_others_go_on(trained, run, capsys, monkeypatch):
    monkeypatch.delenv("GM_JAX_INCEPTION_WEIGHTS", raising=False)
    flags = {"metrics": ["diversity", "fid", "bpd"], "num_samples": 24}
    with pytest.raises(SystemExit) as end:
        session.run(run.config, str(trained), "evaluate", flags)
    assert end.value.code == 1
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert [result["metric"] for result in report["results"]] == ["bpd"]
    assert "sides are at least 16" in report["missing"]["diversity"]
    assert "GM_JAX_INCEPTION_WEIGHTS" in report["missing"]["fid"]
    assert "fid: missing: " in output.err
    _, missing = results(run, ["is"], features="pixels")
    assert "'pixels' classify nothing" in missing["is"]


def test_neighbours_in_the_training_split_are_found_and_drawn(run, tmp_path):
    train = run.train_data
    np.savez(tmp_path / "copies.npz", image=train.images[5:25], levels=train.levels)
    options = {"features": "pixels", "num_samples": None}
    copies = {"samples": f"npz:{tmp_path / 'copies.npz'}", **options}
    found, missing = results(run, ["neighbours"], **copies)
    values, result = found["neighbours_pixels"]["values"], found["neighbours_pixels"]
    assert missing == {} and values["neighbours_pixels"] == values["nearer_in_pixels"] == 1
    assert (values["num_samples"], values["num_held_out"]) == (20, 24)
    rows = np.load(run.workdir / result["arrays"])["samples_rows_in_pixels"]
    np.testing.assert_array_equal(train.images[rows], train.images[5:25])
    with Image.open(run.workdir / result["picture"]) as picture:
        assert picture.mode == "RGB" and picture.width > 1024
    _, missing = results(run, ["neighbours"], **copies, reference_split="train[:64]")
    assert "most of the reference images are training images" in missing["neighbours"]


def test_a_method_without_samples_says_so_for_every_metric_of_samples(tmp_path, capsys):
    """The config of a classifier has no section `sample` either."""
    judged = open_run(classifier.get_config("smoke"), tmp_path / "run")
    refused = pytest.raises(ValueError, match="'classifier' draws no samples")
    with Context(judged, Request(("fid",))) as context, refused:
        context.identity("samples")
    _, missing = results(judged, ["fid", "is", "prd", "diversity"], features="pixels")
    assert all("'classifier' draws no samples" in reason for reason in missing.values())
    assert len(missing) == 4


def test_few_samples_are_warned_about(run, network):
    found, _ = results(run, ["fid"], features="pixels")
    assert found["fd_pixels"]["values"]["num_features"] == 64
    assert "n = 24 images" in found["fd_pixels"]["warning"]
    assert "warning" not in results(run, ["fid"], features=network)[0]["fd_corner"]


def test_samples_of_a_conditional_method_carry_their_classes(run):
    with Context(run, Request(("fid",), num_samples=24)) as context:
        samples = context.samples
        np.testing.assert_array_equal(samples.labels, np.arange(24) % 10)
        brightness = context.sample_images.mean((1, 2, 3))
    assert np.corrcoef(brightness, samples.labels)[0, 1] > 0.95


def labelled(path, test, names):
    """Writes some of the test images as samples, of classes with these names."""
    np.savez(path, image=test.images[: len(names)], levels=17, label=np.array(names))
    return f"npz:{path}"


def test_classes_of_samples_and_reference_are_matched_by_name(run, tmp_path, monkeypatch):
    given = []

    def judge(samples, sample_labels, train, train_labels, test, test_labels, count, **_):
        given[:] = sample_labels.tolist(), test_labels.tolist(), count
        return train_test_classifier.TrainTestAccuracies(1.0, 1.0, 1.0)

    monkeypatch.setattr(train_test_classifier, "gan_train_test", judge)
    test = run.dataset("test")
    samples = labelled(tmp_path / "samples.npz", test, ["9", "3", "9", "4"])
    options = {"num_samples": None, "samples": samples}
    reference = labelled(tmp_path / "reference.npz", test, ["7", "2", "7"])
    _, missing = results(
        run, ["gan_train_test"], **options, reference=reference, reference_split="train"
    )
    assert missing == {} and given == [[9, 3, 9, 4], [7, 2, 7], 10]
    options["samples"] = labelled(tmp_path / "other.npz", test, ["9", "cat", "9", "4"])
    _, missing = results(run, ["gan_train_test"], **options)
    assert "are 4, 9, cat; they cannot be matched" in missing["gan_train_test"]
    assert "the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in missing["gan_train_test"]


def test_the_names_of_classes_are_part_of_what_a_result_depends_on(run, tmp_path):
    test, hashes = run.dataset("test"), set()
    for number, names in enumerate((["3", "4"], ["3", "5"], ["0", "1"])):
        samples = labelled(tmp_path / f"{number}.npz", test, names)
        request = Request(("gan_train_test",), samples=samples)
        with Context(run, request) as context:
            hashes.add(context.identity("samples")["sha256"])
    assert len(hashes) == 3


def test_a_run_is_neither_trained_nor_judged_on_other_data(trained, tmp_path, capsys):
    saved = (trained / "data.json").read_text()
    other = json.loads(saved)
    other["splits"]["test"]["image"] = "other"
    (trained / "data.json").write_text(json.dumps(other))
    for mode in ("train", "evaluate", "sample", "reconstruct"):
        with pytest.raises(SystemExit) as end:
            session.run(toy_config(tmp_path), str(trained), mode)
        message = capsys.readouterr().err
        assert (
            end.value.code == 2 and 'holds a run on other data: test.image: "other" -> ' in message
        )
    (trained / "data.json").write_text(saved)


def test_samples_are_stored_with_the_names_of_their_classes(run, tmp_path, capsys):
    drawing.sample(run)
    (archive,) = (run.workdir / "samples").glob("best_step_*.npz")
    drawn = data.load(f"npz:{archive}", "train", cache_dir=str(tmp_path))
    count = run.config.sample.num_images
    assert [drawn.classes[label] for label in drawn.labels] == [str(n % 10) for n in range(count)]


def test_given_images_are_judged_without_a_run(run, tmp_path):
    test = run.dataset("test")
    np.savez(tmp_path / "real.npz", image=test.images, levels=17)
    bare = open_run(run.config, tmp_path / "nothing_here")
    options = {"features": "pixels", "samples": f"npz:{tmp_path / 'real.npz'}"}
    found, missing = results(bare, ["fid", "bpd"], **options)
    assert found["fd_pixels"]["values"]["fd_pixels"] < 1e-6
    for number, image in enumerate(spread(test.images, 17)):
        save_png(tmp_path / "pictures" / f"{number:02d}.png", image)
    found, _ = results(bare, ["fid"], **options | {"samples": f"folder:{tmp_path / 'pictures'}"})
    assert found["fd_pixels"]["values"]["fd_pixels"] < 1e-6
    assert "gives images alone" in missing["bpd"]
    _, missing = results(bare, ["prd"], **options, num_samples=10)
    assert "10 samples cannot fill num_clusters = 20" in missing["prd"]


def bad_samples(kind, folder):
    """Writes samples that must be refused, and returns their name."""
    folder.mkdir()
    zeros = np.zeros((30, 8, 8), np.uint8)
    if kind == "empty":
        return f"folder:{folder}"
    if kind == "mixed":
        for side in (8, 9):
            Image.fromarray(np.zeros((side, side), np.uint8)).save(folder / f"{side}.png")
        return f"folder:{folder}"
    arrays = {
        "float": {"image": zeros / 1.0},
        "range": {"image": zeros + 17, "levels": 17},
        "splits": {"image": zeros, "split": np.arange(30) % 2},
        "shape": {"image": zeros[:, :7]},
        "few": {"image": zeros[:23]},
    }
    np.savez(folder / "samples.npz", **arrays[kind])
    return f"npz:{folder / 'samples.npz'}"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("empty", "holds no images"),
        ("mixed", "8.png is 8 × 8, .*9.png is 9 × 9"),
        ("float", "image is float64; store uint8"),
        ("range", "pixel 17 is not one of the 17 levels"),
        ("splits", "holds the splits train, test"),
        ("shape", r"shape \(7, 8, 1\), the config's data \(8, 8, 1\)"),
        ("few", "--num_samples=24 of .* holds 23 images"),
    ],
)
def test_bad_samples_are_refused(run, tmp_path, kind, expected):
    request = Request(("fid",), 24, bad_samples(kind, tmp_path / "bad"), "pixels")
    with Context(run, request) as context, pytest.raises(ValueError, match=expected):
        _ = context.samples


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"metrics": ["fdi"]}, "unknown metric 'fdi'; did you mean fid"),
        ({"metrics": []}, "names no metric; choose among bpd, iwae"),
        ({"metrics": ["fid"], "num_samples": 1}, "--num_samples=1: give 2 or more"),
        ({"metrics": ["fid"], "resize": "bilinear"}, "--resize=bilinear: choose tf1"),
        ({"metrics": ["auto", "fid"]}, "unknown metric 'auto'; choose among bpd, iwae"),
        ({"num_samples": 1}, "--num_samples=1: give 2 or more"),
        ({"seed": 2**32}, "seed is 4294967296; give a whole number from 0 to 4,294,967,295"),
    ],
)
def test_a_request_that_means_nothing_ends_with_status_2(tmp_path, capsys, fields, expected):
    with pytest.raises(SystemExit) as end:
        session.run(toy.get_config(), str(tmp_path), "evaluate", fields)
    assert end.value.code == 2 and expected in capsys.readouterr().err


def test_only_an_evaluation_takes_the_flags_of_one(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        session.run(toy.get_config(), str(tmp_path), "sample", {"num_samples": 10})
    expected = "--num_samples: only --mode=evaluate takes them"
    assert end.value.code == 2 and expected in capsys.readouterr().err


def test_an_evaluation_computes_what_needs_no_training(run, trained, capsys):
    session.run(run.config, str(trained), "evaluate", {"num_samples": 24, "features": "pixels"})
    names = {result["metric"] for result in read_results(trained)}
    assert names == {f"{name}_pixels" for name in ("fd", "kid", "prd")}
    printed = capsys.readouterr()
    assert "bits/dim (lower bound, one sample)" in printed.out
    for name in ("is: missing: features 'pixels' classify nothing", "diversity: missing: "):
        assert name in printed.err
    for name in ("iwae", "fid_infinity", "precision", "density", "critic", "gan_train_test"):
        assert f"{name}: left out: it " in printed.err
    assert json.loads((trained / "test.json").read_text())["step"] == run.best_step()


def test_an_exported_function_judges_as_the_function_does(run, network, tmp_path):
    write_exported(
        lambda images: images.reshape(-1, 64)[:, :3].astype(jnp.float32),
        (8, 8, 1),
        tmp_path / "corner.bin",
    )
    found, _ = results(run, ["fid"], features=network)
    (run.workdir / "evaluation.json").unlink()
    read, missing = results(run, ["fid"], features=f"exported:{tmp_path / 'corner.bin'}")
    assert missing == {} and read["fd_corner"]["values"] == found["fd_corner"]["values"]
    assert read["fd_corner"]["identity"]["features"]["name"] == "exported:corner"


def test_unknown_features_are_refused(run, tmp_path):
    for name, expected in (
        ("vgg", "unknown features 'vgg'; choose among inception, classifier:WORKDIR, pixels, exp"),
        (f"classifier:{tmp_path}", "no classifier in .* train one with --config=configs/cla"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=expected):
            feature_networks.open_network(name, run, None, "tf1")


def test_only_the_published_inception_scores_is_and_fid(run, monkeypatch):
    for canonical, names in (
        (True, ["is", "fid", "prd"]),
        (False, [f"{name}_unpublished_inception" for name in ("is", "fd", "prd")]),
    ):
        weights = InceptionWeights({}, "a" * 64, canonical)
        monkeypatch.setattr(feature_networks, "load_inception_weights", lambda path, w=weights: w)
        network = feature_networks.open_network("inception", run, None, "clean")
        assert [network.metric_name(name) for name in ("is", "fid", "prd")] == names
        assert network.identity == {"name": "inception", "sha256": "a" * 64, "resize": "clean"}


def test_the_hash_of_variables_sees_names_and_values():
    trees = [{"a": np.zeros(2)}, {"b": np.zeros(2)}, {"a": np.ones(2)}, {"a": jnp.zeros(2)}]
    hashes = [feature_networks.hash_of_variables(jax.tree.map(np.float32, t)) for t in trees]
    assert hashes[0] == hashes[3] and len(set(hashes)) == 3


def test_what_cannot_be_written_is_printed_and_output_writes_elsewhere(
    run, trained, tmp_path, capsys
):
    (tmp_path / "file").touch()
    for metrics in (["fid"], None):
        flags = {"num_samples": 24, "features": "pixels"}
        flags |= {"metrics": metrics} if metrics else {}
        nowhere, elsewhere = tmp_path / "file" / "no", tmp_path / f"out-{metrics}"
        capsys.readouterr()
        session.run(run.config, str(trained), "evaluate", flags, output=str(nowhere))
        printed = capsys.readouterr()
        lines = printed.out[printed.out.index("{\n") :]
        found = {result["metric"]: result["values"] for result in json.loads(lines)["results"]}
        assert f"{nowhere} cannot be written (" in printed.err and "--output=DIR" in printed.err
        session.run(run.config, str(trained), "evaluate", flags, output=str(elsewhere))
        written = {result["metric"]: result["values"] for result in read_results(elsewhere)}
        assert written == found and (elsewhere / "test.json").exists() == (metrics is None)
        assert not (trained / "evaluation.json").exists()


def test_a_drawing_that_could_not_be_written_is_not_begun(run, trained, tmp_path, capsys):
    (tmp_path / "file").touch()
    for mode, output, reason in (
        ("sample", tmp_path / "file", "--output=DIR writes elsewhere"),
        ("train", tmp_path, "a training writes to its --workdir"),
    ):
        with pytest.raises(SystemExit) as end:
            session.run(run.config, str(trained), mode, output=str(output))
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert end.value.code == 2 and reason in line
    session.run(run.config, str(trained), "sample", output=str(tmp_path / "out"))
    assert [*(tmp_path / "out" / "samples").glob("*.npz")]
