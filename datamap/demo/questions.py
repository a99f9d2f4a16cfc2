"""Questions about the built-in clinical notes: what each asks for, and how hard it is meant to be.

Most questions are COMMON ones with one right span. HARD ones have one too, but finding it takes counting,
comparing, two steps, or knowing what kind of drug a name stands for.
AMBIGUOUS ones have two defensible spans, of which the data set, like a human annotator, names one at random.
"""

from dataclasses import dataclass

from datamap.demo.notes import (
    ALLERGENS,
    CLINICS,
    DRUG_CLASSES,
    DRUGS,
    EXAM_LAY_WORDS,
    EXAMS,
    INTERVALS,
    LABS,
    LAY_WORDS,
    RELATIVES,
    Fact,
    Note,
    for_split,
    names_in,
    type_of,
)
from datamap.demo.wordings import WORDINGS

# What most questions are about; with fewer of each kind, three epochs do not learn any.
COMMON = ("complaint", "duration", "admitted", "age", "dose", "frequency", "reason", "drug_by_reason")
HARD = (
    "drug_by_class",
    "listed_second",
    "started_after",
    "started_last",
    "last_value",
    "first_value",
    "highest_value",
    "first_test",
    "first_visit",
    "frequency_by_class",
    "dose_by_reason",
)
AMBIGUOUS = ("how_taken", "one_allergen", "one_denied", "one_problem")

# How many of a note's questions are hard, ambiguous, and neither of these nor common: one entry is drawn.
HARD_PER_NOTE = (0, 0, 1)
AMBIGUOUS_PER_NOTE = (0, 0, 1)
OTHERS_PER_NOTE = (0, 1, 1)

# Fact kind -> (question kind, the value it asks for), asked where the note says all that it needs.
_ASKED_OF = {
    "opening": (("complaint",) * 2, ("duration",) * 2, ("admitted",) * 2, ("age",) * 2),
    "drug": (
        ("dose", "dose"),
        ("frequency", "frequency"),
        ("route", "route"),
        ("reason", "reason"),
        ("drug_by_reason", "drug"),
        ("drug_by_class", "drug"),
        ("dose_by_reason", "dose"),
        ("frequency_by_class", "frequency"),
    ),
    "change": (("new_dose", "new"), ("changed_drug", "drug"), ("change_cause", "cause")),
    "stop": (("stopped_drug", "drug"), ("stop_cause", "cause"), ("stop_date", "date")),
    "start": (
        ("start_date", "date"),
        ("dose", "dose"),
        ("reason", "reason"),
        ("drug_by_reason", "drug"),
        ("started_on", "drug"),
        ("started_after", "drug"),
    ),
    "exam": (
        ("finding", "finding"),
        ("finding_by_lay_words", "finding"),
        ("test_by_finding", "test"),
        ("test_date", "date"),
    ),
    "allergy": (("reaction", "reaction"), ("allergen_by_reaction", "allergen")),
    "relative": (
        ("relative_problem", "problem"),
        ("relative_by_problem", "relative"),
        ("relative_age", "age"),
    ),
    "symptoms": (("reported", "reported"),),
    "visit": (("interval", "interval"), ("clinic_by_interval", "clinic")),
    "series": (),
}
# What to ask about a thing that the note does not name.
_ABOUT_NAMED_THINGS = (
    "dose",
    "frequency",
    "reason",
    "new_dose",
    "stop_cause",
    "start_date",
    "drug_by_reason",
    "drug_by_class",
    "dose_by_reason",
    "finding",
    "test_date",
    "reaction",
    "relative_problem",
    "interval",
)
# What to ask about a drug of the note that was neither stopped, nor changed, nor started there.
_EVENTS = ("stop_cause", "stop_date", "change_cause", "new_dose", "old_dose", "start_date")
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Question:
    """A question, its kind, and its answer (empty when the note gives none) with its place and type."""

    kind: str
    text: str
    start: int = 0
    answer: str = ""
    answer_type: str = ""


def _paraphrased(note: Note, reason: str) -> str:
    """A reason in its own words, or every fourth time in words that do not occur in the note."""
    return note.rng.choice([reason] * 3 + [LAY_WORDS[reason]])


def _params(note: Note, fact: Fact) -> dict[str, str]:
    """What a wording may mention of a fact: its values and their paraphrases."""
    params = dict(fact.values)
    if "reason" in params:
        params["lay"] = _paraphrased(note, params["reason"])
    if fact.kind in ("drug", "start"):
        params["drug_class"] = DRUG_CLASSES[params["drug"]]
    if fact.kind == "exam":
        params["test_lay"] = EXAM_LAY_WORDS[params["test"]]
    days = int(fact.hidden.get("day", len(_COUNTS)))
    if days < len(_COUNTS):
        params["days"] = f"{_COUNTS[days]} day{'s' * (days != 1)}"
    return params


def _word(note: Note, kind: str, params: dict[str, str]) -> str:
    return note.rng.choice(for_split(list(WORDINGS[kind]), note.split)).format(**params)


def _about(note: Note, kind: str, fact: Fact, asked: str, **params: str) -> Question:
    """A question whose answer is the value `asked` of a fact."""
    return Question(kind, _word(note, kind, params), fact.starts[asked], note.slice_of(fact, asked), type_of(asked))


def _about_facts(note: Note) -> list[Question]:
    """Every question that one fact alone answers."""
    changed = {fact.values["drug"] for fact in note.facts if fact.kind == "change"}
    questions = []
    for fact in note.facts:
        params = _params(note, fact)
        for kind, asked in _ASKED_OF[fact.kind]:
            outdated = asked == "dose" and params["drug"] in changed
            if asked in fact.values and names_in(WORDINGS[kind][0]) <= params.keys() and not outdated:
                questions.append(_about(note, kind, fact, asked, **params))
    return questions


def _about_changes(note: Note) -> list[Question]:
    """The dose before a change, which stands beside the new one or in the list of home drugs."""
    questions = []
    for change in (fact for fact in note.facts if fact.kind == "change"):
        drug = change.values["drug"]
        for fact in note.facts:
            asked = "old" if fact is change else "dose"
            if fact.values.get("drug") == drug and asked in fact.values:
                questions.append(_about(note, "old_dose", fact, asked, drug=drug))
    return questions


def _about_series(note: Note) -> list[Question]:
    """Questions about a blood test measured twice; the highest value needs comparing numbers."""
    questions = []
    for fact in (fact for fact in note.facts if fact.kind == "series"):
        test = fact.values["test"]
        for which in ("first", "last"):
            value, date = fact.values[f"{which}_value"], fact.values[f"{which}_date"]
            questions += [
                _about(note, "value_on", fact, f"{which}_value", test=test, date=date),
                _about(note, "date_of_value", fact, f"{which}_date", test=test, value=value),
                _about(note, f"{which}_value", fact, f"{which}_value", test=test),
            ]
        highest = max(("first_value", "last_value"), key=lambda name: float(fact.values[name]))
        questions.append(_about(note, "highest_value", fact, highest, test=test))
    return questions


def _comparing(note: Note) -> list[Question]:
    """Questions that weigh two facts of a kind against each other, and the one about order in the list."""
    by_kind = {kind: [fact for fact in note.facts if fact.kind == kind] for kind in _ASKED_OF}
    questions = []
    if len(by_kind["drug"]) == 2:
        questions.append(_about(note, "listed_second", by_kind["drug"][1], "drug"))
    if len(by_kind["start"]) == 2:
        latest = max(by_kind["start"], key=lambda fact: fact.hidden["day"])
        questions.append(_about(note, "started_last", latest, "drug"))
    if len(by_kind["exam"]) == 2:
        earliest = min(by_kind["exam"], key=lambda fact: fact.hidden["day"])
        questions.append(_about(note, "first_test", earliest, "test"))
    if by_kind["visit"]:
        soonest = min(by_kind["visit"], key=lambda fact: INTERVALS[fact.values["interval"]])
        questions.append(_about(note, "first_visit", soonest, "clinic"))
    return questions


def _ambiguous(note: Note) -> list[Question]:
    """Questions with two defensible spans: either of two values, or a route with or without the frequency."""
    questions = []
    allergies = [fact for fact in note.facts if fact.kind == "allergy"]
    if allergies:
        questions.append(_about(note, "one_allergen", note.rng.choice(allergies), "allergen"))
    for fact in note.facts:
        if fact.kind == "symptoms":
            questions.append(_about(note, "one_denied", fact, note.rng.choice(("denied0", "denied1"))))
        if "problem0" in fact.values:
            questions.append(_about(note, "one_problem", fact, note.rng.choice(("problem0", "problem1"))))
        if fact.kind == "drug" and {"route", "frequency"} <= fact.values.keys():
            start = fact.starts["route"]
            whole = fact.starts["frequency"] + len(fact.values["frequency"])
            end = note.rng.choice((start + len(fact.values["route"]), whole))
            text = _word(note, "how_taken", fact.values)
            questions.append(Question("how_taken", text, start, note.text[start:end]))
    return questions


def _draw(note: Note, questions: list[Question], number: int) -> list[Question]:
    """`number` questions in random order, kinds not yet drawn first, no wording twice."""
    questions = note.rng.sample(questions, len(questions))
    seen_kinds: set[str] = set()
    first: list[Question] = []
    later: list[Question] = []
    for question in questions:
        (later if question.kind in seen_kinds else first).append(question)
        seen_kinds.add(question.kind)
    by_text: dict[str, Question] = {}
    for question in first + later:
        by_text.setdefault(question.text, question)
    return list(by_text.values())[:number]


def ask(note: Note, number: int) -> list[Question]:
    """`number` answerable questions about a note: some hard, some ambiguous, the rest ordinary."""
    ordinary = _about_facts(note) + _about_changes(note)
    pool = ordinary + _about_series(note) + _comparing(note)
    hard = _draw(note, [question for question in pool if question.kind in HARD], note.rng.choice(HARD_PER_NOTE))
    ambiguous = _draw(note, _ambiguous(note), note.rng.choice(AMBIGUOUS_PER_NOTE))
    others = [question for question in pool if question.kind not in HARD + COMMON]
    chosen = hard + ambiguous + _draw(note, others, note.rng.choice(OTHERS_PER_NOTE))
    common = [question for question in ordinary if question.kind in COMMON]
    chosen += _draw(note, common, number - len(chosen))
    return note.rng.sample(chosen, len(chosen))


def _unsaid(note: Note) -> list[Question]:
    """Questions about the note's drugs that it does not answer: a detail left out, an event that never was."""
    known: dict[str, set[str]] = {}
    for fact in note.facts:
        if "drug" in fact.values:
            known.setdefault(fact.values["drug"], set()).update({fact.kind}, fact.values)
    questions = []
    for fact in (fact for fact in note.facts if fact.kind == "drug"):
        drug = fact.values["drug"]
        absent = [kind for kind in ("dose", "frequency", "route", "reason") if kind not in known[drug]]
        if "change" in known[drug]:
            absent = [kind for kind in absent if kind != "dose"]
        else:
            absent += _EVENTS
        questions += [Question(kind, _word(note, kind, {"drug": drug})) for kind in absent]
    return questions


def _unmentioned(note: Note) -> list[Question]:
    """Questions about a drug, test, allergen, relative or clinic that the note does not mention at all."""
    drugs = [drug for drug in DRUGS if not note.mentions(drug["drug"]) and not note.mentions(drug["reason"])]
    drug = note.pick(drugs)
    params = {
        "drug": drug["drug"],
        "drug_class": drug["drug_class"],
        "lay": _paraphrased(note, drug["reason"]),
        "test": note.pick([exam["test"] for exam in EXAMS if not note.mentions(exam["test"])]),
        "allergen": note.pick([allergen for allergen in ALLERGENS if not note.mentions(allergen)]),
        "relative": note.pick([relative for relative in RELATIVES if not note.mentions(relative)]),
        "clinic": note.pick([clinic for clinic in CLINICS if not note.mentions(clinic)]),
    }
    lab = {"test": note.pick([lab for lab in LABS if not note.mentions(lab)])}
    return [Question(kind, _word(note, kind, params)) for kind in _ABOUT_NAMED_THINGS] + [
        Question(kind, _word(note, kind, lab)) for kind in ("last_value", "first_value")
    ]


def ask_unanswerable(note: Note, number: int) -> list[Question]:
    """`number` questions that the note does not answer, mostly of the kinds that it usually does answer."""
    pool = _unsaid(note) + _unmentioned(note)
    rare = _draw(note, [question for question in pool if question.kind not in COMMON], note.rng.choice((0, 0, 1)))
    common = [question for question in pool if question.kind in COMMON]
    return rare + _draw(note, common, number - len(rare))
