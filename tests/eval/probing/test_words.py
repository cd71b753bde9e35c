"""Changed instructions: how many words are missing, moved or mistyped."""

from collections import Counter

import numpy as np
import pytest

from eval.episodes.plan import EpisodeSpec
from eval.probing.words import Words, leave_out_words, mistype, reorder_words

TEXT = "put the red cube on the green target now please"
WORDS = TEXT.split()


def streams(count=50):
    return [np.random.default_rng(seed) for seed in range(count)]


def distance(one, other):
    """Return the smallest number of inserted, deleted and replaced letters between two texts (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row, before = [i], row
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@pytest.mark.parametrize(("percent", "left"), [(20, 8), (40, 6), (60, 4), (80, 2), (100, 0)])
def test_a_share_of_the_words_is_missing(percent, left):
    found = {leave_out_words(TEXT, percent, stream) for stream in streams()}
    for text in found:
        assert len(text.split()) == left
        assert not Counter(text.split()) - Counter(WORDS)
        places = [WORDS.index(word) for word in text.split() if word != "the"]
        assert places == sorted(places)
    assert percent == 100 or len(found) > 5


@pytest.mark.parametrize(("percent", "moved"), [(20, 2), (40, 4), (100, 10)])
def test_a_share_of_the_words_has_another_place(percent, moved):
    words = [f"w{number}" for number in range(10)]
    for stream in streams():
        found = reorder_words(" ".join(words), percent, stream).split()
        assert sorted(found) == sorted(words)
        assert sum(one != other for one, other in zip(found, words, strict=True)) == moved


@pytest.mark.parametrize("errors", [1, 2, 3, 5, 8])
def test_so_many_typing_errors(errors):
    distances = [distance(mistype(TEXT, errors, stream), TEXT) for stream in streams()]
    assert max(distances) <= errors
    assert min(distances) >= 1
    assert np.mean(distances) > 0.85 * errors
    assert errors > 1 or set(distances) == {1}


@pytest.mark.parametrize("text", ["", "one", "123 456", "ü"])
def test_short_instructions_are_no_trouble(text):
    for change in (leave_out_words, reorder_words, mistype):
        assert isinstance(change(text, 100, np.random.default_rng(0)), str)


def test_the_seed_of_the_episode_decides():
    def told(seed, **perturbation):
        named = {f"words.{name}": size for name, size in perturbation.items()}
        return Words().instruct(TEXT, EpisodeSpec(0, seed, perturbation=named or None))

    assert told(3) == TEXT
    assert told(3, typos=3) == told(3, typos=3) != told(4, typos=3)
    assert told(3, missing=100, typos=3) == ""
    both = told(3, order=40, typos=1)
    assert distance(both, told(3, order=40)) == 1
