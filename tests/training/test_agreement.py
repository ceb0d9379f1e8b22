"""What several processes agree on before they start; the others' answers are made up here."""

import json

import pytest

from gm_jax.training import agreement, parallel


@pytest.fixture
def answers(monkeypatch):
    """Answers of process 1, given after those of process 0, which this is."""
    given = []
    monkeypatch.setattr(agreement.jax, "process_count", lambda: 2)
    monkeypatch.setattr(agreement, "_gathered", lambda text: [text, given.pop(0)])
    return given


def test_other_code_is_refused_and_the_same_is_not(answers):
    ours = agreement.code()
    answers += [json.dumps(ours), json.dumps(ours | {"jax": "0.1"})]
    agreement.check_same("code", ours)
    with pytest.raises(ValueError, match=r'process 1 .* another code .*jax: "\d.*" -> "0.1" '):
        agreement.check_same("code", ours)


def test_all_refuse_what_one_refuses_with_its_reason(answers):
    answers += ["", "its disk is full", ""]
    with agreement.together():
        pass
    with (
        pytest.raises(ValueError, match="process 1 refuses: its disk is full"),
        agreement.together(),
    ):
        pass
    with pytest.raises(OSError, match="ours"), agreement.together():
        raise OSError("ours")


def test_one_process_asks_nobody(monkeypatch):
    monkeypatch.setattr(agreement, "_gathered", None)
    agreement.check_same("code", {})
    agreement.check_shared("nowhere")
    with agreement.together():
        pass


@pytest.mark.parametrize("given", [("nonsense", 1, 0), ("localhost:1", 2, 5)])
def test_processes_that_cannot_join_say_what_they_were_given(given):
    with pytest.raises(ValueError, match=rf"--coordinator={given[0]}.*--process_id={given[2]}: "):
        parallel.initialize(*given)
