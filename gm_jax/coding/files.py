"""`--mode=compress` and `--mode=decompress`: images to a file, and back."""

import jax
import numpy as np
from etils import epath

from gm_jax import data
from gm_jax.coding.codec import Codec
from gm_jax.images import save_pngs, spread
from gm_jax.training.run import Run
from gm_jax.training.workdir import absolute, check_writable, write_bytes, write_npz


def compress(run: Run, source: str, output: str) -> None:
    """Compresses images with the best checkpoint of a run.

    Args:
      run: the run.
      source: SOURCE[:SPLIT]; without a split it is all, the only one or the test split.
      output: the file to write, `*.gmz`.

    Raises:
      ValueError: the method cannot be coded, the images are not like those of the run, or the
        output is no such file.
    """
    if not output.endswith(".gmz"):
        raise ValueError(f"--output={output}: give a file, *.gmz")
    path = _writable(output)
    codec, config = _codec(run), run.config.data
    name, split = data.source_and_split(source)
    options = {"resize": config.resize, "crop": config.crop, "cache_dir": config.cache_dir}
    found = data.load(name, split, **options)
    wanted = run.train_data.fields["image"]
    if found.fields.get("image") != wanted:
        raise ValueError(
            f"--input={source}: image is {found.fields.get('image', 'absent')}, and the run was "
            f"trained on {wanted}; give images like these"
        )
    images = np.asarray(found.arrays["image"])
    content = codec.compress(images)
    write_bytes(path, content)
    print(
        f"{len(images)} images in {output}: {len(content)} bytes, "
        f"{8 * len(content) / images.size:.4f} bits/dim"
    )


def decompress(run: Run, source: str, output: str) -> None:
    """Decompresses a file with the best checkpoint of a run; nothing is written if it is refused.

    Args:
      run: the run.
      source: the file, `*.gmz`.
      output: `*.npz` for an array that `data.source=npz:PATH` reads; or a folder for one PNG per
        image, with the levels spread over 0..255.

    Raises:
      ValueError: the file is damaged, or another model, program or machine wrote it; or the
        folder exists.
    """
    path = _writable(output)
    if path.suffix != ".npz" and path.exists():
        raise ValueError(f"--output={output} exists; give a new folder, or a file, *.npz")
    content = absolute(source).read_bytes()
    images, levels = _codec(run).decompress(content), run.method.levels
    if path.suffix == ".npz":
        write_npz(path, {"image": images, "levels": levels})
    else:
        save_pngs(path, spread(images, levels))
    print(f"{len(images)} images in {output}")


def _writable(output: str) -> epath.Path:
    """The path, if its folder can be written; a file that is there is replaced."""
    path = absolute(output)
    check_writable(path.parent)
    return path


def _codec(run: Run) -> Codec:
    if jax.process_count() > 1:
        raise ValueError("compression runs on one device: start one process")
    variables, _ = run.restore("best")
    return Codec(run.method, variables)
