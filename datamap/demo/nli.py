"""Premises and hypotheses from the built-in clinical notes: what a sentence says, denies, or leaves open.

The same wordings serve all three labels: true of the premise, with one value exchanged, or about something
the premise does not say, so that a hypothesis alone tells little. A second value for the same event (another
dose, another date) counts as a contradiction, as in SNLI: premise and hypothesis speak of the same event.
"""

from datamap.demo.notes import (
    DRUGS,
    DURATIONS,
    INTERVALS,
    LABS,
    REACTIONS,
    SHORTFALLS,
    SIDE_EFFECTS,
    SYMPTOMS,
    Fact,
    Note,
    for_split,
    names_in,
    type_of,
)

NLI_LABELS = ("entailment", "neutral", "contradiction")
_STATEMENTS_PER_NOTE = 6

# Fact kind -> (wordings, the value exchanged in a contradiction).
_CLAIMS = {
    "opening": (
        (
            (
                "The {complaint} had been present for {duration}.",
                "The patient had {duration} of {complaint}.",
            ),
            "duration",
        ),
        (("The patient is {age} years old.", "The patient's age is {age}."), "age"),
        (("The patient arrived on {admitted}.", "The admission took place on {admitted}."), "admitted"),
    ),
    "drug": (
        (("The patient takes {dose} of {drug}.", "{drug} is given at {dose}."), "dose"),
        (("{drug} is taken {frequency}.", "The schedule of {drug} is {frequency}."), "frequency"),
        (("{drug} is prescribed for {reason}.", "The patient uses {drug} against {reason}."), "reason"),
    ),
    "change": (
        (("The patient is now on {new} of {drug}.", "The present dose of {drug} is {new}."), "new"),
        (
            ("{drug} was adjusted because of {cause}.", "The dose of {drug} is different owing to {cause}."),
            "cause",
        ),
    ),
    "stop": (
        (("{drug} is no longer given because of {cause}.", "The end of {drug} came with {cause}."), "cause"),
        (("{drug} ended on {date}.", "The patient gets no {drug} since {date}."), "date"),
    ),
    "start": (
        (("Treatment with {drug} began on {date}.", "{drug} was first given on {date}."), "date"),
        (("The patient receives {dose} of {drug}.", "{drug} is given at {dose}."), "dose"),
        (("{drug} is prescribed for {reason}.", "The patient uses {drug} against {reason}."), "reason"),
    ),
    "series": (
        (
            (
                "The {test} was {first_value} on {first_date}.",
                "On {first_date} the {test} came to {first_value}.",
            ),
            "first_value",
        ),
        (
            (
                "The {test} was {last_value} on {last_date}.",
                "On {last_date} the {test} came to {last_value}.",
            ),
            "last_value",
        ),
    ),
    "exam": ((("The {test} took place on {date}.", "The patient had the {test} on {date}."), "date"),),
    "allergy": ((("{allergen} led to {reaction}.", "The reaction to {allergen} was {reaction}."), "reaction"),),
    "relative": ((("The {relative} was affected at {age}.", "The {relative} was {age} at the time."), "age"),),
    "symptoms": (
        (("The patient has {reported}.", "The patient complains of {reported}."), "reported"),
        (("The patient is free of {denied0}.", "There is no {denied0}."), "denied0"),
        (("The patient is free of {denied1}.", "There is no {denied1}."), "denied1"),
    ),
    "visit": (
        (
            ("The patient is due at {clinic} in {interval}.", "In {interval} {clinic} will see the patient."),
            "interval",
        ),
    ),
}
_NAMES = ("drug", "test", "allergen", "relative", "clinic")


def _claims(fact: Fact) -> list[tuple[str, str]]:
    """Wording and exchangeable value of every claim that the fact supports."""
    return [
        (wording, swapped)
        for wordings, swapped in _CLAIMS[fact.kind]
        for wording in wordings
        if names_in(wording) <= fact.values.keys()
    ]


def _vocabulary(note: Note, fact: Fact, name: str) -> list[str]:
    """Values that could stand in place of the named value of a fact, the true one possibly among them."""
    if name in ("dose", "new"):
        return next(drug["doses"] for drug in DRUGS if drug["drug"] == fact.values["drug"])
    if type_of(name) == "value":
        return LABS[fact.values["test"]].split(", ")
    if type_of(name) == "date":
        return [note.date(day) for day in range(1, 29)]
    fixed = {
        "age": [str(age) for age in range(31, 90)],
        "cause": SIDE_EFFECTS + SHORTFALLS,
        "duration": DURATIONS,
        "frequency": sorted({frequency for drug in DRUGS for frequency in drug["frequencies"]}),
        "interval": sorted(INTERVALS),
        "reaction": REACTIONS,
        "reason": [drug["reason"] for drug in DRUGS],
    }
    return for_split(fixed[name], note.split)


def _entailed(note: Note, facts: list[Fact]) -> str:
    fact = note.rng.choice(facts)
    wording, _ = note.rng.choice(_claims(fact))
    return wording.format(**fact.values)


def _contradicted(note: Note, facts: list[Fact]) -> str:
    """A claim with one value exchanged, every second time for another value of its type in the premise."""
    fact = note.rng.choice(facts)
    wording, name = note.rng.choice(_claims(fact))
    if fact.kind == "symptoms":
        other = note.rng.choice(("denied0", "denied1")) if name == "reported" else "reported"
        return wording.format(**{name: fact.values[other]})
    nearby = [value for one in facts for key, value in one.values.items() if type_of(key) == type_of(name)]
    if type_of(name) == "condition":
        nearby = [one.values[name] for one in facts if name in one.values]
    nearby = [value for value in nearby if value != fact.values[name]]
    if not nearby or note.rng.random() < 0.5:
        nearby = [value for value in _vocabulary(note, fact, name) if value != fact.values[name]]
    return wording.format(**{**fact.values, name: note.rng.choice(nearby)})


def _left_out(note: Note, facts: list[Fact]) -> list[str]:
    """Claims about a detail that the premise leaves out of a drug it names."""
    return [
        wording.format(**{**fact.values, name: note.rng.choice(_vocabulary(note, fact, name))})
        for fact in facts
        if fact.kind == "drug"
        for wordings, name in _CLAIMS["drug"]
        if name not in fact.values
        for wording in wordings
    ]


def _open(note: Note, facts: list[Fact], premise: str) -> str:
    """A claim the premise neither supports nor denies: from elsewhere in the note, or a detail left out."""
    left_out = _left_out(note, facts)
    if left_out and note.rng.random() < 0.6:
        return note.rng.choice(left_out)
    kinds = {fact.kind for fact in facts}
    elsewhere = [
        fact
        for fact in note.facts
        if (fact.kind not in kinds or fact.kind in ("drug", "start", "exam"))
        and not any(fact.values[name].lower() in premise.lower() for name in _NAMES if name in fact.values)
    ]
    if "symptoms" in kinds and note.rng.random() < 0.5:
        symptom = note.pick([symptom for symptom in SYMPTOMS if symptom not in premise.lower()])
        wordings, name = note.rng.choice(_CLAIMS["symptoms"])
        return note.rng.choice(wordings).format(**{name: symptom})
    return _entailed(note, elsewhere)


def _statement(note: Note, label: str) -> dict:
    """One row: a sentence of the note, every third time with the next one, and a claim with the label."""
    sentences = note.sentences()
    first = note.rng.randrange(len(sentences))
    last = min(len(sentences) - 1, first + note.rng.choice((0, 0, 1)))
    premise = " ".join(sentences[first : last + 1])
    facts = [fact for fact in note.facts if first <= fact.sentence <= last]
    if label == "entailment":
        hypothesis = _entailed(note, facts)
    elif label == "contradiction":
        hypothesis = _contradicted(note, facts)
    else:
        hypothesis = _open(note, facts, premise)
    hypothesis = hypothesis[0].upper() + hypothesis[1:]
    return {"premise": premise, "hypothesis": hypothesis, "label": NLI_LABELS.index(label)}


def statements(notes: list[Note]) -> list[dict]:
    """Rows of premise, hypothesis and label, six a note, the labels in turn, no pair twice."""
    rows: dict = {}
    for note in notes:
        wanted = len(rows) + _STATEMENTS_PER_NOTE
        while len(rows) < wanted:
            row = _statement(note, NLI_LABELS[len(rows) % len(NLI_LABELS)])
            rows.setdefault((row["premise"], row["hypothesis"]), row)
    return list(rows.values())
