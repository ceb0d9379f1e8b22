"""A trace covers the steps that are asked for, after those that compile."""

import jax
import jax.numpy as jnp
import pytest

from gm_jax.training.profile import Trace


def run(folder, steps, asked, stop_at=None):
    """Steps after which a trace was open."""
    step, state, traced = jax.jit(lambda x: x + 1), jnp.zeros(3), []
    with Trace(folder, asked) as trace:
        for number in range(1, steps + 1):
            state = step(state)
            trace.reached(number, state)
            if trace.is_open:
                traced.append(number)
            if number == stop_at:
                raise KeyboardInterrupt
    return traced


def test_a_trace_starts_after_ten_steps_and_is_written_at_its_end(tmp_path, capsys):
    assert run(tmp_path / "profile", 15, 3) == [10, 11, 12]
    (found,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert found.stat().st_size > 0 and "up to step 13" in capsys.readouterr().err
    assert run(tmp_path / "none", 15, 0) == [] and not (tmp_path / "none").exists()


def test_a_training_that_ends_earlier_writes_what_it_has(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "profile", 15, 100, stop_at=11)
    assert len([*(tmp_path / "profile").rglob("*.xplane.pb")]) == 1
    assert "as far as the training came" in capsys.readouterr().err
    run(tmp_path / "short", 5, 100)
    assert not (tmp_path / "short").exists()
