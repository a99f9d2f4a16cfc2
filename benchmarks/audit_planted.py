"""Plant rows that meet others on purpose among real ones, and count how many an audit finds and how many it invents.

    python benchmarks/audit_planted.py --data_dir DIR --output FILE.json

Training rows are those of wiki_train.json (and of the demo); planted rows, made from them, lie in the other split
beside rows that have nothing to do with them (wiki_dev.json, xquad_en.json, amazon.json.gz). A planted row is found
when its pair with the row that it was made from is listed at the level that was planted; a pair is right when it was
planted, or when a loop over runs of words, which is not the suite's code, says that one context lies in the other.
Reads: the real data sets. Writes: a table to stdout, and FILE.json with FILE.md beside it.
"""

import argparse
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd  # noqa: E402

from datamap.audit.meetings import find_meetings, joined_rows  # noqa: E402
from datamap.audit.pairs import pairs_table  # noqa: E402
from datamap.data.examples import load_examples  # noqa: E402
from datamap.data.sources import open_source  # noqa: E402
from tables import markdown, write  # noqa: E402

SEED, N_PLANTED = 1, 200
SIZES = ((0, 50), (50, 100), (100, 200), (200, 10**9))  # words of the context that a row was made from
TEMPLATES = (
    "Which remark of the author concerns {}, if any?",
    "Could a newcomer tell from this excerpt who or what {} was?",
    "Summarise the author's remark on {} please?",
    "Why would a curious reader look up {} afterwards?",
)
UNRELATED = ("wiki_dev.json", "xquad_en.json", "amazon.json.gz")


def frame_of(name: str, split: str = "train") -> pd.DataFrame:
    """The checked rows of a data set."""
    columns = ["id", "context", "question", "answers"]
    return load_examples(open_source(name, "qa"), split, "qa").frame[columns]


def answered(context: str, question: str, start: int, text: str) -> dict:
    """A row whose answer stands at `start`."""
    return {"context": context, "question": question, "answers": {"text": [text], "answer_start": [start]}}


def other_case(row: dict, draw: random.Random) -> dict:
    """Other case, blanks and punctuation in both texts."""
    context = row["context"].swapcase().replace(" ", "  ")
    return answered(context + " !", row["question"].upper() + " ??", 0, context.split()[0])


def one_word_exchanged(row: dict, draw: random.Random) -> dict:
    """Another word in the place of one."""
    words = row["context"].split()
    words[draw.randrange(len(words))] = "Zwölfkampf"
    return excerpt_of(words, 0, len(words))


def excerpt_of(words: list[str], begin: int, n_words: int) -> dict:
    """A row about some of the words, with a question of its own."""
    part = words[begin : begin + n_words]
    return answered(" ".join(part), f"Whereabouts does {part[0]} come up?", 0, part[0])


def excerpt(share: float) -> Callable[[dict, random.Random], dict]:
    """Makes a row of a run of words of the context, a share of them."""

    def make(row: dict, draw: random.Random) -> dict:
        words = row["context"].split()
        n_words = max(1, round(share * len(words)))
        return excerpt_of(words, draw.randrange(len(words) - n_words + 1), n_words)

    return make


def other_answer(row: dict, draw: random.Random) -> dict:
    """The same texts, another answer: a word that the label does not have."""
    label = row["answers"]["text"][0].lower()
    places = [found for found in re.finditer(r"\w+", row["context"]) if found[0].lower() not in label]
    chosen = draw.choice(places)
    return answered(row["context"], row["question"], chosen.start(), chosen[0])


def asked_again(row: dict, draw: random.Random) -> dict:
    """The same answer, another question."""
    answer = row["answers"]
    question = f"Kindly point out number {draw.randrange(10**6)}?"
    return answered(row["context"], question, answer["answer_start"][0], answer["text"][0])


# What is planted, the level it belongs to, and whether texts are the same with another label.
KINDS: dict[str, tuple[str, Callable[[dict, random.Random], dict]]] = {
    "copy": ("exact", lambda row, draw: {name: row[name] for name in ("context", "question", "answers")}),
    "same texts, another answer": ("exact", other_answer),
    "other case, blanks, marks": ("normalised", other_case),
    "same answer, asked again": ("answer", asked_again),
    "one word exchanged": ("contained", one_word_exchanged),
    "excerpt of a half": ("contained", excerpt(0.5)),
    "excerpt of a tenth": ("contained", excerpt(0.1)),
}


def planted_rows(train: pd.DataFrame, draw: random.Random) -> list[dict]:
    """The planted rows with `kind`, `level` and the `sources` (rows of `train`) that they were made from."""
    by_context = train.drop_duplicates("context")
    found = []
    for kind, (level, make) in KINDS.items():
        for size in SIZES:
            lengths = by_context["context"].str.split().str.len()
            fitting = by_context[(lengths >= size[0]) & (lengths < size[1])]
            for row in fitting.sample(min(N_PLANTED, len(fitting)), random_state=SEED).to_dict("records"):
                about = {"kind": kind, "level": level, "sources": [row["id"]], "size": size}
                found.append(make(row, draw) | about)
    for _ in range(N_PLANTED):
        first, second = by_context.sample(2, random_state=draw.randrange(2**32)).to_dict("records")
        joined = excerpt_of(f"{first['context']} {second['context']}".split(), 0, 10**6)
        sources = [first["id"], second["id"]]
        found.append(joined | {"kind": "two contexts joined", "level": "contained", "sources": sources, "size": None})
    return [row | {"id": f"planted {number}"} for number, row in enumerate(found)]


def filled(frame: pd.DataFrame, n_rows: int, name: str, draw: random.Random) -> list[dict]:
    """Questions filled from TEMPLATES with a name of their contexts, or a long word where there is none."""
    found = []
    for number, row in enumerate(frame.sample(n_rows, random_state=SEED).to_dict("records")):
        text = TEMPLATES[number % len(TEMPLATES)]
        names = re.findall(r"(?<=[a-z,] )[A-Z][^\W\d_]{4,}(?: [A-Z][^\W\d_]{4,}){,2}", row["context"])
        part = draw.choice(names or re.findall(r"[^\W\d_]{8,}", row["context"]) or [row["context"].split()[0]])
        about = {"id": f"{name} {number}", "template": text}
        found.append(answered(row["context"], text.format(part), row["context"].index(part), part) | about)
    return found


def runs(words: list[str], n_words: int) -> set[tuple[str, ...]]:
    """The runs of so many words."""
    return {tuple(words[place : place + n_words]) for place in range(len(words) - n_words + 1)}


def is_contained(first: str, second: str) -> bool:
    """Whether a share of 0.75 of the runs of the shorter text stands in the other: words are told apart more simply."""
    texts = sorted((re.findall(r"[^\W_]+", text.casefold()) for text in (first, second)), key=len)
    n_words = min(5, len(texts[0]))
    inner, outer = (runs(words, n_words) for words in texts)
    return len(inner & outer) >= 0.75 * len(inner)


def measured(train: pd.DataFrame, unrelated: pd.DataFrame) -> list[dict]:
    """A row a kind and size: planted, found, and over a whole level how many of the listed pairs are right."""
    draw = random.Random(SEED)
    planted = planted_rows(train, draw)
    known = pd.DataFrame(filled(train, N_PLANTED, "known", draw))
    asked = pd.DataFrame(filled(unrelated, N_PLANTED, "asked", draw))
    columns = ["id", "context", "question", "answers"]
    first = pd.concat([train, known[columns]], ignore_index=True)
    second = pd.concat([unrelated, asked[columns], pd.DataFrame(planted)[columns]], ignore_index=True)
    rows = joined_rows([first, second], ["train", "eval"], ())
    table = pairs_table(rows, find_meetings(rows))
    across = table[(table["split"] == "eval") & (table["other_split"] == "train")]
    context_of = dict(zip(rows.frame["id"], rows.frame["context"], strict=True))
    found = [scored(part, across, context_of) for part in by_kind(planted)]
    return found + [scored_templates(known, asked, table, rows.frame)] + [scored_unrelated(unrelated, across)]


def by_kind(planted: list[dict]) -> list[list[dict]]:
    """The planted rows of one kind and size together."""
    parts: dict[tuple, list[dict]] = {}
    for row in planted:
        parts.setdefault((row["kind"], row["size"]), []).append(row)
    return list(parts.values())


def scored(part: list[dict], across: pd.DataFrame, context_of: dict[str, str]) -> dict:
    """Recall over what was planted of one kind and size, precision over the pairs that the same rows are in."""
    listed = across[across["id"].isin({row["id"] for row in part})]
    source_of = {row["id"]: {context_of[source] for source in row["sources"]} for row in part}
    met = {
        (context_of[row["id"]], context_of[row["other_id"]])
        for row in across[across["level"] == part[0]["level"]].to_dict("records")
    }
    wanted = {(context_of[name], text) for name, texts in source_of.items() for text in texts}
    stronger = listed[listed["level"] != "template"]
    right = [
        context_of[row["other_id"]] in source_of[row["id"]]
        or is_contained(context_of[row["id"]], context_of[row["other_id"]])
        for row in stronger.to_dict("records")
    ]
    size = part[0]["size"]
    name = "any" if size is None else f"{size[0]} to {size[1] - 1}" if size[1] < 10**9 else f"{size[0]} and more"
    return {
        "planted": part[0]["kind"], "words of the context": name, "level": part[0]["level"], "rows": len(part),
        "recall": len(met & wanted) / len(wanted), "pairs listed": len(right),
        "precision": sum(right) / max(len(right), 1),
    }  # fmt: skip


def scored_templates(known: pd.DataFrame, asked: pd.DataFrame, table: pd.DataFrame, frame: pd.DataFrame) -> dict:
    """The same over pairs of filled templates: pairs of each with the first of its group."""
    template_of = dict(zip([*known["id"], *asked["id"]], [*known["template"], *asked["template"]], strict=True))
    part = table[(table["level"] == "template") & (table["id"].isin(template_of) | table["other_id"].isin(template_of))]
    group_of = {name: row["other_id"] for row in part.to_dict("records") for name in (row["id"], row["other_id"])}
    largest = pd.Series(group_of).groupby(pd.Series(template_of)).agg(lambda ids: ids.value_counts().index[0])
    n_found = sum(group_of.get(name) == largest.get(text) for name, text in template_of.items())
    right = [template_of.get(row["id"]) == template_of.get(row["other_id"]) for row in part.to_dict("records")]
    return {
        "planted": f"{len(TEMPLATES)} templates, filled", "words of the context": "any", "level": "template",
        "rows": len(template_of), "recall": n_found / len(template_of), "pairs listed": len(right),
        "precision": sum(right) / max(len(right), 1),
    }  # fmt: skip


def scored_unrelated(unrelated: pd.DataFrame, across: pd.DataFrame) -> dict:
    """How many unrelated rows meet training, wordings apart."""
    met = across[across["id"].isin(set(unrelated["id"])) & (across["level"] != "template")]
    return {"planted": "nothing: unrelated rows", "words of the context": "any", "level": "any but template",
            "rows": len(unrelated), "recall": None, "pairs listed": len(met), "precision": None}  # fmt: skip


def main() -> None:
    """Plant, audit, count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the real data sets")
    parser.add_argument("--output", type=Path, help="file for the numbers, .json; the table lies beside it as .md")
    options = parser.parse_args()
    others = [frame_of(str(options.data_dir / name)) for name in UNRELATED]
    unrelated = pd.concat([part.assign(id=f"{number} " + part["id"]) for number, part in enumerate(others)])
    demo = frame_of("demo", "validation").assign(id=lambda frame: "demo " + frame["id"])
    text = ""
    numbers = {}
    for name, train, rest in (
        ("wiki_train.json", frame_of(str(options.data_dir / "wiki_train.json")), unrelated),
        ("demo", frame_of("demo"), demo),
    ):
        numbers[name] = measured(train, rest.reset_index(drop=True))
        text += f"## {name}\n\n{markdown(numbers[name], 3)}\n"
    write(options.output, numbers, text)


if __name__ == "__main__":
    main()
