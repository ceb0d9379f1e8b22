"""A stack returns what was pushed, in as many bits as its masses say."""

import numpy as np
import pytest

from gm_jax.coding.stack import Stack, from_bytes, random_words, to_bytes


def masses(count, size=17, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(size), count)


def drawn(given, seed=1):
    uniform = np.random.default_rng(seed).random(len(given))
    return (given.cumsum(-1) < uniform[:, None]).sum(-1).clip(max=given.shape[-1] - 1)


def test_symbols_cost_minus_the_logarithm_of_their_masses():
    given = masses(5_000)
    symbols, stack = drawn(given), Stack()
    stack.push(symbols, given)
    bits = -np.log2(given[np.arange(5_000), symbols]).sum()
    assert 8 * len(to_bytes(stack.words())) == pytest.approx(bits, abs=64)
    np.testing.assert_array_equal(Stack(stack.words()).pop(given), symbols)


def test_symbols_without_mass_are_coded_too():
    given = np.zeros((9, 256))
    given[:, 3] = 1
    stack = Stack()
    stack.push(np.arange(9), given)
    np.testing.assert_array_equal(Stack(stack.words()).pop(given), np.arange(9))


def test_what_was_popped_is_pushed_back_without_a_trace():
    """The bits of symbols that are popped first are those that their being pushed costs."""
    first, second, bottom = masses(100), masses(300, seed=2), random_words(500)
    stack = Stack(bottom)
    popped, pushed = stack.pop(first), drawn(second)
    stack.push(pushed, second)
    content = stack.words()
    assert len(content) < 100  # words that were not reached are not part of it
    back = Stack(from_bytes(to_bytes(content)))
    np.testing.assert_array_equal(back.pop(second), pushed)
    back.push(popped, first)
    again = back.words()
    np.testing.assert_array_equal(again, bottom[-len(again) :])


def test_a_stack_knows_that_it_was_emptied():
    stack = Stack(random_words(4))
    stack.pop(masses(3))
    assert not stack.emptied
    stack.pop(masses(100))
    assert stack.emptied and not Stack().emptied


def test_a_payload_that_is_no_words_is_refused():
    with pytest.raises(ValueError, match="the payload cannot be read"):
        from_bytes(b"12345")
