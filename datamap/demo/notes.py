"""Clinical notes for the built-in data set: their vocabulary, and where each fact stands in them.

Everything is invented. A note is written piece by piece, and every value that goes into it leaves its
place behind, so that a question about it has an exact answer span without any searching.
"""

import random
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

SPLITS = ("train", "validation")


def _values(line: str) -> list[str]:
    """The values of a line, which commas separate."""
    return line.split(", ")


# name | doses | ways of giving it | how often | what for | what kind of drug
_DRUG_TABLE = """
metoprolol|12.5 mg, 25 mg, 50 mg, 100 mg|by mouth, PO|twice daily, every 12 hours|rate control|beta blocker
lisinopril|5 mg, 10 mg, 20 mg, 40 mg|by mouth, PO|daily, every morning|hypertension|ACE inhibitor
furosemide|20 mg, 40 mg, 60 mg, 80 mg|by mouth, PO|daily, twice daily|edema|water pill
warfarin|2 mg, 2.5 mg, 5 mg, 7.5 mg|by mouth, PO|every evening, nightly|atrial fibrillation|blood thinner
metformin|500 mg, 850 mg, 1000 mg|by mouth, with meals|twice daily, daily|type 2 diabetes|diabetes pill
nitroglycerin|0.3 mg, 0.4 mg, 0.6 mg|under the tongue|every 5 minutes, as needed|angina|nitrate
gabapentin|100 mg, 300 mg, 600 mg|by mouth, PO|three times daily, at bedtime|neuropathy|nerve medicine
omeprazole|20 mg, 40 mg|by mouth, PO|daily, before breakfast|GERD|acid suppressant
albuterol|2 puffs, 1 puff, 2.5 mg|inhaled, by nebulizer|every 4 hours, every 6 hours|wheezing|inhaler
prednisone|10 mg, 20 mg, 40 mg, 60 mg|by mouth, PO|daily, every other day|COPD|steroid
levothyroxine|25 mcg, 50 mcg, 75 mcg, 100 mcg|by mouth, PO|daily, before breakfast|hypothyroidism|thyroid hormone
sertraline|25 mg, 50 mg, 100 mg|by mouth, PO|daily, every morning|depression|antidepressant
oxycodone|5 mg, 10 mg, 15 mg|by mouth, PO|every 4 hours as needed, every 6 hours|postoperative pain|opioid
timolol|1 drop, 2 drops|in both eyes, into the left eye|twice daily, nightly|raised eye pressure|eye drop
clopidogrel|75 mg, 150 mg, 300 mg|by mouth, PO|daily, every morning|coronary stent|antiplatelet
atorvastatin|10 mg, 20 mg, 40 mg, 80 mg|by mouth, PO|nightly, every evening|hyperlipidemia|statin
allopurinol|100 mg, 200 mg, 300 mg|by mouth, PO|daily, every morning|gout|uric acid lowering drug
levetiracetam|250 mg, 500 mg, 750 mg, 1000 mg|by mouth, PO|twice daily, every 12 hours|seizures|anticonvulsant
ondansetron|4 mg, 8 mg|by mouth, PO|every 8 hours, before meals|nausea|antiemetic
senna|2 tablets, 1 tablet, 8.6 mg|by mouth, PO|at bedtime, twice daily|constipation|laxative
trazodone|25 mg, 50 mg, 100 mg|by mouth, PO|at bedtime, nightly|insomnia|sleep aid
tamsulosin|0.4 mg, 0.8 mg|by mouth, PO|daily, at bedtime|BPH|alpha blocker
donepezil|5 mg, 10 mg, 23 mg|by mouth, PO|nightly, at bedtime|dementia|memory drug
ferrous sulfate|325 mg, 650 mg|by mouth, PO|daily, three times daily|anemia|iron supplement
methotrexate|10 mg, 15 mg, 20 mg|subcutaneously, by mouth|weekly, every Monday|psoriasis|immunosuppressant
azithromycin|250 mg, 500 mg|by mouth, PO|daily, every 24 hours|pneumonia|macrolide
"""

LAY_WORDS = {
    "rate control": "a fast pulse",
    "hypertension": "high blood pressure",
    "edema": "swollen legs",
    "atrial fibrillation": "an irregular heartbeat",
    "type 2 diabetes": "sugar disease",
    "angina": "tightness in the chest",
    "neuropathy": "nerve pain",
    "GERD": "acid reflux",
    "wheezing": "tight airways",
    "COPD": "chronic lung disease",
    "hypothyroidism": "an underactive thyroid",
    "depression": "low mood",
    "postoperative pain": "discomfort after surgery",
    "raised eye pressure": "too much tension in the eyes",
    "coronary stent": "a mesh tube in the heart",
    "hyperlipidemia": "high cholesterol",
    "gout": "painful joint attacks",
    "seizures": "fits",
    "nausea": "feeling sick",
    "constipation": "hard stools",
    "insomnia": "trouble sleeping",
    "BPH": "an enlarged prostate",
    "dementia": "memory loss",
    "anemia": "a low blood count",
    "pneumonia": "a lung infection",
    "psoriasis": "scaly skin",
}

PROBLEMS = _values(
    "asthma, cirrhosis, osteoporosis, migraine, endometriosis, sleep apnea, chronic kidney disease, hepatitis C, "
    "rheumatoid arthritis, coronary artery disease, obesity, glaucoma, epilepsy, diverticulosis, heart failure, "
    "ulcerative colitis, lupus, peripheral vascular disease, spinal stenosis, aortic stenosis"
)
COMPLAINTS = _values(
    "chest pain, shortness of breath, abdominal pain, confusion, a fall, fever, vomiting, leg weakness, "
    "palpitations, headache, flank pain, dizziness, productive cough, black stools"
)
SYMPTOMS = _values(
    "chills, cough, diarrhea, night sweats, weight loss, blurred vision, joint pain, rash, itching, dysuria, "
    "orthopnea, sore throat, numbness, back pain, hoarseness, poor appetite"
)
# Why a drug was lowered or stopped, and why one was raised.
SIDE_EFFECTS = _values(
    "bradycardia, acute kidney injury, high potassium, lightheadedness, low blood pressure, easy bruising, "
    "drowsiness, a prolonged QT interval, elevated liver enzymes, a nosebleed, low sodium, tremor, facial flushing"
)
SHORTFALLS = _values(
    "persistent symptoms, poor control, a low drug level, an inadequate response, recent weight gain, "
    "a relapse at home, missed targets"
)
ALLERGENS = _values(
    "penicillin, sulfa drugs, codeine, latex, iodinated contrast, morphine, shellfish, aspirin, adhesive tape, "
    "ibuprofen, ciprofloxacin, peanuts"
)
REACTIONS = _values("hives, throat swelling, anaphylaxis, stomach upset, blistering, wheals, fainting, vomiting")
FAMILY_PROBLEMS = _values(
    "breast cancer, stroke, colon cancer, Parkinson disease, early heart attack, kidney failure, lung cancer, "
    "leukemia, type 1 diabetes, aneurysm, melanoma, multiple sclerosis"
)
RELATIVES = _values("mother, father, brother, sister, maternal aunt, paternal uncle, grandfather")
CLINICS = _values(
    "cardiology, nephrology, neurology, the wound clinic, primary care, endocrinology, hematology, "
    "the pulmonary clinic, gastroenterology, vascular surgery"
)
DURATIONS = _values("two days, three weeks, six hours, five days, one month, ten days, four hours, one week")

# An interval and its length in days, for asking which appointment comes first.
INTERVALS = {
    "3 days": 3,
    "one week": 7,
    "10 days": 10,
    "two weeks": 14,
    "one month": 30,
    "6 weeks": 42,
    "three months": 90,
    "six months": 180,
}

# A blood test and its values from low to high.
LABS = {
    "creatinine": "0.9, 1.2, 1.6, 2.1, 2.8, 3.4",
    "hemoglobin": "7.2, 8.4, 9.1, 10.3, 11.6, 12.8",
    "potassium": "3.1, 3.6, 4.2, 4.9, 5.4, 6.0",
    "white count": "4.8, 7.5, 11.9, 14.2, 17.6, 21.3",
    "sodium": "124, 128, 131, 135, 139, 143",
    "INR": "1.1, 1.8, 2.3, 2.9, 3.7, 4.5",
    "glucose": "88, 126, 171, 214, 263, 318",
    "troponin": "0.01, 0.04, 0.12, 0.38, 0.9, 2.2",
    "platelets": "41, 78, 132, 205, 264, 340",
}

# An examination | what it may show | how a lay person calls it
_EXAM_TABLE = """
chest X-ray|a right lower lobe infiltrate, bilateral effusions, hyperinflation|picture of the lungs
head CT|no acute bleed, an old lacunar infarct, mild atrophy|brain scan
echocardiogram|an ejection fraction of 35%, moderate mitral regurgitation, normal wall motion|heart ultrasound
colonoscopy|two sessile polyps, sigmoid diverticula, a friable mass|bowel inspection
EKG|left bundle branch block, sinus tachycardia, ST depression|heart tracing
renal ultrasound|mild hydronephrosis, a simple cyst, small kidneys|kidney imaging
blood culture|Staphylococcus aureus, no growth, Escherichia coli|search for germs
upper endoscopy|a duodenal ulcer, erosive gastritis, small varices|look into the stomach
lumbar MRI|a disc herniation at L4-L5, severe foraminal narrowing, marrow edema|back scan
"""


def _parse_drugs(table: str) -> list[dict]:
    rows = [line.split("|") for line in table.strip().splitlines()]
    return [
        {
            "drug": name,
            "doses": doses.split(", "),
            "routes": routes.split(", "),
            "frequencies": frequencies.split(", "),
            "reason": reason,
            "drug_class": drug_class,
        }
        for name, doses, routes, frequencies, reason, drug_class in rows
    ]


def _parse_exams(table: str) -> list[dict]:
    rows = [line.split("|") for line in table.strip().splitlines()]
    return [{"test": name, "findings": findings.split(", "), "lay": lay} for name, findings, lay in rows]


DRUGS = _parse_drugs(_DRUG_TABLE)
EXAMS = _parse_exams(_EXAM_TABLE)
DRUG_CLASSES = {drug["drug"]: drug["drug_class"] for drug in DRUGS}
EXAM_LAY_WORDS = {exam["test"]: exam["lay"] for exam in EXAMS}


# Values that are of one type although they have different names; any other value is a type of its own.
_TYPES = {
    **dict.fromkeys(("old", "new"), "dose"),
    **dict.fromkeys(("admitted", "first_date", "last_date"), "date"),
    **dict.fromkeys(("first_value", "last_value"), "value"),
    **dict.fromkeys(("reason", "cause", "complaint", "problem", "problem0", "problem1"), "condition"),
    **dict.fromkeys(("denied0", "denied1", "reported"), "symptom"),
}


def type_of(name: str) -> str:
    """The type of the value called `name`: old and new doses are both doses."""
    return _TYPES.get(name, name)


def for_split(values: list, split: str) -> list:
    """The values a split may use: training never sees the last sixth of a list, validation never the first."""
    held_out = max(1, len(values) // 6)
    return values[:-held_out] if split == "train" else values[held_out:]


def names_in(template: str) -> set[str]:
    """The names in braces that a template needs values for."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@dataclass
class Fact:
    """One statement of a note: its kind, the values it names, the place (start) of each, its sentence's number.

    `hidden` keeps what is true of it but not said in these words (the day as a number, the direction of a change).
    """

    kind: str
    values: dict[str, str]
    starts: dict[str, int]
    sentence: int
    hidden: dict[str, int | str] = field(default_factory=dict)


@dataclass
class Note:
    """A note while it is written and after: its text, the facts in it, and where its sentences begin."""

    split: str
    rng: random.Random
    text: str = ""
    facts: list[Fact] = field(default_factory=list)
    sentence_starts: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    month: tuple[str, str] = ("", "")

    def begin_sentence(self) -> None:
        """Starts a sentence: what is written from here on belongs to it."""
        self.sentence_starts.append(len(self.text))

    def say(self, template: str, kind: str = "", **values: str) -> Fact:
        """Appends the template filled with values; with a kind, also remembers a fact with the values used."""
        fact = Fact(kind, {}, {}, len(self.sentence_starts) - 1)
        for literal, name, _, _ in string.Formatter().parse(template):
            self.text += literal
            if name is None:
                continue
            fact.values.setdefault(name, values[name])
            fact.starts.setdefault(name, len(self.text))
            begins = not self.text or self.text.endswith((". ", "\n"))
            self.text += values[name][0].upper() + values[name][1:] if begins else values[name]
        if kind:
            self.facts.append(fact)
        return fact

    def pick(self, values: Collection) -> Any:
        """One value that this note's split may use."""
        return self.rng.choice(for_split(list(values), self.split))

    def pick_several(self, values: Collection, number: int) -> list:
        """Different values that this note's split may use, in random order."""
        return self.rng.sample(for_split(list(values), self.split), number)

    def date(self, day: int) -> str:
        """A day of the note's month, in the note's own style of writing dates."""
        name, digits = self.month
        return f"{name} {day}" if name else f"{digits}/{day:02d}"

    def sentences(self) -> list[str]:
        """The note cut at its sentence starts."""
        ends = [*self.sentence_starts[1:], len(self.text)]
        return [self.text[start:end].strip() for start, end in zip(self.sentence_starts, ends, strict=True)]

    def mentions(self, name: str) -> bool:
        """Whether the note says a name, be it at the start of a sentence."""
        return name.lower() in self.text.lower()

    def slice_of(self, fact: Fact, name: str) -> str:
        """A value as it stands in the text, where a sentence may begin with it."""
        return self.text[fact.starts[name] :][: len(fact.values[name])]

    def places(self, answer_type: str) -> list[tuple[int, str]]:
        """Start and text of every value of a type in the note."""
        return [
            (fact.starts[name], self.slice_of(fact, name))
            for fact in self.facts
            for name in fact.values
            if type_of(name) == answer_type
        ]
