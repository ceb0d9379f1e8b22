"""What a script tells each of the runs that it compares."""

from gm_jax import sweep


def test_a_model_is_not_told_of_fields_that_it_has_not(capsys):
    overrides = ["--config.train.steps=7", "--config.model.warmup_steps=3"]
    known = {
        model: sweep.known_overrides(f"adaptive_density.py:{model},smoke", overrides)
        for model in ("gan", "vae", "av_ade")
    }
    assert known == {"gan": overrides[:1], "vae": overrides[:1], "av_ade": overrides}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "gan,smoke has no field model.warmup_steps" in said[0]
