"""Parts of the accelerator's report that measure speed; `parts.py` says what a part is.

JAX, gm_jax and PyTorch are imported by the parts alone: whoever reads the table needs none.
"""

import dataclasses
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.accelerator.parts import Given

Found = Iterator[dict[str, Any]]
BATCH = 64
STEPS_SECONDS = 8.0  # of repeated steps
# The PixelCNN of `agave.py:cifar10_small`.
SMALL = {"model.pixelcnn.num_blocks": 2, "model.pixelcnn.features": 96}


def device(given: "Given") -> Found:
    """The card, the versions, and what matrix products and copies reach at most."""
    import jax

    from experiments import measuring
    from gm_jax.training import agreement

    found = jax.devices()[0]
    versions = {"python": platform.python_version(), **agreement.code()}
    yield {"row": "card", "value": f"{len(jax.devices())} × {found.device_kind}"}
    yield from ({"row": name, "value": version} for name, version in versions.items())
    if shutil.which("nvidia-smi"):
        wanted = "driver_version,memory.total,power.limit,clocks.max.sm"
        command = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        yield {"row": wanted, "value": (done.stdout or done.stderr).strip()}
    size, count = (256, 2) if given.tiny else (8192, 10)
    for dtype, precision in (
        ("bfloat16", "highest"),
        ("float32", "tensorfloat32"),
        ("float32", "highest"),
    ):
        flops = measuring.matmul_flops_per_second(dtype, precision, size, count)
        yield {"row": f"{size}² product, {dtype}, {precision}, TFLOP/s", "value": flops / 1e12}
    num_bytes = 2**22 if given.tiny else 2**31
    copied = measuring.copy_bytes_per_second(num_bytes, count)
    yield {
        "row": f"−x of {num_bytes / 2**20:.0f} MiB, read and written, GB/s",
        "value": copied / 1e9,
    }


def data(given: "Given") -> Found:
    """Reads and decodes the images, which later parts find decoded."""
    start = time.perf_counter()
    run = given.open("pixelcnn.py:cifar10")
    yield {
        "row": given.source.partition(":")[0],
        **{split: len(images) for split, images in run.datasets.items()},
        "image": str(run.train_data.image_shape),
        "seconds": time.perf_counter() - start,
    }


@dataclasses.dataclass(frozen=True)
class Step:
    """The train step of a page."""

    page: str
    matmul_dtype: str = "bfloat16"
    batch_size: int = BATCH

    def __call__(self, given: "Given") -> Found:
        """Measures it on one batch; a share is that of a matrix product's speed."""
        from experiments import measuring
        from gm_jax.methods.method import matmul

        fields = {"model.matmul_dtype": self.matmul_dtype, "data.batch_size": self.batch_size}
        run = given.open(self.page, fields)
        config, key = run.config, run.keys["train"]
        images = config.data.batch_size * run.method.batches_per_step
        state, batch = measuring.drawn_state(run), measuring.first_batch(run)
        step, flops, compiling = measuring.compile_step(run, state, batch)
        row = f"{self.page} {self.matmul_dtype} {config.data.batch_size}"
        yield {
            "row": row,
            "compile_seconds": compiling,
            "gflop_per_step": flops / 1e9,
            "step_memory_megabytes": step.memory_analysis().temp_size_in_bytes / 1e6,
        }
        state, several = measuring.step_seconds(step, state, batch, key, 5)
        alone = sorted(several)[2]
        yield {"row": row, "awaited_step_milliseconds": 1e3 * alone}
        count = 5 if given.tiny else max(5, int(STEPS_SECONDS / alone))
        seconds = measuring.row_of_steps_seconds(step, state, batch, key, count)
        yield {
            "row": row,
            "step_milliseconds": 1e3 * seconds,
            "images_per_second": images / seconds,
            "tflop_per_second": flops / seconds / 1e12,
            "peak_memory_megabytes": measuring.peak_memory_bytes() / 1e6,
        }
        size, products = (256, 2) if given.tiny else (8192, 10)
        ceiling = measuring.matmul_flops_per_second(*matmul(config), size, products)
        yield {"row": row, "share": flops / seconds / ceiling}


@dataclasses.dataclass(frozen=True)
class TorchStep:
    """The train step of our `pixelcnn.py:cifar10` in PyTorch: bfloat16, or float32 on CPU."""

    compiled: bool

    def __call__(self, given: "Given") -> Found:
        """Measures it, after its number of parameters has been compared with ours."""
        os.environ["JAX_PLATFORMS"] = "cpu"  # leaves the card's memory to PyTorch
        import torch

        from experiments.peers import torch_pixelcnn as peer

        config = given.config("pixelcnn.py:cifar10", {"data.batch_size": BATCH})
        ours, batch_size = config.model.pixelcnn, config.data.batch_size
        names = ("num_scales", "num_blocks", "features", "num_mixtures", "dropout_rate")
        on = "cuda" if torch.cuda.is_available() else "cpu"
        network = peer.PixelCNN(**{name: ours[name] for name in names})
        count, expected = network.num_parameters(), size_of_pixelcnn(ours)
        if count != expected:
            raise ValueError(f"PyTorch's network has {count} parameters, ours {expected}")
        network = network.to(on, memory_format=torch.channels_last)
        side = 16 if given.tiny else 32
        images = torch.randint(0, 256, (batch_size, peer.CHANNELS, side, side), device=on)
        images = (images / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        dtype = torch.bfloat16 if on == "cuda" else torch.float32
        step = peer.train_step(network, dtype, self.compiled)

        def seconds_of(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                loss = step(images)
            loss.item()  # awaits them all
            return (time.perf_counter() - start) / steps

        row = f"torch {torch.__version__}, {'compiled' if self.compiled else 'eager'}, {on}"
        yield {"row": row, "parameters": count, "first_step_seconds": seconds_of(1)}
        one = seconds_of(3)
        seconds = seconds_of(3 if given.tiny else max(5, int(STEPS_SECONDS / one)))
        yield {
            "row": row,
            "step_milliseconds": 1e3 * seconds,
            "images_per_second": batch_size / seconds,
        }
        if on == "cuda":
            yield {"row": row, "peak_memory_megabytes": torch.cuda.max_memory_allocated() / 1e6}


def size_of_pixelcnn(fields: Any) -> int:
    """The number of parameters of our PixelCNN on RGB images; nothing is computed."""
    import jax
    import jax.numpy as jnp

    from gm_jax.networks.pixelcnn import PixelCNN
    from gm_jax.nn.weight_norm import num_parameters

    side = 2 ** (fields["num_scales"] - 1)
    arguments = jnp.zeros((1, side, side, 3)), jnp.zeros(1, jnp.int32)
    return num_parameters(jax.eval_shape(PixelCNN(**fields).init, jax.random.key(0), *arguments))


def sampling(given: "Given") -> Found:
    """Draws the same images with a pass for every pixel, and with the cached sampler."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import measuring
    from gm_jax import distributions
    from gm_jax.nn.noise import keyed
    from gm_jax.state import evaluation_variables

    fields = {"model.matmul_dtype": "bfloat16", "sample.sampler": "cached"}
    run = given.open("pixelcnn.py:cifar10", fields | ({} if given.tiny else SMALL))
    method, network = run.method, run.method.pixelcnn
    height, width, _ = shape = method.image_shape
    batch = {"index": np.arange(2 if given.tiny else BATCH, dtype=np.int32)}

    def cached(variables: Any, batch: Any, noise: Any) -> Any:
        return method.draw(variables, noise, None, 1.0)["image"]

    def naive(variables: Any, batch: Any, noise: Any) -> Any:
        drawn_by = method.pixels.noise(noise, shape)

        def draw_pixel(number: Any, x: Any) -> Any:
            parameters = network.apply(variables["pixelcnn"], x, noise.index)
            drawn = method.pixels.draw(parameters, drawn_by, 1.0)
            at = (0, number // width, number % width, 0)
            pixel = jax.lax.dynamic_slice(drawn, at, (len(x), 1, 1, shape[2]))
            return jax.lax.dynamic_update_slice(x, pixel, at)

        start = jnp.zeros((len(noise.index), *shape))
        return distributions.quantize(
            jax.lax.fori_loop(0, height * width, draw_pixel, start), method.levels
        )

    variables = evaluation_variables(measuring.drawn_state(run))
    images = {}
    for name, function in {"naive": naive, "cached": cached}.items():
        program = run.parallel.per_example(keyed(function))
        images[name], first = measuring.timed(program, variables, batch, run.keys["sample"])
        _, seconds = measuring.timed(program, variables, batch, run.keys["sample"])
        yield {
            "row": name,
            "batch": len(batch["index"]),
            "compile_seconds": first - seconds,
            "seconds": seconds,
            "images_per_second": len(batch["index"]) / seconds,
        }
    same = float(np.mean(images["naive"] == images["cached"]))
    yield {"row": "cached", "values_equal_to_naive": same}


def pipeline(given: "Given") -> Found:
    """The rate of the data pipeline alone."""
    from experiments import measuring

    for batch_size in (BATCH, 4 * BATCH):
        fields = {"data.batch_size": batch_size, "data.flip": True}
        run = given.open("pixelcnn.py:cifar10", fields)
        rate = measuring.pipeline_images_per_second(run, 50 if given.tiny else 2_000)
        yield {"row": f"batch {run.config.data.batch_size}", "images_per_second": rate}
