"""The values that a config may hold: the range and meaning of every field, in one table.

`check` refuses values out of range before anything is built. `docs/fields.md` shows this table.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Numbers from `least` to `most`; `above` and `below` exclude these ends."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number is in the range; it must be finite."""
        finite = isinstance(value, int) or math.isfinite(value)  # some integers are no floats
        if not finite or (self.whole and value != int(value)):
            return False
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return low and high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a finite number"
        low = f"{'above' if self.above else 'from'} {self.least:,}"
        high = f"{'below' if self.below else 'to'} {self.most:,}"
        if math.isinf(self.least):
            return kind
        if math.isinf(self.most):
            return f"{kind} {low}{'' if self.above else ' on'}"
        return f"{kind} {low} {high}"


class Choice(NamedTuple):
    """Names to choose among."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


ANY = Range()
COUNT = Range(1, whole=True)
FROM_NONE = Range(0, whole=True)
POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
FRACTION = Range(0, 1, below=True)
FACTOR = Range(0, 1, above=True)
SEED = Range(0, 2**32 - 1, whole=True)

# (field or pattern of fields, range, meaning). The first entry that matches a field applies. Every
# element of a tuple must be in the range.
TABLE: tuple[tuple[str, Range | Choice, str], ...] = (
    ("seed", SEED, "seeds all randomness of a run"),
    ("data.batch_size", COUNT, "examples per update, on all devices together"),
    ("data.resize", FROM_NONE, "side of the images in pixels; 0 keeps their size"),
    ("data.crop", Choice(("none", "center")), "`center` takes the largest central square"),
    ("train.parallel", Choice(("shard_map", "pmap", "jit")), "how devices share a batch"),
    ("train.accumulate_steps", COUNT, "parts of a batch, of which one at a time is in memory"),
    ("train.profile_steps", FROM_NONE, "steps of a profiler trace; 0: none"),
    ("train.*", COUNT, "numbers of steps, and of images to initialise on"),
    (
        "evaluate.recalibration_batches",
        FROM_NONE,
        "training batches for the moments of batch norms; 0: their running averages",
    ),
    ("evaluate.*", COUNT, "images at once, images to reconstruct or translate, draws per image"),
    ("sample.temperature", NOT_NEGATIVE, "scales deviations and divides the logits of mixtures"),
    ("sample.*", COUNT, "images, and images at once"),
    (
        "optimizer.learning_rate",
        POSITIVE,
        "learning rate; it and all below may be a section {player: value}",
    ),
    ("optimizer.learning_rate_decay", FACTOR, "multiplies the learning rate at each step"),
    ("optimizer.decay_steps", COUNT, "steps after which `decay_factor` applies"),
    ("optimizer.linear_decay_steps", FROM_NONE, "steps until the rate is 0; 0: no such decay"),
    ("optimizer.linear_decay_start", FROM_NONE, "step from which that decay falls"),
    ("optimizer.cosine_decay_steps", FROM_NONE, "steps until a cosine is 0; 0: no such decay"),
    ("optimizer.warmup_steps", FROM_NONE, "steps until the rate is whole; 0: from the first on"),
    ("optimizer.decay_factor", FACTOR, "multiplies the rate after each of `decay_steps`"),
    ("optimizer.momentum", FRACTION, "share of the old average"),
    ("optimizer.beta?", FRACTION, "share of the old average"),
    ("optimizer.epsilon*", NOT_NEGATIVE, "added to the root, or inside it (`epsilon_root`)"),
    ("optimizer.clip_norm", NOT_NEGATIVE, "length to which longer gradients are cut; 0: never"),
    (
        "model.matmul_dtype",
        Choice(("float32", "tf32", "bfloat16")),
        "dtype of convolutions and products",
    ),
    ("model.*ema_decay", FRACTION, "share of the old parameter average; 0 keeps none"),
    ("model.codebook.decay", FRACTION, "share of the old running means"),
    ("model.codebook.reset_share", FRACTION, "usage, in means, under which a code starts anew"),
    ("model.*num_codes", COUNT, "vectors of a codebook"),
    ("model.*num_halvings", FROM_NONE, "convolutions that halve the resolution"),
    ("model.*batch_norm_decay", FRACTION, "share of the old running moments"),
    ("model.*batch_norm_epsilon", POSITIVE, "added to the variance"),
    ("model.*dropout_rate", FRACTION, "share of units that are dropped"),
    ("model.*slope", FRACTION, "slope of a leaky ReLU for negative inputs"),
    ("model.*logit_margin", Range(0, 0.5, above=True, below=True), "margin to 0 and 1"),
    ("model.*kernel_size", COUNT, "side of a convolution's kernel"),
    ("model.*pieces", COUNT, "linear pieces of a maxout unit; 1: a leaky ReLU"),
    ("model.*stride", COUNT, "of a convolution"),
    ("model.*downsampling", COUNT, "side of the squares that become one pixel"),
    ("model.*features", COUNT, "channels of hidden layers"),
    ("model.*widths", COUNT, "channels of each layer in turn"),
    ("model.*.layers", COUNT, "channels and stride of each convolution"),
    ("model.*layers", FROM_NONE, "number of layers, or channels and stride of each"),
    ("model.map_latents", FROM_NONE, "latent channels at each resolution below the top"),
    ("model.*num_latents", COUNT, "latents, or latent channels of a layer"),
    ("model.*top_latents", COUNT, "latents of the top layer"),
    ("model.*num_mixtures", COUNT, "logistics of a mixture"),
    ("model.*num_blocks", COUNT, "residual blocks per scale or network"),
    ("model.*num_scales", COUNT, "resolutions"),
    ("model.*init_range", POSITIVE, "kernels start uniform between minus this and this"),
    ("model.*num_dense_blocks", FROM_NONE, "residual blocks of dense networks at the end"),
    ("model.*limit", Range(0, 1, above=True, below=True), "largest singular value of a layer"),
    ("model.*_terms", FROM_NONE, "certain terms of a log-determinant; 0: it is exact"),
    ("model.*tolerance", POSITIVE, "bounds the error of a layer's inverse"),
    ("model.*num_steps", COUNT, "steps of a flow per scale"),
    ("model.interval", ANY, "ends of the interval that dequantised images fill"),
    ("model.*num_importance_samples", COUNT, "draws per image for the training bound"),
    ("model.*num_checkerboard", FROM_NONE, "checkerboard couplings per scale"),
    ("model.*num_channel", FROM_NONE, "channel couplings per scale"),
    ("model.*num_last", COUNT, "couplings of the last scale"),
    ("model.pool_size", COUNT, "past samples that a critic may see again"),
    ("model.*num_couplings", COUNT, "couplings of the noise that dequantises"),
    ("model.*num_heads", COUNT, "heads of attention; the channels are a multiple of it"),
    ("model.*critic_steps", COUNT, "critic updates per generator update"),
    ("model.*generator_steps", COUNT, "generator updates per encoder update"),
    ("model.*samples_per_image", COUNT, "generator samples per critic image"),
    ("model.*num_down", FROM_NONE, "blocks that halve the resolution"),
    ("model.*weight_clip", POSITIVE, "c of the box [−c, c] that clipped weights stay in"),
    ("model.*warmup_steps", FROM_NONE, "steps without an adversarial loss"),
    ("model.*until_step", Range(-1, whole=True), "step until which a loss applies; −1: always"),
    ("model.*levels", Range(0, 256, whole=True), "levels of a pixel; 0: as in the data"),
    ("model.*crop_size", FROM_NONE, "side of the random crops; 0: none"),
    ("model.weight_decay", NOT_NEGATIVE, "weight w of ½w‖θ‖² of a network; 0 omits it"),
    ("model.*weight", NOT_NEGATIVE, "weight of a loss term; 0 omits it"),
    ("model.gamma", Range(0, 0.5), "p* is uniform on [0, γ] ∪ [1 − γ, 1]"),
    ("model.mixup", Range(0, 1), "largest weight of the other kind in an average"),
    ("model.reduction", Choice(("bgan", "m_bgan")), "of a batch's loss (Eqs. 4.13, 4.14)"),
    ("model.targets.?", ANY, "target logit for samples (a, c) or data (b)"),
    ("model.*penalty", NOT_NEGATIVE, "weight of a penalty; 0 omits it"),
    ("model.*length", FROM_NONE, "layers of a flow; 0: none"),
    ("model.*annealing_steps", FROM_NONE, "steps until a weight is 1; 0: it is 1"),
    ("model.kl_start", Range(0, 1), "weight of the KL at the first step"),
    ("model.window", FROM_NONE, "rows and columns that a decoder sees; none: all before a pixel"),
    ("model.soft_free_bits", NOT_NEGATIVE, "nats near which a layer's KL is held; 0: not at all"),
    ("model.soft_rate", POSITIVE, "share by which the weight of a layer's KL changes in a step"),
    ("model.*free_bits", NOT_NEGATIVE, "free nats per latent channel"),
    ("model.*_std", ANY, "standard deviation, or its initial logarithm (`init_log_std`)"),
    ("model.*log_scale", ANY, "logarithm of a minimum or initial scale"),
    (
        "model.*scale",
        NOT_NEGATIVE,
        "scale of a residual, a flow's step, initial outputs or a prior",
    ),
    ("model.*exponent", FRACTION._replace(below=False), "exponent of the initial gain"),
)


def check(config: Mapping[str, Any]) -> None:
    """Refuses meaningless values in the fields that TABLE knows.

    In other fields, such as those of your own pages, numbers must be finite.

    Raises:
      ValueError: a value is out of range.
    """
    for field, value in fields_of(config):
        known = entry(field)
        for element in _elements(value):
            range_, meaning = (ANY, "") if known is None else (known[1], f" ({known[2]})")
            named = isinstance(element, str) and not isinstance(range_, Choice)
            if not (named or isinstance(element, bool) or range_.holds(element)):
                raise ValueError(f"{field} is {value!r}; give {range_}{meaning}")


def checked_seed(seed: int) -> int:
    """A seed that is given beside a config; `ValueError` for one that JAX would wrap around."""
    if not SEED.holds(seed):
        raise ValueError(f"seed is {seed}; give {SEED}")
    return seed


def entry(field: str) -> tuple[str, Range | Choice, str] | None:
    """The entry of TABLE for a field such as "model.vae.features", or None.

    A field of an optimizer that has a value for each player has the entry of one for all.
    """
    found = next((known for known in TABLE if fnmatch.fnmatchcase(field, known[0])), None)
    if found is None and field.startswith("optimizer.") and field.count(".") == 2:
        return entry(field.rpartition(".")[0])
    return found


def fields_of(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (name, value) for every field of a config."""
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from fields_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def documented() -> str:
    """The table as Markdown."""
    rows = [f"| `{pattern}` | {range_} | {meaning} |" for pattern, range_, meaning in TABLE]
    return "\n".join(["| field | range | meaning |", "|---|---|---|", *rows]) + "\n"


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for element in value:
            yield from _elements(element)
    elif value is not None:
        yield value
