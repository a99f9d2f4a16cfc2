"""The sections of a built-in clinical note, each written as prose or as a list, and the whole note."""

import random

from datamap.demo.notes import (
    ALLERGENS,
    CLINICS,
    COMPLAINTS,
    DRUGS,
    DURATIONS,
    EXAMS,
    FAMILY_PROBLEMS,
    INTERVALS,
    LABS,
    PROBLEMS,
    REACTIONS,
    RELATIVES,
    SHORTFALLS,
    SIDE_EFFECTS,
    SYMPTOMS,
    Note,
    for_split,
)

_OPENINGS = (
    "{age}-year-old {sex} admitted on {admitted} for {complaint} of {duration}. ",
    "{age} year old {sex} admitted on {admitted} after {duration} of {complaint}. ",
    "ADMITTED: {admitted}\nCOMPLAINT: {complaint} for {duration}\nPATIENT: {age} y/o {sex}.\n",
    "This {sex}, aged {age}, was admitted on {admitted} for {complaint} lasting {duration}. ",
)
_OPENINGS_WITH_PROBLEMS = (
    "{age}-year-old {sex} with {problem0} and {problem1}, admitted on {admitted} for {complaint} of {duration}. ",
    "{age} year old {sex} admitted on {admitted} after {duration} of {complaint}. "
    "History of {problem0} and {problem1}. ",
    "ADMITTED: {admitted}\nCOMPLAINT: {complaint} for {duration}\nHISTORY: {age} y/o {sex}, {problem0}, {problem1}.\n",
    "This {sex}, aged {age}, with {problem0} and {problem1}, was admitted on {admitted} for {complaint} "
    "lasting {duration}. ",
)
_DRUG_PROSE = (
    "{drug} {dose} {frequency} for {reason}",
    "{drug} {dose} {route} {frequency} for {reason}",
    "{drug} {dose} {route} for {reason}",
    "{drug} {dose} {route} {frequency}",
)
_DRUG_LIST = (
    "{drug} {dose} {route} {frequency} ({reason})",
    "{drug} {dose} {route} {frequency}",
    "{drug} {dose} {frequency} ({reason})",
    "{drug} {frequency} ({reason})",
)
_CHANGES_WITH_OLD = (
    "{drug} was changed from {old} to {new} because of {cause}. ",
    "{drug} now {new} (previously {old}) given {cause}. ",
    "Because of {cause}, the dose of {drug} is {new} instead of {old}. ",
    "On {date} {drug} went to {new}, formerly {old}, in view of {cause}. ",
)
_CHANGES = (
    "{drug} was {verb} to {new} on {date} because of {cause}. ",
    "Given {cause}, {drug} was {verb} to {new}. ",
    "{drug} {new} from {date} on ({verb} for {cause}). ",
)
_STOPS = (
    "{drug} was stopped on {date} because of {cause}. ",
    "Owing to {cause}, {drug} was discontinued. ",
    "{drug} is on hold since {date} for {cause}. ",
    "{drug} caused {cause} and was therefore withdrawn. ",
)
_STARTS = (
    "{drug} {dose} {frequency} was started on {date} for {reason}. ",
    "On {date} the team added {drug} {dose} for {reason}. ",
    "New on {date}: {drug} {dose} {route} for {reason}. ",
)
_SERIES = (
    "{test} was {first_value} on {first_date} and {last_value} on {last_date}. ",
    "{test} {last_value} on {last_date}, {first_value} on {first_date}. ",
    "{test}: {first_date} {first_value}, {last_date} {last_value}. ",
    "On {last_date} {test} measured {last_value}; it had been {first_value} on {first_date}. ",
)
_EXAMS_SAID = (
    "{test} on {date} showed {finding}. ",
    "{test} ({date}): {finding}. ",
    "On {date} {test} was done and revealed {finding}. ",
)
_ALLERGY_PROSE = "Allergic to {allergen} ({reaction})", " and to {allergen} ({reaction}). "
_ALLERGY_LIST = "ALLERGIES: {allergen} - {reaction}; ", "{allergen} - {reaction}.\n"
_FAMILY_PROSE = (
    "The {relative} had {problem} at age {age}",
    "; the {relative} died of {problem} at {age}. ",
)
_FAMILY_LIST = "FAMILY HISTORY: {relative} - {problem} ({age}), ", "{relative} - died of {problem} ({age}).\n"
_SYMPTOMS_SAID = (
    "Denies {denied0} and {denied1} but reports {reported}. ",
    "Review of systems is positive for {reported}, negative for {denied0} or {denied1}. ",
    "There is {reported}; no {denied0}, no {denied1}. ",
    "REVIEW OF SYSTEMS: without {denied0} or {denied1}. Complains of {reported}.\n",
)
_VISITS_PROSE = "Follow up with {clinic} in {interval}", " and with {clinic} in {interval}. "
_VISITS_LIST = "FOLLOW-UP: {clinic} in {interval}; ", "{clinic} in {interval}.\n"


def _fresh_drugs(note: Note, number: int) -> list[dict]:
    """Drugs that the note has not used yet, each with one dose, route and frequency drawn."""
    used = {fact.values["drug"] for fact in note.facts if "drug" in fact.values}
    allowed = [drug for drug in for_split(DRUGS, note.split) if drug["drug"] not in used]
    return [
        {
            "drug": drug["drug"],
            "dose": note.rng.choice(drug["doses"]),
            "route": note.rng.choice(drug["routes"]),
            "frequency": note.rng.choice(drug["frequencies"]),
            "reason": drug["reason"],
        }
        for drug in note.rng.sample(allowed, number)
    ]


def _new_dose(note: Note, drug: str, old: str) -> tuple[str, str]:
    """Another dose of the drug, and the verb that says which way it went."""
    doses = next(row["doses"] for row in DRUGS if row["drug"] == drug)
    new = note.rng.choice([dose for dose in doses if dose != old])
    return new, "raised" if doses.index(new) > doses.index(old) else "lowered"


def _used(note: Note, field: str) -> set[str]:
    return {fact.values[field] for fact in note.facts if field in fact.values}


def _fresh(note: Note, values: list, field: str) -> str:
    return note.rng.choice([value for value in for_split(values, note.split) if value not in _used(note, field)])


def write_opening(note: Note) -> None:
    """Age, complaint, its duration, the admission date and, in every third note, two old problems."""
    note.begin_sentence()
    problem0, problem1 = note.pick_several(PROBLEMS, 2)
    note.say(
        note.rng.choice(note.rng.choice((_OPENINGS, _OPENINGS, _OPENINGS_WITH_PROBLEMS))),
        "opening",
        age=str(note.rng.randint(41, 89)),
        sex=note.rng.choice(("man", "woman")),
        problem0=problem0,
        problem1=problem1,
        admitted=note.date(note.days[0]),
        complaint=note.pick(COMPLAINTS),
        duration=note.pick(DURATIONS),
    )


def write_home_drugs(note: Note) -> None:
    """One or two drugs taken before admission, as a sentence or as a numbered list."""
    drugs = _fresh_drugs(note, note.rng.choice((1, 1, 2)))
    listed = note.rng.random() < 0.5
    note.begin_sentence()
    note.say(note.rng.choice(("MEDICATIONS:", "HOME MEDICATIONS:") if listed else ("At home takes", "Comes in on")))
    for number, drug in enumerate(drugs):
        last = number == len(drugs) - 1
        joint = f" {number + 1}. " if listed else (" " if number == 0 else " and " if last else ", ")
        note.say(joint)
        note.say(note.rng.choice(_DRUG_LIST if listed else _DRUG_PROSE), "drug", **drug)
    note.say("\n" if listed else ". ")


def write_change(note: Note) -> None:
    """A dose changed in hospital: of a home drug (its old dose stands above), or of one with both doses."""
    homes = [fact for fact in note.facts if fact.kind == "drug" and "dose" in fact.values]
    from_home = bool(homes) and note.rng.random() < 0.6
    drug = note.rng.choice(homes).values if from_home else _fresh_drugs(note, 1)[0]
    new, verb = _new_dose(note, drug["drug"], drug["dose"])
    note.begin_sentence()
    fact = note.say(
        note.rng.choice(_CHANGES if from_home else _CHANGES_WITH_OLD),
        "change",
        drug=drug["drug"],
        new=new,
        old=drug["dose"],
        verb=verb,
        date=note.date(note.days[2]),
        cause=_fresh(note, SHORTFALLS if verb == "raised" else SIDE_EFFECTS, "cause"),
    )
    fact.hidden.update(direction=verb, old=drug["dose"])


def write_stop(note: Note) -> None:
    """A drug that was stopped or held, and why."""
    note.begin_sentence()
    note.say(
        note.rng.choice(_STOPS),
        "stop",
        drug=_fresh_drugs(note, 1)[0]["drug"],
        date=note.date(note.days[3]),
        cause=_fresh(note, SIDE_EFFECTS, "cause"),
    )


def write_starts(note: Note) -> None:
    """One or two drugs begun in hospital, each with its date."""
    for drug, day in zip(_fresh_drugs(note, note.rng.choice((1, 2))), note.rng.sample(note.days[1:4], 2), strict=False):
        note.begin_sentence()
        fact = note.say(note.rng.choice(_STARTS), "start", date=note.date(day), **drug)
        fact.hidden["day"] = day - note.days[0]


def write_series(note: Note) -> None:
    """A blood test measured twice, told forwards or backwards in time."""
    test = note.pick(LABS)
    first_value, last_value = note.rng.sample(LABS[test].split(", "), 2)
    note.begin_sentence()
    note.say(
        note.rng.choice(_SERIES),
        "series",
        test=test,
        first_value=first_value,
        last_value=last_value,
        first_date=note.date(note.days[0]),
        last_date=note.date(note.days[4]),
    )


def write_exams(note: Note) -> None:
    """One or two examinations, each with its date and what it showed."""
    days = note.rng.sample(note.days[1:4], note.rng.choice((1, 2)))
    for exam, day in zip(note.pick_several(EXAMS, len(days)), days, strict=True):
        note.begin_sentence()
        finding = note.rng.choice(exam["findings"])
        fact = note.say(note.rng.choice(_EXAMS_SAID), "exam", test=exam["test"], finding=finding, date=note.date(day))
        fact.hidden["day"] = day - note.days[0]


def write_allergies(note: Note) -> None:
    """Two allergens and what each did."""
    note.begin_sentence()
    allergens, reactions = note.pick_several(ALLERGENS, 2), note.pick_several(REACTIONS, 2)
    for template, allergen, reaction in zip(
        note.rng.choice((_ALLERGY_PROSE, _ALLERGY_LIST)), allergens, reactions, strict=True
    ):
        note.say(template, "allergy", allergen=allergen, reaction=reaction)


def write_family(note: Note) -> None:
    """Two relatives, what they had, and at what age; the second one died of it."""
    note.begin_sentence()
    relatives, problems = note.pick_several(RELATIVES, 2), note.pick_several(FAMILY_PROBLEMS, 2)
    for template, relative, problem in zip(
        note.rng.choice((_FAMILY_PROSE, _FAMILY_LIST)), relatives, problems, strict=True
    ):
        note.say(template, "relative", relative=relative, problem=problem, age=str(note.rng.randint(31, 79)))


def write_symptoms(note: Note) -> None:
    """Two symptoms the patient denies and one reported."""
    note.begin_sentence()
    denied0, denied1, reported = note.pick_several(SYMPTOMS, 3)
    note.say(note.rng.choice(_SYMPTOMS_SAID), "symptoms", denied0=denied0, denied1=denied1, reported=reported)


def write_visits(note: Note) -> None:
    """Two appointments after discharge."""
    note.begin_sentence()
    clinics = note.pick_several(CLINICS, 2)
    intervals = note.rng.sample(sorted(INTERVALS), 2)
    for template, clinic, interval in zip(
        note.rng.choice((_VISITS_PROSE, _VISITS_LIST)), clinics, intervals, strict=True
    ):
        note.say(template, "visit", clinic=clinic, interval=interval)


_FURTHER = (
    write_change,
    write_stop,
    write_starts,
    write_series,
    write_exams,
    write_allergies,
    write_family,
    write_symptoms,
    write_visits,
)
_MONTHS = (("March", "03"), ("May", "05"), ("August", "08"), ("October", "10"), ("January", "01"))


def write_note(rng: random.Random, split: str, n_further: int) -> Note:
    """One note: opening (about 20 word pieces), drugs (20) and `n_further` of the other sections (20 each)."""
    note = Note(split, rng)
    name, digits = rng.choice(_MONTHS)
    note.month = rng.choice(((name, digits), ("", digits)))
    note.days = sorted(rng.sample(range(1, 29), 5))
    write_opening(note)
    write_home_drugs(note)
    for write in rng.sample(_FURTHER, n_further):
        write(note)
    note.text = note.text.rstrip()
    return note
