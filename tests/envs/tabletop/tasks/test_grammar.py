import re
from collections import Counter

import numpy as np
import pytest

from envs.tabletop.tasks.grammar import MOST_CHARACTERS, draw_sentence, sentences
from envs.tabletop.tasks.pick_place import PickPlace
from envs.tabletop.tasks.pick_place_language import HELD_OUT_TEMPLATES, TEMPLATES, PickPlaceLanguage
from simscaleai.models.language import CHARACTERS

ALL = {sentence for form in sentences() for sentence in form}

NOUN, PLACE = r"\w+", r"the (\w+ )?\w+"
HELD_OUT_STRUCTURES = (
    rf"lift the {{colour}} {NOUN} and carry it (on)?to {PLACE}",
    rf"i want the {{colour}} {NOUN} to be on {PLACE}",
    rf"get the {{colour}} {NOUN} over to {PLACE}",
    rf"on {PLACE}, please, the {{colour}} {NOUN}",
    rf"{PLACE} is the place of the {{colour}} {NOUN}",
)
"""The held-out wordings with any words for the cube and for the goal."""


def test_there_are_hundreds_of_wordings_and_each_names_the_colour_once():
    assert len(ALL) > 300
    for sentence in ALL:
        assert sentence.count("{colour}") == 1
        assert not re.search(r"\b(red|green|blue|orange)\b", sentence)


def test_wordings_are_plain_text_that_the_language_encoder_reads():
    for sentence in ALL:
        text = sentence.format(colour="green")
        assert len(text) <= MOST_CHARACTERS
        assert set(text) <= set(CHARACTERS)
        assert text == " ".join(text.split())
        assert " ," not in text


def test_the_wordings_of_the_tasks_are_sentences_of_the_grammar():
    assert set(TEMPLATES) <= ALL
    assert PickPlace.phrase("{colour}", 0) in ALL


@pytest.mark.parametrize(("template", "structure"), list(zip(HELD_OUT_TEMPLATES, HELD_OUT_STRUCTURES, strict=True)))
def test_the_grammar_forms_no_sentence_like_a_held_out_one(template, structure):
    assert re.fullmatch(structure, template)
    assert [sentence for sentence in ALL if re.fullmatch(structure, sentence)] == []


@pytest.mark.parametrize("words", ["lift", "carry it", "i want", "to be on", "over to", ", please, ", "is the place"])
def test_what_marks_a_held_out_wording_occurs_in_no_sentence(words):
    assert any(words in template for template in HELD_OUT_TEMPLATES)
    assert [sentence for sentence in ALL if words in sentence] == []


def test_all_forms_are_drawn_alike():
    form_of = {sentence: number for number, form in enumerate(sentences()) for sentence in form}
    rng = np.random.default_rng(0)
    counts = Counter(form_of[draw_sentence(rng)] for _ in range(3000))
    assert len(counts) == len(sentences())
    assert min(counts.values()) > 0.7 * 3000 / len(sentences())


def test_a_seed_draws_its_wording_and_leaves_the_wording_of_the_task_alone():
    words = {PickPlaceLanguage.phrase_by_grammar("blue", seed) for seed in range(200)}
    assert len(words) > 190
    assert all(text.count("blue") == 1 for text in words)
    assert PickPlaceLanguage.phrase_by_grammar("red", 7) == PickPlace.phrase_by_grammar("red", 7)
    assert PickPlaceLanguage.phrase("red", 7) in {template.format(colour="red") for template in TEMPLATES}
