"""A terminal shows bars and a file gets lines, from the first process only."""

import io
import sys
import time

import jax
import pytest

from gm_jax.training import progress
from gm_jax.training.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[0, 1])
def process(monkeypatch, request):
    monkeypatch.setattr(jax, "process_index", lambda: request.param)
    return request.param


def test_a_terminal_shows_bars(monkeypatch, process):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with ProgressBar(10, initial=4) as bar, progress.progress("samples", 9, " images") as more:
        bar.update(7, {"kl": 1.25, "bits_per_dim": 3.5}, images_per_second=1234.4)
        more.refresh()
    text = sys.stderr.getvalue()
    if process > 0:
        assert text == ""
        return
    assert "7/10 steps" in text and "left" in text and "samples:" in text
    assert "1234 images/s, bits_per_dim 3.5, kl 1.25" in text


def test_a_file_gets_a_line_a_logged_step(monkeypatch, process):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ProgressBar(10, initial=4) as bar:
        bar.update(6)
        bar.update(7, {"kl": 1.25, "bits_per_dim": 3.5}, images_per_second=1234.4)
    lines = sys.stderr.getvalue().splitlines()
    expected = ["step 7/10, 00:00 left, 1234 images/s, bits_per_dim 3.5, kl 1.25"]
    assert lines == ([] if process else expected)


def test_what_takes_long_says_that_it_lives(monkeypatch, process):
    monkeypatch.setattr(progress, "_SECONDS", 0.02)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.working("compiling"), progress.progress("samples", 9, " images") as lines:
        lines.update(3)
        time.sleep(0.2)
    said = sys.stderr.getvalue().splitlines()
    if process:
        assert said == []
        return
    assert said[0] == "compiling" and "samples: 3/9 images, 00:00 left" in said
    assert any(line.startswith("compiling: ") for line in said[1:])


def test_no_standard_error_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar(10) as bar, progress.progress("samples", 9, " images") as more:
        bar.update(7, {"kl": 1.0})
        more.update(2)
