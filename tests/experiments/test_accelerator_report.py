"""The report on an accelerator: whatever its parts do, it ends in time and says what became of it.

The parts are real processes; PyTorch's network is compared with ours where PyTorch is installed.
"""

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from threading import Event

import jax
import numpy as np
import pytest
from PIL import Image

from configs import pixelcnn as page
from experiments import accelerator_report
from experiments.accelerator import running, speeds, table
from experiments.accelerator.parts import PARTS, Part
from gm_jax import data, distributions
from gm_jax.networks.pixelcnn import PixelCNN
from tests.support import images, randomized, zeros_like

PRINTS = 'print(\'{"row": "%s", "speed": 2.5}\', flush=True)'
SLEEPS = "import time; time.sleep(60)"


def part(code, seconds=20.0):
    return Part("Speeds", (sys.executable, "-c", code), seconds)


def outcomes(parts, folder, seconds=60):
    running.run_parts(parts, [], folder, time.monotonic() + seconds, os.environ, Event())
    return {each["part"]: each for each in table.read(folder) if "outcome" in each}


def report(folder, *flags):
    """Starts the program, on CPU."""
    program = [sys.executable, accelerator_report.__file__, "--tiny", "--data=digits"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.Popen(
        [*program, f"--output={folder}", *flags], env=environment, stderr=subprocess.PIPE, text=True
    )


def test_a_part_that_fails_or_exceeds_its_limit_leaves_its_numbers_and_the_next_follows(tmp_path):
    found = outcomes(
        {
            "fails": part(f"{PRINTS % 'a'}; 1 / 0"),
            "endless": part(f"{PRINTS % 'b'}; {SLEEPS}", seconds=2.0),
            "good": part(PRINTS % "c"),
        },
        tmp_path,
    )
    assert [found[name]["outcome"] for name in found] == ["failed", "out of time", "done"]
    assert "ZeroDivisionError" in found["fails"]["last_lines"]
    text = (tmp_path / "report.md").read_text()
    assert all(f"| {row} | 2.5 |" in text for row in "abc") and "ZeroDivisionError" in text


def test_a_part_ends_with_all_that_it_started(tmp_path):
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', '{SLEEPS}']); "
    code += "print('{\"pid\": %d}' % p.pid, flush=True); p.wait()"
    assert outcomes({"parent": part(code, 2.0)}, tmp_path)["parent"]["outcome"] == "out of time"
    command = Path(f"/proc/{table.read(tmp_path)[0]['pid']}/cmdline")
    end = time.monotonic() + 10
    while time.monotonic() < end and command.exists() and command.read_bytes():  # a zombie has none
        time.sleep(0.05)
    assert not command.exists() or not command.read_bytes()


def test_a_part_that_ends_well_when_it_is_asked_to_is_done(tmp_path):
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    assert outcomes({"part": part(code + SLEEPS, 2.0)}, tmp_path)["part"]["outcome"] == "done"


def test_all_parts_end_before_the_deadline_even_those_that_ignore_signals(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "GRACE", 1.0)
    deaf = part(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}", 4.0)
    start = time.monotonic()
    found = outcomes({"first": deaf, "second": deaf, "third": deaf}, tmp_path, seconds=9.0)
    assert time.monotonic() - start < 9.5
    assert sum(each.get("limit", 0) for each in found.values()) <= 9.0
    assert [each["outcome"] for each in found.values()] == [*["out of time"] * 2, "no time left"]


def test_the_next_call_runs_what_is_not_done(tmp_path):
    counts = f"open(r'{tmp_path}/count', 'a').write('x'); "
    parts = {"good": part(counts), "bad": part(counts + "1 / 0")}
    outcomes(parts, tmp_path)
    outcomes(parts, tmp_path)
    assert (tmp_path / "count").read_text() == "xxx"


def test_a_signal_ends_the_program_with_its_report(tmp_path):
    process = report(tmp_path, "--parts=device")
    assert "device: at most 40 s" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert "| device | interrupted |" in (tmp_path / "report.md").read_text()


def test_the_program_measures_the_device_and_refuses_unknown_parts(tmp_path):
    process = report(tmp_path, "--parts=device", "--minutes=2")
    process.communicate(timeout=120)
    values = {each["row"]: each["value"] for each in table.read(tmp_path) if "row" in each}
    assert values["jax"] == jax.__version__
    speed = [value for name, value in values.items() if "/s" in name]
    assert len(speed) == 4 and min(speed) > 0
    with pytest.raises(ValueError, match="no part begins with 'stepp'"):
        accelerator_report.chosen(PARTS, "device,stepp")


def test_packed_wheels_are_installed_unless_they_are_there(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("gm_jax_packed", "numpy"):
        about = f"{name}-9.9.dist-info"
        texts = {
            f"{name}/__init__.py": "",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
            f"{about}/RECORD": "",
        }
        with zipfile.ZipFile(wheels / f"{name}-9.9-py3-none-any.whl", "w") as wheel:
            for path, text in texts.items():
                wheel.writestr(path, text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = accelerator_report.prepare(tmp_path, wheels)["PYTHONPATH"].split(os.pathsep)
    assert path[1] == str(tmp_path / "site")
    assert sorted(os.listdir(path[1])) == ["gm_jax_packed", "gm_jax_packed-9.9.dist-info"]


def test_a_zip_of_pictures_becomes_one_file_with_splits_and_classes(tmp_path):
    pixels = images(4, shape=(4, 4, 3), levels=256)
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        for n, name in enumerate(["train/cat/0", "train/dog/1", "test/dog/2", "test/cat/3"]):
            file = io.BytesIO()
            Image.fromarray(pixels[n]).save(file, "PNG")
            archive.writestr(f"{name}.png", file.getvalue())
    source = accelerator_report.as_source(str(tmp_path / "few.zip"), tmp_path)
    for split, numbers, classes in (("train", [0, 1], [0, 1]), ("test", [2, 3], [1, 0])):
        found = data.load(source, split, cache_dir=str(tmp_path / "cache"))
        np.testing.assert_array_equal(found.images, pixels[numbers])
        assert list(found.labels) == classes and found.classes == ("cat", "dog")


def test_pytorchs_network_has_our_parameters_and_computes_what_ours_computes():
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency of gm_jax")
    from experiments.peers import torch_pixelcnn as peer

    names = ("num_scales", "num_blocks", "features", "num_mixtures", "dropout_rate")
    published = page.get_config("cifar10").model.pixelcnn
    with torch.device("meta"):
        large = peer.PixelCNN(**{name: published[name] for name in names})
    assert large.num_parameters() == speeds.size_of_pixelcnn(published)
    fields = {**published, "num_scales": 2, "num_blocks": 1, "features": 6, "num_mixtures": 3}
    ours, index = PixelCNN(**fields), np.arange(2, dtype=np.int32)
    x = distributions.scale_to_unit(images(2, shape=(8, 8, 3), levels=256), 256)
    x = x.at[0, :2].set(-1.0).at[0, 2:4].set(1.0)  # both ends of the levels
    variables = randomized(zeros_like(jax.eval_shape(ours.init, jax.random.key(0), x, index)))
    expected = jax.jit(ours.apply)(variables, x, index)
    network = peer.PixelCNN(**{name: fields[name] for name in names}).eval()
    network.load(variables["params"])
    given = torch.tensor(np.asarray(x).transpose(0, 3, 1, 2))
    with torch.no_grad():
        parameters = network(given)
        log_prob = peer.log_prob(given, parameters)
    np.testing.assert_allclose(parameters.numpy().transpose(0, 2, 3, 1), expected, atol=1e-5)
    expected = distributions.discretized_logistic_mixture_log_prob(x, expected).sum((1, 2))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
