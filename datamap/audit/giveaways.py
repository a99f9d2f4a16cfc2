"""What the hypothesis alone says of an NLI label: words that give it away, negation and length, a bag of words."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import hypergeom
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from datamap.audit.meetings import hash_order
from datamap.audit.words import find_terms
from datamap.data.groups import fill_folds
from datamap.data.questions import LENGTH_GROUPS, NEGATION_GROUPS, groupings
from datamap.evaluation.metrics import bootstrap_interval

MIN_ROWS = 20
FAMILYWISE_ERROR_RATE = 0.05
N_EXAMPLE_IDS = 3
COLUMNS = (
    "text", "n_words", "label", "n_rows", "n_with_label", "share", "label_share", "difference", "p_value",
    "p_adjusted", "example_ids",
)  # fmt: skip

N_FOLDS = 5
MIN_ROWS_OF_FEATURES = 3
# With scikit-learn's own 1.0 the model fits SICK's 4,500 pairs by heart and stays below the majority's share.
INVERSE_PENALTY = 0.1
MAX_ITERATIONS = 1000
MAX_ROWS = 100_000


def giveaways(
    hypotheses: Sequence[str], labels: np.ndarray, label_names: Sequence[str], ids: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """Words and adjacent word pairs of the hypothesis that stand with a label more often than chance would have them.

    One-sided hypergeometric test of each term and label: with K of the N rows labelled so, a term that n rows have
    (each counts once, however often it has it) and n_with_label of them with the label gets
    p = P(X >= n_with_label), X ~ Hypergeometric(N, K, n). Tested are all terms that at least MIN_ROWS rows have, with
    all labels that occur; p_adjusted is Bonferroni's, min(1, p · number of tests), and terms below
    FAMILYWISE_ERROR_RATE are listed. With labels that do not depend on the hypotheses, any term at all is listed in
    at most 5% of the data sets.

    After the competency test of Gardner et al. 2021 (arXiv 2104.08646, section 3). We differ: their null is a uniform
    label, p(y | word) = 1 / number of labels, tested by a normal approximation; ours is the label's own share, tested
    exactly. Pairs of words are tested, too. Rows count one by one: a sentence that many rows repeat lends its weight
    to all its words.

    Args:
        hypotheses: n texts.
        labels: int [n], indices into `label_names`.
        label_names: of all labels.
        ids: n texts, each another one.

    Returns:
        A row a giveaway, the lowest p_value first, of equal ones the largest difference, then by text: text,
        n_words (1 or 2), label (its name), n_rows and n_with_label (counts), share = n_with_label / n_rows and
        label_share = K / N in [0, 1], difference = share - label_share in (0, 1] (the effect size: higher gives more
        away), p_value and p_adjusted in [0, 1], example_ids (a list of up to three with term and label, drawn by the
        hash of the id). And the number of tests. The order of the rows changes nothing.
    """
    order = hash_order(ids)
    labels = np.asarray(labels)[order]
    terms = find_terms([hypotheses[row] for row in order], MIN_ROWS)
    present = np.unique(labels)
    has_label = labels[:, None] == present
    n_with_label = (terms.presence.T @ has_label.astype(np.float64)).astype(np.int64)
    n_rows, label_rows = n_with_label.sum(axis=1), has_label.sum(axis=0)
    p_value = hypergeom.sf(n_with_label - 1, len(labels), label_rows, n_rows[:, None])
    p_adjusted = np.minimum(p_value * p_value.size, 1.0)
    term, label = np.nonzero(p_adjusted < FAMILYWISE_ERROR_RATE)
    share, label_share = n_with_label[term, label] / n_rows[term], label_rows[label] / len(labels)
    texts = [terms.names[place] for place in term]
    names = [label_names[index] for index in present[label]]
    numbers = (n_rows[term], n_with_label[term, label], share, label_share, share - label_share)
    examples = _example_ids(csr_array(terms.presence.T), has_label, term, label, [ids[row] for row in order])
    columns = (texts, terms.n_words[term], names, *numbers, p_value[term, label], p_adjusted[term, label], examples)
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    order_of_terms = ["p_value", "difference", "text"]
    return table.sort_values(order_of_terms, ascending=[True, False, True], ignore_index=True), p_value.size


def _example_ids(
    rows_of: csr_array, has_label: np.ndarray, terms: np.ndarray, labels: np.ndarray, ids: list[str]
) -> list[list[str]]:
    """The ids of the first rows with each term and label.

    `rows_of`: [n_terms, n_rows]; `has_label`: bool [n_rows, n_labels]; `terms`, `labels`: what is looked for.
    """
    found = []
    for term, label in zip(terms.tolist(), labels.tolist(), strict=True):
        rows = np.sort(rows_of.indices[rows_of.indptr[term] : rows_of.indptr[term + 1]])
        found.append([ids[row] for row in rows[has_label[rows, label]][:N_EXAMPLE_IDS]])
    return found


def by_label(frame: pd.DataFrame, label_names: Sequence[str]) -> pd.DataFrame:
    """Negation and length of the hypotheses of each label.

    Source of both cues: Gururangan et al. 2018 (arXiv 1803.02324).

    Args:
        frame: a canonical NLI frame.
        label_names: of all labels.

    Returns:
        A row a label that occurs, in the order of `label_names`: label, n_rows, share (of all rows), negation_share
        (see `datamap.data.questions.negated`), mean_words (white-space words), and for each of LENGTH_GROUPS the share
        of the label's rows in it; shares in [0, 1], those of the groups sum to 1.
    """
    groups = groupings(frame, label_names)
    columns = {"negation_share": np.array(groups["negation"]) == NEGATION_GROUPS[0]}
    columns["mean_words"] = np.array([len(text.split()) for text in frame["hypothesis"]])
    columns |= {name: np.array(groups["hypothesis_length"]) == name for name in LENGTH_GROUPS}
    labels = pd.Categorical(groups["gold_label"], list(label_names))
    rows = pd.DataFrame(columns).groupby(labels, observed=True)
    counts = rows.size()
    heads = {"label": counts.index.astype(object), "n_rows": counts, "share": counts / len(frame)}
    return pd.concat([pd.DataFrame(heads), rows.mean()], axis=1).reset_index(drop=True)


def hypothesis_alone(
    hypotheses: Sequence[str], labels: np.ndarray, ids: Sequence[str], groups: np.ndarray, seed: int
) -> dict:
    """How often a bag of words finds the label without the premise, out of fold.

    Features: 1 for each word and adjacent word pair that a hypothesis has (of those that at least
    MIN_ROWS_OF_FEATURES rows have). Model: multinomial logistic regression, L2 penalty with C = INVERSE_PENALTY,
    fitted by L-BFGS from zero. Whole groups go to N_FOLDS folds, the largest first, each to the smallest fold; every
    row's label is predicted by the model of the other folds. Of more than MAX_ROWS rows those with the lowest SHA-256
    of the id are taken. The order of the rows changes nothing.

    Args:
        hypotheses: n texts.
        labels: int [n].
        ids: n texts, each another one.
        groups: int [n], any numbers: rows of one group are never on both sides.
        seed: draws the bootstrap's groups.

    Returns:
        n_rows (taken), n_all_rows, n_groups, largest_group_share, majority_share (of the most frequent label among
        the rows taken: what constant guessing reaches), accuracy in [0, 1] (higher: the hypothesis gives more away)
        and its accuracy_low and accuracy_high, a 95% bootstrap interval over groups. These three are None where
        nothing can be held out, and `why_not` says why ("" else).
    """
    order = hash_order(ids)[:MAX_ROWS]
    labels = np.asarray(labels)[order]
    codes = pd.factorize(np.asarray(groups)[order])[0]
    sizes, label_rows = np.bincount(codes), np.unique(labels, return_counts=True)[1]
    found = {
        "n_rows": len(order), "n_all_rows": len(ids), "n_groups": len(sizes),
        "largest_group_share": float(sizes.max() / len(order)), "majority_share": float(label_rows.max() / len(order)),
        "accuracy": None, "accuracy_low": None, "accuracy_high": None, "why_not": "",
    }  # fmt: skip
    if len(label_rows) == 1:
        return found | {"why_not": "all rows have the same label"}
    if len(sizes) < N_FOLDS:
        return found | {"why_not": f"{len(sizes)} groups cannot fill {N_FOLDS} folds"}
    presence = find_terms([hypotheses[row] for row in order], MIN_ROWS_OF_FEATURES).presence
    hits = _out_of_fold(presence, labels, fill_folds(codes, range(len(sizes)), N_FOLDS)) == labels
    low, high = bootstrap_interval(hits, codes, seed)
    return found | {"accuracy": float(hits.mean()), "accuracy_low": low, "accuracy_high": high}


def _out_of_fold(presence: csr_array, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The label that the model of the other folds gives to every row, int [n]."""
    predicted = np.empty_like(labels)
    for fold in tqdm(range(N_FOLDS), desc="Hypothesis alone", unit="fold", leave=False):
        held_out = folds == fold
        known = np.unique(labels[~held_out])
        if len(known) == 1:
            predicted[held_out] = known[0]
            continue
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS)
        model.fit(presence[~held_out], labels[~held_out])
        predicted[held_out] = model.predict(presence[held_out])
    return predicted
