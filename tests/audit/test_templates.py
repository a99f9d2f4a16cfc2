"""Wordings, worked by hand."""

import numpy as np

from datamap.audit.templates import wording, wordings


def test_runs_of_masks_are_one_slot_and_two_words_are_needed():
    assert wording("dose of blue aspirin given", frozenset({"blue", "aspirin"})) == "dose of _ given"
    assert wording("given in march 2019 at 5pm", frozenset()) == "given in _ at _"
    assert wording("dose aspirin 5", frozenset({"aspirin"})) == ""
    assert wording("the dose aspirin", frozenset({"aspirin"})) == "the dose _"


def test_a_question_loses_what_it_takes_from_its_own_context():
    questions = ["what dose of aspirin was given", "what dose of heparin was given"]
    contexts = ["heparin was started", "aspirin was stopped"]
    assert wordings(questions, contexts, np.array([1, 0])) == ["what dose of _ was given"] * 2


def test_a_word_that_most_questions_do_not_share_belongs_to_the_wording():
    questions = ["what dose today", "what dose now", "what dose then"]
    contexts = ["dose here", "nothing", "none at all"]
    assert wordings(questions, contexts, np.array([0, 1, 2])) == questions
    assert wordings(questions[:2], contexts[:2], np.array([0, 1])) == ["what _ today", "what dose now"]
