"""Tests that hold for every method, on the smoke variant of every page.

A new method adds a line to PAGES, and has its mathematics alone in a file of its own. Further
models of a page (MORE) run only devices and resuming. What these tests cost is compilation: the
session, on eight devices, shares its programs with the test of devices.
"""

import contextlib
import functools
import io
import json
import tempfile
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import (
    adaptive_density,
    adversarial_autoencoder,
    agave,
    alpha_gan,
    bigan,
    classifier,
    code_prior,
    cycle_gan,
    flow,
    flow_gan,
    gan_likelihood,
    hybrid,
    lsgan,
    mixed_batch_gan,
    pixel_vae,
    pixelcnn,
    real_nvp,
    sngan,
    vae,
    vae_gan,
    vae_iaf,
    vq_vae,
    wgan_gp,
)
from gm_jax import session
from gm_jax import state as train_state
from gm_jax.data import training_batches
from gm_jax.data.fields import main_field
from gm_jax.evaluation.report import score_split
from gm_jax.load import TrainedModel
from gm_jax.methods.player import in_order
from gm_jax.nn.noise import Noise
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import Run, open_run, open_trained

PAGES = {
    "adaptive_density": (adaptive_density, "av_ade,smoke"),
    "adversarial_autoencoder": (adversarial_autoencoder, "gaussian,smoke"),
    "agave": (agave, "smoke"),
    "age": (alpha_gan, "age,smoke"),
    "alpha_gan": (alpha_gan, "alpha_gan,smoke"),
    "bigan": (bigan, "bigan,smoke"),
    "classifier": (classifier, "smoke"),
    "code_prior": (code_prior, "smoke"),
    "cycle_gan": (cycle_gan, "smoke"),
    "dcgan": (alpha_gan, "dcgan,smoke"),
    "flow": (flow, "glow,smoke"),
    "flow_gan": (flow_gan, "hybrid,smoke"),
    "gan": (adaptive_density, "gan,smoke"),
    "gan_likelihood": (gan_likelihood, "smoke"),
    "hybrid": (hybrid, "coupling,smoke"),
    "lsgan": (lsgan, "smoke"),
    "mixed_batch_gan": (mixed_batch_gan, "m_bgan,smoke"),
    "points": (mixed_batch_gan, "bgan,smoke_ring"),
    "pixel_vae": (pixel_vae, "smoke"),
    "pixelcnn": (pixelcnn, "smoke"),
    "real_nvp": (real_nvp, "smoke"),
    "sngan": (sngan, "smoke"),
    "vae": (vae, "gaussian,smoke"),
    "vae_gan": (vae_gan, "smoke"),
    "vae_iaf": (vae_iaf, "smoke"),
    "vq_vae": (vq_vae, "smoke"),
    "wgan_gp": (wgan_gp, "smoke"),
}
MORE = {
    "ali": (bigan, "ali,smoke"),
    "ali_points": (bigan, "ali,smoke_grid"),
    "av_gde+iaf+rd": (adaptive_density, "av_gde+iaf+rd,smoke"),
    "cycle_gan_of_points": (cycle_gan, "smoke_blobs"),
    "flow_plus_plus": (flow, "flow_plus_plus,smoke"),
    "iaf": (vae, "iaf,smoke"),
    "nice": (flow, "nice,smoke"),
    "minibatch_discrimination": (mixed_batch_gan, "minibatch_discrimination,smoke"),
    "mixup": (mixed_batch_gan, "mixup,smoke"),
    "planar": (vae, "planar,smoke"),
    "residual": (flow, "residual,smoke"),
    "standard_deviation": (mixed_batch_gan, "standard_deviation,smoke_ring"),
    "dcgan_wgan_gp": (alpha_gan, "wgan_gp,smoke"),
}
FROZEN = {"generator": "gan", "quantiser": "vq_vae"}  # {what is frozen: the page of its run}
KEY, STEPS = jax.random.key(7), 4
READ: dict[str, set[str]] = {}  # {page: the fields that its session has read}
READ_ELSEWHERE = {
    *("train.deterministic", "variant"),  # by `main.py`, before a session
    "optimizer.epsilon_root",  # by Adam; a run may choose it in place of Adamax
}
DECOY = "evaluate.decoy"
every_page = pytest.mark.parametrize("name", PAGES)
every_model = pytest.mark.parametrize("name", [*PAGES, *MORE])


class Recorder(ConfigDict):
    """A config that records which of its fields are read, each as `section.field`."""

    def __init__(self, config, read, prefix=""):
        super().__init__()
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_prefix", prefix)
        for name, value in config.items():
            section = isinstance(value, ConfigDict)
            self[name] = Recorder(value, read, f"{prefix}{name}.") if section else value

    def __getitem__(self, name):
        self._read.add(self._prefix + name)
        return super().__getitem__(name)

    def to_dict(self, *args, **kwargs):
        """Writing a config to a file does not count as reading it."""
        before = set(self._read)
        written = super().to_dict(*args, **kwargs)
        self._read.intersection_update(before)
        return written


def fields_of(config, prefix=""):
    """Every field of a config, as `section.field`."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from fields_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def config_of(name):
    page, variant = {**PAGES, **MORE}[name]
    config = page.get_config(variant).unlock()
    for frozen in config.get("frozen", {}):
        config.frozen[frozen] = str(trained_by_session(FROZEN[frozen]))
    return config.lock()


@functools.cache
def trained_by_session(name):
    """The work directory of a page's two steps, with what the command writes at their end."""
    folder = Path(tempfile.mkdtemp(prefix=f"gm_jax-{name}-")) / "run"
    config, READ[name] = config_of(name).unlock(), set()
    config.evaluate.decoy = 1
    with contextlib.redirect_stdout(io.StringIO()):
        session.run(Recorder(config, READ[name]), str(folder), "train")
    return folder


@functools.cache
def run_of(name):
    return open_run(config_of(name), tempfile.mkdtemp())


@functools.cache
def start(name):
    """The state at step 0, on the host: train steps donate theirs."""
    return jax.device_get(run_of(name).initial_state())


@functools.cache
def batches(name):
    """The batch of each of STEPS steps, or the tuple of its batches."""
    run = run_of(name)
    given = training_batches(
        run.train_data,
        batch_size=run.config.data.batch_size,
        batches_per_step=run.method.batches_per_step,
        seed=0,
    )
    steps = [next(given) for _ in range(STEPS)]
    given.close()
    return steps


@functools.cache
def step_of(name, mode, num_devices):
    """The compiled train step, its devices, and a list that grows when it is traced."""
    parallel, traces = Parallel(mode, jax.devices()[:num_devices]), []

    def train_step(*args):
        traces.append(mode)
        return run_of(name).method.train_step(*args)

    return parallel.train_step(train_step), parallel, traces


def steps_from(name, state, given, mode="jit", num_devices=1):
    """The states after each of some steps, and the terms of each."""
    step, parallel, _ = step_of(name, mode, num_devices)
    state, states, logged = jax.device_put(state, parallel.replicated), [], []
    for batch in given:
        placed = jax.tree.map(
            parallel.put_training_batch, batch, is_leaf=lambda node: isinstance(node, dict)
        )
        state, terms = step(state, placed, KEY)
        states.append(jax.device_get(state))
        logged.append(jax.device_get(terms))
    return states, logged


@functools.cache
def trained(name, mode="jit", num_devices=1):
    return steps_from(name, start(name), batches(name), mode, num_devices)


def length(tree):
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


def apart(a, b):
    return length(jax.tree.map(np.subtract, a, b))


def check_same(name, mode):
    """The first step's gradients, and four updates by the page's own optimizer."""
    (alone, terms), (together, same_terms) = trained(name), trained(name, mode, 8)
    chex.assert_trees_all_close(same_terms[0], terms[0], rtol=1e-4, atol=1e-5)
    # The first moments of an optimizer are multiples of the gradient, which plain SGD would go by.
    moments = [jax.tree.leaves(states[0].opt_state) for states in (together, alone)]
    for ours, theirs in zip(*moments, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    for kind in ("params", "ema_params", "statistics"):
        before, ours, theirs = (vars(s)[kind] for s in (start(name), together[-1], alone[-1]))
        for network in before:
            moved = apart(theirs[network], before[network])
            assert apart(ours[network], theirs[network]) <= 2e-3 * moved, (kind, network, moved)
            # Which parameters move is said by the next test but one.
            assert moved > 0 or kind == "params" or network not in networks_of_players(name)


def networks_of_players(name):
    return {each for player in in_order(run_of(name).method.players) for each in player.networks}


@every_model
def test_eight_devices_give_the_update_of_one(name):
    check_same(name, "shard_map")


@pytest.mark.parametrize("name", ["classifier", "real_nvp", "wgan_gp"])
def test_pmap_gives_the_update_of_one_device(name):
    """For pages with one batch a step and with several: a step does not know how it is mapped."""
    check_same(name, "pmap")


@every_model
def test_four_steps_are_two_a_restore_and_two_more(name, tmp_path):
    (states, _), run = trained(name), run_of(name)
    _, parallel, traces = step_of(name, "jit", 1)
    replicated = parallel.replicated
    given = training_batches(run.train_data, batch_size=run.config.data.batch_size, seed=0)
    template = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated), start(name)
    )
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(2, jax.device_put(states[1], replicated), given)
        checkpoints.wait()
        restored, step = checkpoints.restore(template, given)
    given.close()
    again, _ = steps_from(name, restored, batches(name)[2:])
    assert step == 2 and len(traces) == 1  # the restored state has the shapes and places of it
    chex.assert_trees_all_equal(again[-1], states[-1])


@every_page
def test_the_networks_of_players_move_and_no_others(name):
    owned = networks_of_players(name)
    after, before = trained(name)[0][-1].params, start(name).params
    assert {each for each in before if apart(after[each], before[each]) > 0} == owned
    assert owned <= before.keys()


@every_page
def test_the_terms_of_each_player_sum_to_its_loss(name):
    """They are the means of what its loss returns, and finite."""
    players, terms = in_order(run_of(name).method.players), trained(name)[1][-1]
    for player in players:
        batch = batches(name)[0]
        batch = batch[player.batch] if isinstance(batch, tuple) else batch
        noise = Noise(KEY, np.arange(run_of(name).config.data.batch_size, dtype=np.int32))
        variables = train_state.training_variables(start(name), {})
        wanted = jax.eval_shape(functools.partial(player.loss, step=0), variables, batch, noise)
        prefix = f"{player.name}/" if len(players) > 1 else ""
        parts = [terms[prefix + term] for term in wanted.terms]
        np.testing.assert_allclose(terms[prefix + "loss"], sum(parts), rtol=1e-5, atol=1e-4)
        assert np.isfinite([*terms.values()]).all()


@every_page
def test_every_player_may_have_a_schedule_of_its_own(name):
    run, config = run_of(name), config_of(name).unlock()
    names = {player.name for player in in_order(run.method.players)}
    del config.optimizer["warmup_steps"]
    config.optimizer.warmup_steps = dict.fromkeys(names, 1) if len(names) > 1 else 1
    method = create_method(config.lock(), run.workdir, run.train_data.fields)
    assert {player.name for player in in_order(method.players)} == names


@every_page
def test_a_session_writes_what_the_method_offers(name):
    folder, offered = trained_by_session(name), run_of(name).method.capabilities
    scores = json.loads((folder / "test.json").read_text())
    assert scores["step"] == 2
    normalised = "recalibration_batches" in config_of(name).evaluate
    assert scores.get("recalibration_batches") == (2 if normalised else None)
    assert len([*folder.glob("statistics/*.npz")]) == normalised
    assert ({"bits_per_dim", "nats"} & scores.keys() != set()) == ("log_likelihood" in offered)
    drawn = {"samples": "sample", "reconstructions": "reconstruct", "translations": "translate"}
    for kind, capability in drawn.items():
        assert bool([*folder.glob(f"{kind}/best_step_*.png")]) == (capability in offered)


@every_page
def test_a_loaded_model_scores_and_draws_as_its_session_did(name):
    """On one device instead of eight, in batches of 4 instead of 16, without its images."""
    folder = trained_by_session(name)
    run = open_trained(folder)
    for section in {"evaluate", "sample"}.intersection(run.config):
        run.config[section].batch_size = 4
    one = Parallel("shard_map", jax.devices()[:1])
    run = Run(run.config, run.workdir, run.method, run.datasets, one)
    model = TrainedModel(run, *run.restore("best"), config_of(name))
    offered, test = run.method.capabilities, run_of(name).dataset("test").first(6)
    with np.load(folder / "test.npz") as scored:
        expected = {term: scored[term][:6] for term in scored}
    for term, ours in score_split(run, model._variables, test)[0].items():
        np.testing.assert_allclose(ours, expected[term], rtol=1e-4, atol=1e-4)
    main = main_field(test.fields)
    if "sample" in offered:
        drawn = model.sample(6)
        with np.load(*folder.glob("samples/*.npz")) as before:
            differs = [np.mean(x != before[kind][:6]) for kind, x in drawn.items()]
        assert max(differs) < 0.01  # rounding moves a pixel to the next level
        assert (drawn[main][0] != drawn[main][1]).any()
    if "encode" in offered:
        decoded = model.decode(model.encode(test.arrays[main]))[main]
        assert (decoded.shape, decoded.dtype) == (test.arrays[main].shape, test.arrays[main].dtype)
    if "resample" in offered:
        again = model.resample(test.arrays[main], 1)[main]
        assert (again.shape, again.dtype) == (test.arrays[main].shape, test.arrays[main].dtype)
    if "translate" in offered:
        for domain, direction in (("a", "a_to_b"), ("b", "b_to_a")):
            given = test.domain(domain).arrays[main]
            found = model.translate(given, direction)["cycle"]
            assert (found.shape, found.dtype) == (given.shape, given.dtype)


@every_page
def test_every_field_of_the_page_is_read(name):
    """By the session or its networks: a field that nothing reads would be misleading."""
    trained_by_session(name)
    unread = set(fields_of(config_of(name))) - READ[name] - READ_ELSEWHERE
    assert not unread, "take these out of the page, or read them"
    assert DECOY not in READ[name], "something reads every field, so that none is missed"
