"""The numbers that a config may hold: every field's range and meaning, in one table.

`check` refuses what is out of range before anything is built. `docs/fields.md` is this table.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Numbers from `least` to `most`; `above` and `below` leave these ends out."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number is one of them; none that is not finite is."""
        if not math.isfinite(value) or (self.whole and value != int(value)):
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

# (field, or a pattern of fields; range; meaning). The first that matches a field counts. Of a
# tuple every element is in the range.
TABLE: tuple[tuple[str, Range | Choice, str], ...] = (
    ("seed", SEED, "of all that is random in a run"),
    ("data.batch_size", COUNT, "examples of an update, on all devices together"),
    ("data.resize", FROM_NONE, "side of the images in pixels; 0 keeps their size"),
    ("data.crop", Choice(("none", "center")), "the largest central square, or the whole image"),
    ("train.parallel", Choice(("shard_map", "pmap", "jit")), "how devices share a batch"),
    ("train.*", COUNT, "numbers of steps and, to initialise on, of images"),
    ("evaluate.*", COUNT, "images at once, images to reconstruct, draws of each"),
    ("sample.temperature", NOT_NEGATIVE, "scales deviations, divides the logits of mixtures"),
    ("sample.*", COUNT, "images, and images at once"),
    ("optimizer.learning_rate", POSITIVE, "at the first step"),
    ("optimizer.learning_rate_decay", FACTOR, "of the learning rate, a step"),
    ("optimizer.decay_steps", COUNT, "after which the learning rate takes `decay_factor`"),
    ("optimizer.linear_decay_steps", FROM_NONE, "after which the rate is 0; 0: no such decay"),
    ("optimizer.decay_factor", FACTOR, "of the learning rate, after each of `decay_steps`"),
    ("optimizer.momentum", FRACTION, "share of the old average"),
    ("optimizer.beta?", FRACTION, "share of the old average"),
    ("optimizer.epsilon*", NOT_NEGATIVE, "beside the root, or within it (`epsilon_root`)"),
    ("optimizer.clip_norm", NOT_NEGATIVE, "to which longer gradients are shortened; 0: never"),
    ("model.matmul_dtype", Choice(("float32", "tf32", "bfloat16")), "of convolutions and products"),
    ("model.*ema_decay", FRACTION, "share of the old average of the parameters; 0 keeps none"),
    ("model.*batch_norm_decay", FRACTION, "share of the old running moments"),
    ("model.*batch_norm_epsilon", POSITIVE, "beside the variance"),
    ("model.*dropout_rate", FRACTION, "of the units that are dropped"),
    ("model.*slope", FRACTION, "of a leaky ReLU where its input is negative"),
    ("model.*logit_margin", Range(0, 0.5, above=True, below=True), "between pixels and 0 or 1"),
    ("model.*kernel_size", COUNT, "side of a convolution's kernel"),
    ("model.*stride", COUNT, "of a convolution"),
    ("model.*downsampling", COUNT, "side of the squares of pixels that become one"),
    ("model.*features", COUNT, "channels of hidden layers"),
    ("model.*widths", COUNT, "channels of one layer after the other"),
    ("model.*layers", FROM_NONE, "layers, or channels and stride of each"),
    ("model.*num_latents", COUNT, "latents, or latent channels of a layer"),
    ("model.*top_latents", COUNT, "latents of the top layer"),
    ("model.*num_mixtures", COUNT, "logistics of a mixture"),
    ("model.*num_blocks", COUNT, "residual blocks, of a scale or a network"),
    ("model.*num_scales", COUNT, "resolutions"),
    ("model.*num_importance_samples", COUNT, "draws an image of the bound that is trained on"),
    ("model.*num_checkerboard", FROM_NONE, "couplings of a scale that split as a checkerboard"),
    ("model.*num_channel", FROM_NONE, "couplings of a scale that split the channels"),
    ("model.*num_last", COUNT, "couplings of the last scale"),
    ("model.*critic_steps", COUNT, "updates of the critic for one of the generator"),
    ("model.*samples_per_image", COUNT, "of the generator's update for an image of the critic's"),
    ("model.*num_down", FROM_NONE, "blocks that halve the resolution"),
    ("model.*weight_clip", POSITIVE, "half the side of the box in which clipped weights stay"),
    ("model.*warmup_steps", FROM_NONE, "steps without an adversarial loss"),
    ("model.*until_step", Range(-1, whole=True), "the last step of a loss; −1: never ends"),
    ("model.*levels", Range(0, 256, whole=True), "of a pixel; 0: as the data"),
    ("model.*crop_size", FROM_NONE, "side of the random crops; 0: none"),
    ("model.*weight", NOT_NEGATIVE, "of a loss term; 0 leaves it out"),
    ("model.targets.?", ANY, "logit to which a player draws samples (a, c) or data (b)"),
    ("model.*penalty", NOT_NEGATIVE, "weight of a penalty; 0 leaves it out"),
    ("model.*free_bits", NOT_NEGATIVE, "nats of a latent channel that cost nothing"),
    ("model.*_std", ANY, "a deviation, or (`init_log_std`) the logarithm of the first one"),
    ("model.*log_scale", ANY, "logarithm of a scale: the least one, or the first"),
    ("model.*scale", NOT_NEGATIVE, "of a residual, of a flow's step, of outputs at the start"),
    ("model.*exponent", FRACTION._replace(below=False), "of the first gain (`init_exponent`)"),
)


def check(config: Mapping[str, Any]) -> None:
    """Refuses numbers that mean nothing, in fields that TABLE knows.

    Elsewhere, as in a page of one's own, numbers have to be finite.

    Raises:
      ValueError: with the field, its value and its range.
    """
    for field, value in fields_of(config):
        known = entry(field)
        for element in _elements(value):
            range_, meaning = (ANY, "") if known is None else (known[1], f" ({known[2]})")
            named = isinstance(element, str) and not isinstance(range_, Choice)
            if not (named or isinstance(element, bool) or range_.holds(element)):
                raise ValueError(f"{field} is {value!r}; give {range_}{meaning}")


def entry(field: str) -> tuple[str, Range | Choice, str] | None:
    """The entry of TABLE of a field such as "model.vae.features", or None."""
    return next((known for known in TABLE if fnmatch.fnmatchcase(field, known[0])), None)


def fields_of(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every field of a config whose value holds numbers or names."""
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
