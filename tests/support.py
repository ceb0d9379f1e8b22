"""What several tests share: the tiny AGAVE and images for it."""

import functools

import jax
import numpy as np

from configs import agave
from gm_jax import cpu, methods
from gm_jax.data import image_spec
from gm_jax.nn.noise import Noise
from gm_jax.state import evaluation_variables

SHAPE, LEVELS = (8, 8, 1), 17
SPEC = image_spec(SHAPE, LEVELS)  # of the digits, without their labels
LABELLED = image_spec(SHAPE, LEVELS, 10)


def smoke_config(**model):
    """The smoke config under plain SGD, which hides no constant factor of a gradient."""
    config = agave.get_config("smoke").unlock()
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 1e-4
    config.model.update(model)
    return config.lock()


@functools.cache
def smoke_method():
    return methods.create(smoke_config(), SPEC)


def images(count, seed=0, shape=SHAPE, levels=LEVELS):
    return np.random.default_rng(seed).integers(0, levels, (count, *shape)).astype(np.uint8)


def noise_of(key, count):
    """Noise of the examples 0..count−1."""
    return Noise(key, np.arange(count, dtype=np.int32))


@functools.cache
def smoke_state():
    """Host copy of an initial state (train steps donate theirs)."""
    batch = {"image": images(16)}
    return jax.device_get(jax.jit(smoke_method().init)(jax.random.key(1), batch))


def randomized(variables, seed=0):
    """Variables of a network with batch norm away from their initial values: nothing is 0 or 1."""
    generator = np.random.default_rng(seed)

    def move(path, leaf):
        noise = generator.normal(size=leaf.shape).astype(np.float32)
        if path[-1].key == "variance":
            return np.exp(0.5 * noise)
        return 0.3 * noise if path[0].key == "batch_stats" else np.asarray(leaf) + 0.3 * noise

    return jax.tree_util.tree_map_with_path(move, variables)


def zeros_like(shapes):
    """Zeros in the shapes of `jax.eval_shape`: an initialisation that compiles nothing."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def random_variables(method, batch):
    """Variables of all networks, away from their initial values; nothing is compiled."""
    start = jax.eval_shape(method.init, jax.random.key(0), batch)
    return randomized(zeros_like(evaluation_variables(start)))


def jacobian_log_det(function, x):
    """ln|det| of the autodiff Jacobian of a map of one example x [1, ...], in nats."""
    jacobian = jax.jit(jax.jacfwd(lambda flat: function(flat.reshape(x.shape)).ravel()))(x.ravel())
    sign, log_det = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    assert sign != 0
    return log_det


def optimized(jitted, **options):
    """A compiled function with optimization, which the tests switch off: for long trainings."""
    compiler_options = cpu.known_options({"xla_backend_optimization_level": 2})
    return jax.jit(jitted.__wrapped__, compiler_options=compiler_options, **options)
