"""NLI labels by name: the data's in the order of the model's logits, or several of the model's counted as one."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datamap.data.records import NLI_ORDER
from datamap.errors import DataError, UsageError, shortlist

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

logger = logging.getLogger(__name__)

ENTAILMENT = NLI_ORDER[0]
NOT_ENTAILMENT = ("non-entailment", "non_entailment", "not_entailment", "not-entailment", "not entailment")
MAP_HINT = "or say which of the model's labels count as which with --label_map LABEL=MODEL_LABEL"


@dataclasses.dataclass(frozen=True)
class MergedLabels:
    """How the labels of a model count as those of the data.

    `names`: the model's labels in the order of its logits; `places`: for each, the place among the data's labels.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]

    def by_name(self, label_names: Sequence[str]) -> dict[str, list[str]]:
        """Label of the data → the model's labels that count as it."""
        pairs = list(zip(self.names, self.places, strict=True))
        return {label: [name for name, own in pairs if own == place] for place, label in enumerate(label_names)}


def generic(names: Sequence[str]) -> bool:
    """Whether label names are those of a model that was never told any (LABEL_0, …)."""
    return all(name.upper().startswith("LABEL_") for name in names)


def align_labels(examples: Any, target: tuple[str, ...]) -> Any:
    """Renumber NLI labels from the data's order of names to `target`'s, matched by name without regard to case.

    Labels that are bare numbers carry no names. From 0 to 2 or from 1 to 3 they are read as entailment, neutral,
    contradiction, the usual order, where `target` is in that order, and refused otherwise. Of numbers those that have
    rows must be among the names, since the others only fill a gap (see records.canonical_nli).

    Raises:
        DataError: the names differ, or bare numbers meet another order of names.
    """
    names = [name.lower() for name in examples.label_names]
    wanted = [name.lower() for name in target]
    if names == wanted:
        return examples
    where = f"{examples.name}, split {examples.split}, has the labels {shortlist(examples.label_names)}"
    in_order = names in (list("012")[: len(names)], list("123"))
    if in_order and tuple(wanted) == NLI_ORDER:
        logger.warning("%s; they are read as %s.", where, ", ".join(target))
        return dataclasses.replace(examples, label_names=target)
    labels = set(examples.frame["label"]) if all(map(str.isdigit, names)) else range(len(names))
    if not {names[label] for label in labels} <= set(wanted):
        raise DataError(f"{where}, but {shortlist(target)} are expected: write those names into the data, {MAP_HINT}.")
    number = {label: wanted.index(names[label]) for label in labels}
    frame = examples.frame.assign(label=[number[label] for label in examples.frame["label"]])
    return dataclasses.replace(examples, frame=frame, label_names=target)


def merge_labels(examples: Any, names: tuple[str, ...], counted: Mapping[str, str]) -> Any:
    """Examples whose evaluation counts labels of the model as those of the data.

    Args:
        names: the model's labels in the order of its logits; one that `counted` does not name counts as itself.
        counted: lower-case label of the model → label of the data.

    Raises:
        DataError: a label of the data is none that a prediction can have.
    """
    own = {name.lower(): name for name in examples.label_names}
    labels = [counted.get(name.lower(), own.get(name.lower(), name)) for name in names]
    merged = tuple(dict.fromkeys(labels))
    lost = [name for name in examples.label_names if name not in merged]
    if lost:
        raise DataError(
            f"{examples.name}, split {examples.split}, has the label {lost[0]}, which no prediction can have; the "
            f"model's labels {shortlist(names)} count as {shortlist(labels)}: mend --label_map LABEL=MODEL_LABEL."
        )
    aligned = align_labels(examples, merged)
    rule = MergedLabels(names, tuple(merged.index(label) for label in labels))
    told = [f"{' and '.join(parts)} as {label}" for label, parts in rule.by_name(merged).items() if parts != [label]]
    logger.info(
        "%s, split %s: the prediction is the most probable of %s; then counts %s.",
        examples.name, examples.split, shortlist(names), ", ".join(told),
    )  # fmt: skip
    return dataclasses.replace(aligned, merged=rule)


def asked_rule(label_map: Mapping[str, str], examples: Any, names: Sequence[str]) -> dict[str, str]:
    """--label_map as lower-case label of the model → label of the data.

    Raises:
        UsageError: a name that the model or the data do not have, one given twice, or a map that changes nothing.
    """
    own, known = {name.lower(): name for name in examples.label_names}, [name.lower() for name in names]
    counted = {}
    for label, listed in label_map.items():
        if label.lower() not in own:
            found = shortlist(examples.label_names)
            raise UsageError(f"--label_map {label}={listed}: the data's labels are {found}.")
        for name in (part.strip() for part in listed.split(",")):
            if name.lower() not in known:
                raise UsageError(
                    f"--label_map {label}={listed}: {name!r} is none of --model's labels, {shortlist(names)}."
                )
            if name.lower() in counted:
                raise UsageError(f"--label_map {label}={listed}: {name} is given twice.")
            counted[name.lower()] = own[label.lower()]
    if all(label.lower() == name for name, label in counted.items()):
        raise UsageError("--label_map changes nothing, labels of one name count as each other: leave it out.")
    return counted


def usual_rule(examples: Any, names: Sequence[str]) -> dict[str, str]:
    """The rule for data such as HANS, which tell entailment from all else: lower-case label of the model → "all else".

    Empty where the names are the same, or not of this kind.
    """
    own, known = {name.lower(): name for name in examples.label_names}, {name.lower() for name in names}
    others = [name for name in own if name in NOT_ENTAILMENT]
    parts = known - {ENTAILMENT}
    fits = len(others) == 1 and set(own) <= {ENTAILMENT, *others} and ENTAILMENT in known
    is_usual = parts == set(NLI_ORDER[1:]) or (len(parts) == 1 and parts <= set(NOT_ENTAILMENT))
    return dict.fromkeys(parts, own[others[0]]) if fits and is_usual and not set(own) <= known else {}


def evaluated_labels(examples: Any, names: tuple[str, ...], label_map: Mapping[str, str] | None) -> Any:
    """Examples to evaluate on, with their labels in the model's order or its labels counted as theirs.

    Raises:
        DataError, UsageError: the labels do not match; see `align_labels`, `merge_labels`, `asked_rule`.
    """
    counted = asked_rule(label_map, examples, names) if label_map else usual_rule(examples, names)
    return merge_labels(examples, names, counted) if counted else align_labels(examples, names)


def fit_labels(config: "PreTrainedConfig", data: dict, label_map: Mapping[str, str] | None = None) -> dict:
    """`data` with its NLI labels in the order of the model's logits; a new head is sized to the training data.

    A fine-tuned model keeps its own order of labels where it has the same names as the data; `config` gets the names
    when there is something to train. A model without names of its own is taken to have the data's order, unless
    `label_map` (label of the data → the model's labels, as --label_map has them) speaks of its generic ones. Rows to
    predict have no labels but the model's.

    Raises:
        DataError, UsageError: the labels of the data and of the model do not match.
    """
    own = tuple(config.id2label[number] for number in sorted(config.id2label))
    if "predict" in data:
        return {"predict": dataclasses.replace(data["predict"], label_names=own)}
    names = None if generic(own) and ("train" in data or not label_map) else own
    data_names = next(iter(data.values())).label_names
    if "train" in data and (names is None or {name.lower() for name in names} != {name.lower() for name in data_names}):
        names = data_names
        config.num_labels = len(names)
        config.id2label, config.label2id = dict(enumerate(names)), {name: number for number, name in enumerate(names)}
    if names is None:
        names = names_without_training(config, data_names)
    return {
        purpose: align_labels(part, names) if purpose == "train" else evaluated_labels(part, names, label_map)
        for purpose, part in data.items()
    }


def names_without_training(config: "PreTrainedConfig", data_names: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model that does not name them, which are taken to be the data's.

    Raises:
        DataError: the data have more labels than the model, or two where it tells three apart.
    """
    if len(data_names) > config.num_labels:
        raise DataError(f"the data have {len(data_names)} labels, but --model tells only {config.num_labels} apart.")
    if config.num_labels == len(NLI_ORDER) and {name.lower() for name in data_names} & set(NOT_ENTAILMENT):
        raise DataError(
            f"--model tells three labels apart that it does not name, and the data have {shortlist(data_names)}: say "
            f"which count as which, as in --label_map {ENTAILMENT}=LABEL_0 non-entailment=LABEL_1,LABEL_2."
        )
    names = (*data_names, *(f"LABEL_{number}" for number in range(len(data_names), config.num_labels)))
    logger.warning("--model does not name its labels; they are taken to be %s, in this order.", shortlist(names))
    return names
