"""What must be alike in evaluations that are compared, and what of it was let through."""

from collections.abc import Iterable, Sequence

from datamap.errors import UsageError
from datamap.selection.evaluations import Run

ROWS, TRAINED = "rows", "training"
# Of a training's arguments and files: what the runs of one arm have in common.
TRAINING = ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "weight_decay",
            "warmup_steps", "lr_scheduler_type", "optim", "max_grad_norm", "label_smoothing_factor")  # fmt: skip
ROW_FILES = ("example_weights_sha256", "example_smoothing_sha256")


def rows_of(run: Run) -> tuple[str, str]:
    """(what must be equal, in words) of the evaluated rows."""
    part = run.manifest["data"]["eval"]
    held_out = f", {part['held_out']} held out" if part.get("held_out") else ""
    drawn = run.manifest.get("arguments", {}).get("max_eval_samples")
    seed = f", drawn with --seed {run.manifest['seed']}" if drawn else ""
    told = f"on {part['dataset']}, split {part['split']}{held_out}, {part['n_rows']} rows{seed}"
    return run.manifest["identity"]["rows"], told


def ablations_of(run: Run) -> tuple[tuple, str]:
    """The same of what was hidden in training and evaluation."""
    hidden = run.training.get("ablations"), run.manifest["ablations"]
    trained = "trained elsewhere" if hidden[0] is None else f"trained with --ablations {hidden[0]}"
    return hidden, f"{trained} and evaluated with {hidden[1]}"


def answers_of(run: Run) -> tuple[tuple, str]:
    """The same of how long an answer may be, in tokens, and when it is none."""
    settings = run.manifest["settings"]
    names = ("max_answer_length", "allow_no_answer", "null_score_threshold")
    length, may_be_none, threshold = (settings.get(name) for name in names)
    none = f"none above a null score difference of {threshold}" if may_be_none else "never none"
    return (length, may_be_none, threshold if may_be_none else None), f"up to {length} tokens, {none}"


def steps_of(run: Run) -> tuple[int | None, str]:
    """The same of the optimizer steps of the training."""
    return run.steps, "trained elsewhere" if run.steps is None else f"trained for {run.steps} optimizer steps"


def precision_of(run: Run) -> tuple[tuple, str]:
    """The same of the precision of training and evaluation."""
    found = run.training.get("settings", {}).get("precision"), run.manifest["settings"].get("precision")
    trained = "trained elsewhere" if found[0] is None else f"trained in {found[0]}"
    return found, f"{trained} and evaluated in {found[1]}"


KINDS = {
    ROWS: (rows_of, "evaluated rows or texts", "evaluate both on the same rows"),
    "ablations": (ablations_of, "ablations", "give both the same --ablations"),
    "answers": (answers_of, "allowed answers", "give both the same --max_answer_length and --null_score_threshold"),
    "steps": (steps_of, "length of training", "give both the same --max_steps"),
    "precision": (precision_of, "precision", "give both the same --precision"),
}


def refuse_other_tasks(runs: Sequence[Run]) -> None:
    """UsageError where the evaluations are not all of one task."""
    first = runs[0]
    other = next((run for run in runs if run.task != first.task), None)
    if other:
        raise UsageError(
            f"{other.directory} is of task {other.task} and {first.directory} of {first.task}: give runs of one task."
        )


def let_through(
    runs: Sequence[Run], reference: Run, allowed: Iterable[str], kinds: Iterable[str] = tuple(KINDS)
) -> dict[str, str]:
    """What differs between runs and was allowed to, a sentence a kind.

    Args:
        runs: of one task.
        reference: the one that all others are held against.
        allowed: of KINDS.
        kinds: that are looked at, of KINDS.

    Raises:
        UsageError: something differs that was not allowed to.
    """
    found = {}
    for kind in kinds:
        of, what, advice = KINDS[kind]
        expected, told = of(reference)
        others = [run for run in runs if of(run)[0] != expected]
        if not others:
            continue
        directory, shown = others[0].directory, of(others[0])[1]
        if kind not in allowed:
            raise UsageError(
                f"{directory} and {reference.directory} differ in their {what} ({shown}; {told}): {advice}, or pass "
                f"--allow {kind}."
            )
        more = "; the rows that all have are compared" if kind == ROWS else ""
        found[kind] = f"{len(others)} of {len(runs)} runs differ from {reference.directory} in their {what}{more}."
    return found


def training_of(run: Run) -> dict:
    """What the runs of one arm have in common beside its rows: the model they start from, rates, rows in a step."""
    train = run.training.get("data", {}).get("train", {})
    found = {"model": run.training.get("model")}
    found |= {name: run.training.get("training_arguments", {}).get(name) for name in TRAINING}
    return found | {"data": train.get("dataset")} | {name: train.get(name) for name in ROW_FILES}


def let_through_within_arms(runs: Sequence[Run], allowed: Iterable[str]) -> dict[str, str]:
    """As `let_through`, of how the runs of one arm were trained: beside seed and rows nothing may differ.

    Raises:
        UsageError: something differs and was not allowed to.
    """
    first: dict[str | None, Run] = {}
    others = []
    for run in runs:
        twin = first.setdefault(run.arm, run)
        own, expected = training_of(run), training_of(twin)
        name = next((name for name in own if own[name] != expected[name]), None)
        if name is None:
            continue
        others.append(run)
        if TRAINED not in allowed:
            raise UsageError(
                f"{run.directory} and {twin.directory} are both of {run.arm} and differ in {name} ({own[name]}; "
                f"{expected[name]}): give another arm's name to one of them, or pass --allow {TRAINED}."
            )
    if not others:
        return {}
    return {TRAINED: f"{len(others)} of {len(runs)} runs were trained otherwise than the first one of their arm."}


def refuse_unfit_arms(runs: Sequence[Run], control: str) -> None:
    """UsageError where an arm has a seed twice, the control is not among the arms, or is the only one."""
    arms = list(dict.fromkeys(run.arm for run in runs if run.arm is not None))
    if control not in arms:
        raise UsageError(f"--control {control} is none of the arms {', '.join(arms)}: name one of them.")
    if len(arms) == 1:
        raise UsageError(f"--runs has no other arm than the control {control}: add the runs of another one.")
    seen: dict[tuple, Run] = {}
    for run in runs:
        twin = seen.setdefault((run.arm, run.seed), run)
        if twin is not run:
            seed = "no seed that is known" if run.seed is None else f"the seed {run.seed}"
            raise UsageError(
                f"{twin.directory} and {run.directory} are both of {run.arm} and have {seed}: leave one out, or give "
                "it another arm's name."
            )
