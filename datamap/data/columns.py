"""What columns are called: the names that are known, and --columns for all others.

Names match without regard to case. Nothing is imported but the standard library, so that `--help` needs no more.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from datamap import errors

if TYPE_CHECKING:
    import pandas as pd

ROLES = {
    "qa": ("id", "context", "question", "answers", "answer_start", "answer_end", "is_impossible"),
    "nli": ("id", "premise", "hypothesis", "label"),
}
# Ids under other names, taken where every row has one of its own and there is no column `id`.
ID_NAMES = ("qid", "uid", "guid", "pairid", "pair_id", "question_id")
ANSWER_TEXTS = ("answer_text", "answer", "text")
# Names of the two sides of an NLI row; a question (GLUE's qnli) is the hypothesis, its sentence the premise.
NLI_SIDES = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("sentence", "question"),
    ("sentence_a", "sentence_b"),
    ("context", "hypothesis"),
)
NLI_LABELS = ("label", "gold_label", "gold", "entailment_label", "entailment_judgment")
KNOWN_NAMES = {name for names in (*ROLES.values(), ID_NAMES, ANSWER_TEXTS, *NLI_SIDES, NLI_LABELS) for name in names}
ANOTHER_NAME = "a column of another name is given as --columns {role}=NAME"


def refuse_unknown_roles(names: Mapping[str, str], task: str) -> None:
    """UsageError for a role that the task does not have, or a column with two roles."""
    unknown = [role for role in names if role not in ROLES[task]]
    if unknown:
        raise errors.UsageError(
            f"--columns {unknown[0]}={names[unknown[0]]}: the columns of --task {task} are {', '.join(ROLES[task])}."
        )
    first: dict[str, str] = {}
    for role, name in names.items():
        if name.lower() in first:
            raise errors.UsageError(
                f"--columns {first[name.lower()]}={name} {role}={name}: a column has one role; name another one."
            )
        first[name.lower()] = role


def by_lower_name(columns: Iterable, where: str) -> dict[str, str]:
    """Lower-case name → name as found; two columns that differ only by case are an error."""
    found: dict[str, str] = {}
    for name in map(str, columns):
        if name.lower() in found:
            raise errors.DataError(
                f"{where}: the columns {found[name.lower()]!r} and {name!r} differ only by case; rename one of them."
            )
        found[name.lower()] = name
    return found


def renamed(frame: "pd.DataFrame", names: Mapping[str, str], where: str) -> "pd.DataFrame":
    """The frame with the columns of `names` (role → name) called by their roles.

    Another column that has a role's name already is called source_ROLE.

    Raises:
        errors.DataError: there is no such column; says which are the nearest.
    """
    if not names:
        return frame
    found = by_lower_name(frame.columns, where)
    for role, name in names.items():
        if name.lower() not in found:
            raise errors.DataError(
                f"{where}: --columns {role}={name}, but there is no column {name!r}; found "
                f"{nearest_first(list(found.values()), [name])}."
            )
    own = {found[name.lower()]: role for role, name in names.items()}
    others = {found[role]: f"source_{role}" for role in names if role in found and found[role] not in own}
    changed = frame.rename(columns=own | others)
    sides = NLI_SIDES[0]
    if set(sides) & names.keys():
        require(by_lower_name(changed.columns, where), sides, where)
    return changed


def nearest_first(found: Sequence[str], wanted: Iterable[str]) -> str:
    """The columns found, shortened for a sentence, those that look most like one of the wanted before the others."""
    near = [name for want in wanted for name in difflib.get_close_matches(want, found)]
    return errors.shortlist(dict.fromkeys([*near, *found]) if len(found) > 6 else found)


def require(columns: Mapping[str, str], expected: Sequence[str], where: str) -> None:
    """DataError for columns that are missing; `columns` as from `by_lower_name`."""
    missing = [name for name in expected if name not in columns]
    if missing:
        raise errors.DataError(
            f"{where}: the column {', '.join(missing)} is missing; found "
            f"{nearest_first(list(columns.values()), missing)}, expected {', '.join(expected)}; "
            f"{ANOTHER_NAME.format(role=missing[0])}."
        )


def nli_columns(columns: Mapping[str, str], where: str, *, labelled: bool = True) -> tuple[str, str, str]:
    """The lower-case names of premise, hypothesis and label; DataError where one is missing (`labelled`: the label)."""
    first, second = next((pair for pair in NLI_SIDES if set(pair) <= set(columns)), NLI_SIDES[0])
    label = next((name for name in NLI_LABELS if name in columns), NLI_LABELS[0])
    require(columns, (first, second, label) if labelled else (first, second), where)
    return first, second, label
