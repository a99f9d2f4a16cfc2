"""Words of clusters against a hand-worked example and a loop."""

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest

from datamap.clusters.words import cluster_words, words_of


def test_words_by_hand():
    """Two classes of 4 and 2 words, A = 3: fever 3/4 ln(1 + 3/3) = 0.520, dose 1/4 ln(1 + 3/2) = 0.229 and 0.458."""
    texts = ["Fever, fever!", "What is the dose of fever?", "dose aspirin", "noise words here"]
    assert cluster_words(texts, np.array([0, 0, 1, -1])) == [["fever", "dose"], ["aspirin", "dose"]]
    assert math.log(1 + 3 / 1) / 2 > math.log(1 + 3 / 2) / 2


def test_words_equal_a_loop():
    generator = np.random.default_rng(0)
    vocabulary = [f"q{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]
    texts = [" ".join(generator.choice(vocabulary, 8)) for _ in range(90)]
    labels = generator.integers(-1, 4, size=90)
    counts = [Counter(" ".join(t for t, k in zip(texts, labels, strict=True) if k == c).split()) for c in range(4)]
    mean = np.mean([sum(count.values()) for count in counts])
    total = sum(counts, Counter())
    for count, found in zip(counts, cluster_words(texts, labels, n_words=5), strict=True):
        length = sum(count.values())
        scores = {word: n / length * math.log(1 + mean / total[word]) for word, n in count.items()}
        assert found == sorted(scores, key=lambda word: (-round(scores[word], 12), word))[:5]


def test_equal_words_come_by_alphabet_whatever_the_order_of_the_texts():
    texts = ["zebra yak", "ant bee", "cat dog", "elk fox"]
    assert cluster_words(texts, np.array([0, 0, 1, 1])) == [["ant", "bee", "yak"], ["cat", "dog", "elk"]]
    assert cluster_words(texts[::-1], np.array([1, 1, 0, 0])) == [["ant", "bee", "yak"], ["cat", "dog", "elk"]]


def test_stop_words_numbers_and_single_letters_are_no_words():
    assert words_of("What did the patient take, 40 mg of B12 or a Å?") == ["patient", "mg", "b12"]
    assert words_of("naïve Größe") == ["naïve", "größe"]
    assert words_of("Dr. Smith___ of ___ward, drug_dose_") == ["dr", "smith", "ward", "drug_dose"]


def test_a_cluster_without_words_and_no_cluster_at_all():
    assert cluster_words(["what is it", "fever"], np.array([0, 1])) == [[], ["fever"]]
    assert cluster_words(["what is it"], np.array([0])) == [[]]
    assert cluster_words(["fever"], np.array([-1])) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("रोगी को कौन-सी दवाई दी गई?", ["रोगी", "को", "कौन", "सी", "दवाई", "दी", "गई"]),
        ("क्\u200dषेत्र में", ["क्\u200dषेत्र", "में"]),
        ("مَا الدَّوَاءُ؟ كِتَاب", ["مَا", "الدَّوَاءُ", "كِتَاب"]),
        ("می\u200cخواهم\u200c، کتاب", ["می\u200cخواهم", "کتاب"]),
        ("כַּמָּה חוֹלִים", ["כַּמָּה", "חוֹלִים"]),
        ("İstanbul cafe\u0301 nai\u0308ve", ["i\u0307stanbul", "café", "naïve"]),
        ("para\u00adcetamol x\u0301", ["paracetamol", "x\u0301"]),
        ("ผู้ป่วยได้รับยาอะไร กี่มิลลิกรัม", ["ผู้ป่วยได้รับยาอะไร", "กี่มิลลิกรัม"]),
        ("患者服用了什么药？剂量，多少", ["患者服用了什么药", "剂量", "多少"]),
        ("患者はデータを見た。コーヒー", ["患者はデータを見た", "コーヒー"]),
        ("걷기 \u1112\u1161\u11ab국", ["걷기", "한국"]),
        ("1\ufe0f\u20e3 👨\u200d👩 vitamin_d B12", ["vitamin_d", "b12"]),
    ],
)
def test_words_stay_whole_in_every_script(text, words):
    assert words_of(text) == [unicodedata.normalize("NFC", word) for word in words]
