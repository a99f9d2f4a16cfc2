"""The table of suspects: every row of a data set with its rank, its kind and a proposal."""

import numpy as np
import pandas as pd

from datamap.data.shown import shown_text
from datamap.labels.kinds import contradictions, kinds_of_masses, kinds_of_overlap
from datamap.labels.scores import COMBINED, combined, ranks, suspicion

NOT_RECORDED = "not in the recording (held out or not drawn)"
FIRST = ("id", "rank", "score", "kind", "label", "label_start", "proposal", "proposal_start", "proposal_prob")
WHOLE = ("rank", "label_start", "proposal_start", "predicted_start", "fold", "forgetting_events")


def suspects(
    frame: pd.DataFrame, label_names: tuple[str, ...], numbers: pd.DataFrame, score: str, why: dict[str, str]
) -> pd.DataFrame:
    """The table, a row an example of the data set, the most suspicious first, those without a rank last.

    Args:
        frame: canonical QA or NLI frame of the whole split.
        label_names: of NLI labels.
        numbers: by id, what recordings say: `metrics_of` and, out of fold, `qa_numbers` or `nli_numbers`.
        score: name of the score that ranks.
        why: by id, the reason of rows that were not recorded.

    Returns:
        FIRST, then the numbers, question and context (NLI: premise and hypothesis), and `reason` of rows without rank.
        A proposal is the most probable answer other than the label, where it is more probable than the label; an empty
        one at −1 is "no answer". Without a proposal its columns are missing.
    """
    numbers = numbers.reindex(frame["id"]).reset_index(drop=True)
    task = "qa" if "answers" in frame else "nli"
    scores = combined(numbers, task) if score == COMBINED else suspicion(numbers, score)
    table = pd.DataFrame({"id": frame["id"].to_numpy(), "score": scores})
    table["rank"] = ranks(scores, table["id"], numbers["last_loss"].to_numpy(dtype=np.float64))
    table["kind"] = np.where(np.isnan(scores), "", kinds(frame, numbers))
    table = table.join(labels(frame, label_names)).join(proposals(numbers))
    kept = [name for name in numbers if name not in ("other_answer", "other_start")]
    table = table.join(numbers[kept]).join(shown(frame, label_names))
    reasons = [why.get(identifier, NOT_RECORDED) for identifier in table["id"]]
    table["reason"] = np.where(np.isnan(scores), reasons, "")
    table = table[[*FIRST, *(name for name in table if name not in FIRST)]]
    whole = {name: "Int64" for name in WHOLE if name in table}
    return table.astype(whole).sort_values("rank", kind="stable", na_position="last").reset_index(drop=True)


def kinds(frame: pd.DataFrame, numbers: pd.DataFrame) -> np.ndarray:
    """The kind of every row, as far as what is known of it tells; a contradiction counts first."""
    if "answers" not in frame:
        found = np.full(len(frame), "label", dtype=object)
    else:
        unanswerable = np.array([not answer["text"] for answer in frame["answers"]], dtype=bool)
        if "place_prob" in numbers:
            found = kinds_of_masses(unanswerable, numbers)
        else:
            found = kinds_of_overlap(unanswerable, numbers["span_f1"].to_numpy(dtype=np.float64))
    return np.where(contradictions(frame), "contradiction", found)


def labels(frame: pd.DataFrame, label_names: tuple[str, ...]) -> pd.DataFrame:
    """`label` and, of QA, `label_start` (characters; −1: no answer)."""
    if "answers" not in frame:
        return pd.DataFrame({"label": [label_names[number] for number in frame["label"]], "label_start": np.nan})
    pairs = [(a["text"][0], a["answer_start"][0]) if a["text"] else ("", -1) for a in frame["answers"]]
    return pd.DataFrame(pairs, columns=["label", "label_start"])


def proposals(numbers: pd.DataFrame) -> pd.DataFrame:
    """`proposal`, `proposal_start`, `proposal_prob`: the other answer where it is more probable than the label."""
    if "other_prob" not in numbers:
        missing = np.full(len(numbers), np.nan)
        return pd.DataFrame({"proposal": None, "proposal_start": missing, "proposal_prob": missing})
    is_better = (numbers["other_prob"] > numbers["label_prob"]).to_numpy()
    starts = numbers["other_start"] if "other_start" in numbers else pd.Series(np.nan, index=numbers.index)
    return pd.DataFrame(
        {
            "proposal": numbers["other_answer"].where(is_better, None),
            "proposal_start": starts.astype(np.float64).where(is_better),
            "proposal_prob": numbers["other_prob"].where(is_better),
        }
    )


def shown(frame: pd.DataFrame, label_names: tuple[str, ...]) -> pd.DataFrame:
    """The texts of every row as a person reads them, without the label."""
    texts = pd.DataFrame([shown_text(row, label_names) for row in frame.to_dict("records")])
    return texts.drop(columns="gold")
