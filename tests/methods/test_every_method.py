"""What holds for every method, over the smoke variant of every page.

A page's first model has the whole battery; its further models (MORE) only devices and resuming. A
new method adds a line to PAGES and has its mathematics alone in a file of its own.
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
import optax
import pytest
from ml_collections import ConfigDict

import gm_jax
from configs import adaptive_density, agave, classifier, gan_likelihood, pixelcnn, real_nvp, vae_iaf
from gm_jax import methods, session
from gm_jax.data import training_batches
from gm_jax.evaluation.likelihood import score_images
from gm_jax.evaluation.pictures import draw_reconstructions, draw_samples
from gm_jax.methods.player import in_order
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import Run, load_split, open_run, open_trained

PAGES = {
    "adaptive_density": (adaptive_density, "av_ade,smoke"),
    "agave": (agave, "smoke"),
    "classifier": (classifier, "smoke"),
    "gan": (adaptive_density, "gan,smoke"),
    "gan_likelihood": (gan_likelihood, "smoke"),
    "pixelcnn": (pixelcnn, "smoke"),
    "real_nvp": (real_nvp, "smoke"),
    "vae_iaf": (vae_iaf, "smoke"),
}
MORE = {
    "av_ade+iaf+rd": (adaptive_density, "av_ade+iaf+rd,smoke"),
    "av_gde": (adaptive_density, "av_gde,smoke"),
}
KEY = jax.random.key(7)
STEPS = 4
# Read by what runs a page elsewhere (`main.py`, the benchmark), not by a session.
READ_ELSEWHERE = {"train.deterministic", "variant"}
every_page = pytest.mark.parametrize("name", PAGES)
every_model = pytest.mark.parametrize("name", [*PAGES, *MORE])


def config_of(name, **changes):
    page, variant = {**PAGES, **MORE}[name]
    config = page.get_config(variant).unlock()
    if "frozen" in config:
        config.frozen.generator = str(folder_of("gan"))
    config.update_from_flattened_dict(changes)
    return config.lock()


class Recorder(ConfigDict):
    """A config that notes which of its fields are read."""

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


def fields_of(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from fields_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@functools.cache
def folder_of(name):
    """The work directory of two steps by the ordinary session, and what it read of its page."""
    folder = Path(tempfile.mkdtemp(prefix=f"gm_jax-{name}-")) / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        session.run(config_of(name), str(folder), "train")
    return folder


@functools.cache
def run_of(name):
    """The run, without a work directory; its method's optimizers record their gradients."""
    run = open_run(config_of(name), tempfile.mkdtemp())
    record = {player.name: recording(player.optimizer) for player in in_order(run.method.players)}
    run.method.players = tuple(with_optimizers(update, record) for update in run.method.players)
    return run


def with_optimizers(update, optimizers):
    if isinstance(update, tuple):
        return tuple(with_optimizers(player, optimizers) for player in update)
    return type(update)(**{**vars(update), "optimizer": optimizers[update.name]})


def recording(optimizer):
    """The optimizer, whose state also holds the last gradient: what plain SGD would go by."""

    def init(params):
        return optimizer.init(params), optax.tree.zeros_like(params)

    def update(gradient, state, params=None):
        updates, inner = optimizer.update(gradient, state[0], params)
        return updates, (inner, gradient)

    return optax.GradientTransformation(init, update)


@functools.cache
def start(name):
    """The state at step 0, on the host (train steps donate theirs)."""
    run = run_of(name)
    return jax.device_get(run.initial_state())


@functools.cache
def batches(name):
    run = run_of(name)
    config, per_step = run.config, run.method.batches_per_step
    given = training_batches(
        run.train_data, batch_size=config.data.batch_size, seed=0, batches_per_step=per_step
    )
    steps = [next(given) for _ in range(STEPS)]
    given.close()
    return steps


@functools.cache
def step_of(name, mode, num_devices):
    """The compiled step, which may be traced once, and its devices."""
    parallel = Parallel(mode, jax.devices()[:num_devices])
    method = run_of(name).method
    return parallel.train_step(chex.assert_max_traces(method.train_step, n=1)), parallel


def put(parallel, batch):
    if isinstance(batch, tuple):
        return tuple(map(parallel.put_training_batch, batch))
    return parallel.put_training_batch(batch)


@functools.cache
def trained(name, mode="jit", num_devices=1):
    """The states after each of STEPS steps, and the terms of each."""
    step, parallel = step_of(name, mode, num_devices)
    state, states, logged = jax.device_put(start(name), parallel.replicated), [], []
    for batch in batches(name):
        state, terms = step(state, put(parallel, batch), KEY)
        states.append(jax.device_get(state))
        logged.append(jax.device_get(terms))
    chex.clear_trace_counter()
    return states, logged


def length(tree):
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


def gradients(state):
    return {player: recorded[1] for player, recorded in state.opt_state.items()}


def check_same(name, mode, num_devices):
    """The first gradient, and four updates by the page's own optimizer, are those of one device."""
    alone, terms = trained(name)
    together, same_terms = trained(name, mode, num_devices)
    for player, gradient in gradients(alone[0]).items():
        scale = np.abs(gradient).max()
        other = gradients(together[0])[player]
        np.testing.assert_allclose(other, gradient, rtol=1e-4, atol=1e-5 * scale)
        assert scale > 1e-4
    chex.assert_trees_all_close(same_terms[0], terms[0], rtol=1e-4, atol=1e-5)
    for kind in ("params", "ema_params", "statistics"):
        for network, before in getattr(start(name), kind).items():
            ours, theirs = (getattr(states[-1], kind)[network] for states in (alone, together))
            moved = length(jax.tree.map(np.subtract, ours, before))
            apart = length(jax.tree.map(np.subtract, ours, theirs))
            assert apart <= 2e-3 * moved + 1e-6, (kind, network, apart, moved)


@every_model
def test_eight_devices_give_the_update_of_one(name):
    check_same(name, "shard_map", 8)


@pytest.mark.parametrize("name", ["classifier", "gan"])
def test_pmap_gives_the_update_of_one_device(name):
    """For these pages alone: pmap is jit of shard_map, and the step does not know which it is."""
    check_same(name, "pmap", 8)


@every_model
def test_four_steps_are_two_a_restore_and_two_more(name, tmp_path):
    """Each step is compiled once: a restored state is placed and typed as one that was trained."""
    run, (states, _) = run_of(name), trained(name)
    step, parallel = step_of(name, "jit", 1)
    given = training_batches(run.train_data, batch_size=run.config.data.batch_size, seed=0)
    template = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=parallel.replicated),
        start(name),
    )
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(2, jax.device_put(states[1], parallel.replicated), given)
        checkpoints.wait()
        state, at = checkpoints.restore(template, given)
    given.close()
    assert at == 2
    for batch in batches(name)[2:]:
        state, _ = step(state, put(parallel, batch), KEY)
    chex.assert_trees_all_equal(jax.device_get(state), states[-1])


@every_page
def test_every_network_of_a_player_moves_and_no_other(name):
    players = in_order(run_of(name).method.players)
    owned = {network for player in players for network in player.networks}
    after = trained(name)[0][-1]
    for network, before in start(name).params.items():
        moved = length(jax.tree.map(np.subtract, after.params[network], before))
        assert (moved > 0) == (network in owned), network
    assert all(int(failure[0]) == -1 for failure in after.failures.values())


@every_page
def test_the_terms_of_each_player_sum_to_its_loss(name):
    run, (_, logged) = run_of(name), trained(name)
    players, terms = in_order(run.method.players), logged[-1]
    for player in players:
        prefix = f"{player.name}/" if len(players) > 1 else ""
        shapes = jax.eval_shape(lambda p=player: losses(name, p))
        parts = [terms[prefix + term] for term in shapes.terms]
        np.testing.assert_allclose(terms[prefix + "loss"], sum(parts), rtol=1e-5, atol=1e-5)
        assert np.isfinite(parts).all()


def losses(name, player):
    variables = evaluation_variables(name)
    batch = batches(name)[0]
    batch = batch[player.batch] if isinstance(batch, tuple) else batch
    noise = methods.method.Noise(KEY, np.arange(len(batch["image"]), dtype=np.int32))
    return player.loss(variables, batch, noise, 0)


def evaluation_variables(name):
    return gm_jax.state.evaluation_variables(start(name))


@every_page
def test_a_session_leaves_what_the_method_offers(name):
    """Scores, samples, reconstructions; then the model loads without its images."""
    folder, model = folder_of(name), gm_jax.load(folder_of(name))
    offered = model._run.method.capabilities
    scores = json.loads((folder / "test.json").read_text())
    assert scores["step"] == 2 and ("bits_per_dim" in scores) == ("log_likelihood" in offered)
    for kind, capability in (("samples", "sample"), ("reconstructions", "reconstruct")):
        pictures = list((folder / kind).glob("best_step_*.png")) if (folder / kind).exists() else []
        assert bool(pictures) == (capability in offered)
    images = np.asarray(load_split(model.config.data, "test").images[:3])
    if "encode" in offered:
        decoded = model.decode(model.encode(images))
        assert decoded["image"].shape == images.shape
    assert "log_likelihood" not in offered or np.isfinite(model.log_likelihood(images)).all()


@every_page
def test_what_is_drawn_and_scored_depends_on_neither_batches_nor_devices(name):
    wide, narrow = (split_run(name, *split) for split in ((16, 8), (4, 1)))
    offered, variables = wide.method.capabilities, evaluation_variables(name)
    test = load_split(wide.config.data, "test").first(6)

    def results(run):
        if "sample" in offered:
            yield draw_samples(run, variables, 6, 1.0)
        if "reconstruct" in offered:
            yield draw_reconstructions(run, variables, test, 2)
        for kind in ("log_likelihood", "score"):
            if kind in offered:
                yield score_images(run, kind, getattr(run.method, kind), variables, test)

    for ours, theirs in zip(results(wide), results(narrow), strict=True):
        assert ours.keys() == theirs.keys()
        for what in ours:
            if ours[what].dtype == np.uint8:  # rounding moves a pixel to the next level at most
                assert np.mean(ours[what] != theirs[what]) < 0.01, what
            else:
                np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-4, atol=1e-4)


def split_run(name, batch_size, num_devices):
    """The run on some devices, with batches of some size."""
    run = open_trained(folder_of(name), batch_size)
    for section in {"evaluate", "sample"}.intersection(run.config):
        run.config[section].batch_size = batch_size
    parallel = Parallel("shard_map", jax.devices()[:num_devices])
    return Run(run.config, run.workdir, run.method, run.datasets, parallel)


@every_page
def test_every_field_of_the_page_is_read(name, tmp_path, monkeypatch):
    """By a session that trains; what none reads says something that is not so."""
    read, config = set(), config_of(name)
    recorder = Recorder(config, read)
    run = open_run(recorder, tmp_path / "run")
    asked = {"log_every_steps", "evaluate_every_steps", "checkpoint_every_steps", "steps"}
    del run, asked
    unread = set(fields_of(config)) - read - READ_ELSEWHERE
    assert not unread, unread
