"""Answers that a tokenizer's places get wrong: overfitted by the real command, every prediction is the gold answer."""

import json

import numpy as np
import pytest

from datamap.evaluation.qa import QaEvaluation
from datamap.features.windows import QaWindows
from tests.models import byte_level_tokenizer, letter_losing_tokenizer, save_electra
from tests.rows import qa_frame

MARKS = {
    "Le cafe\u0301 ouvre tard.": {"What opens late?": "cafe\u0301", "When?": "tard"},
    "\u0648\u064f\u0644\u0650\u062f\u064e \u0641\u064a \u062f\u0645\u0634\u0642\u064e \u0633\u0646\u0629\u064e": {
        "Where?": "\u062f\u0645\u0634\u0642\u064e",
        "What happened?": "\u0648\u064f\u0644\u0650\u062f\u064e",
    },
    "\u05d2\u05e8 \u05d1\u05e2\u05d9\u05e8 \u05d9\u05b8\u05e4\u05d5\u05b9 \u05d4\u05d9\u05d5\u05dd": {
        "Which town?": "\u05d9\u05b8\u05e4\u05d5\u05b9"
    },
    "\u0938\u094b \u0930\u0939\u0947 \u0939\u0948\u0902 \u0914\u0930": {
        "State?": "\u0930\u0939\u0947 \u0939\u0948\u0902"
    },
    "\u0e02\u0e32 \u0e17\u0e35\u0e48\u0e19\u0e35\u0e48 \u0e27\u0e31\u0e19": {
        "Where?": "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"
    },
    "The word end\u00ad stands here.": {"Which word?": "end\u00ad", "Where?": "here"},
    "Sign \u200dalpha\u200d and beta.": {"Which sign?": "alpha\u200d"},
}
WORDS = {
    "The boy was sent to Amsterdam on Monday with fever and a cough. He left at 8.": {
        "Who?": "The boy",
        "Where was he sent?": "Amsterdam",
        "What symptoms?": "fever and a cough",
        "At what time?": "8",
    },
    "Utrecht sent him home on Tuesday. Plan B is a visit.": {
        "Who sent him home?": "Utrecht",
        "Which plan?": "Plan B",
        "Which letter?": "B",
        "What is it?": "a visit",
    },
}


def write_rows(path, contexts):
    """Rows of SQuAD's form; returns the gold starts by id."""
    starts = {}
    with path.open("w", encoding="utf-8") as file:
        for context, answers in contexts.items():
            for question, answer in answers.items():
                row = {"id": f"r{len(starts)}", "context": context, "question": question}
                starts[row["id"]] = context.index(answer)
                row["answers"] = {"text": [answer], "answer_start": [starts[row["id"]]]}
                file.write(json.dumps(row) + "\n")
    return starts


TOKENIZERS = {
    "letters lost": letter_losing_tokenizer,
    "letters kept": lambda texts: letter_losing_tokenizer(texts, trim_offsets=False),
    "blanks inside": lambda texts: byte_level_tokenizer(texts, trim_offsets=False),
    "blanks outside": byte_level_tokenizer,
}


@pytest.mark.parametrize("name", ["uncased", *TOKENIZERS])
def test_overfitted_every_answer_is_exact(tokenizer, command, tmp_path, name):
    contexts = MARKS if name == "uncased" else WORDS
    own = tokenizer if name == "uncased" else TOKENIZERS[name](list(contexts))
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "hidden_size": 64, "embedding_size": 64}
    model = save_electra(tmp_path / "model", own, **sizes, pad_token_id=own.pad_token_id)
    starts = write_rows(tmp_path / "rows.jsonl", contexts)
    code, out, err = command(
        *("--do_train", "--do_eval", "--dataset", tmp_path / "rows.jsonl", "--eval_split", "train"),
        *("--model", model, "--output_dir", tmp_path / "out", "--max_length", 64, "--doc_stride", 16),
        *("--num_train_epochs", 60, "--learning_rate", 3e-3, "--per_device_train_batch_size", 4, "--no_cuda"),
        *("--save_strategy", "no", "--seed", 1),
    )
    assert code == 0, err
    lines = (tmp_path / "out" / "eval_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["predicted_answer"] for row in rows] == [row["answers"]["text"][0] for row in rows]
    assert {row["id"]: row["predicted_start"] for row in rows} == starts
    assert "exact match 100.00" in out
    for table in ("data_problems.csv", "eval_data_problems.csv"):
        assert (tmp_path / "out" / table).read_text(encoding="utf-8").splitlines() == [
            "id,problem,action,before,after,split"
        ]


def test_a_row_without_gold_tokens_is_scored_as_wrong_and_left_out_of_the_loss(tokenizer):
    frame = qa_frame(("one \u200b two", "q", ["\u200b"], [4]), ("one two", "q", ["two"], [4]))
    windows = QaWindows(frame, tokenizer, 32, 4)
    choices = {"max_answer_length": 5, "n_best": 1, "allow_no_answer": False, "null_score_threshold": 0.0}
    evaluation = QaEvaluation(frame, windows, seed=0, **choices)
    evaluation.start()
    place = windows.end_positions[[1, 1]][:, None]
    evaluation.add(np.array([0, 1]), np.array([5.0, 1.0]), np.zeros(2), np.ones((2, 1)), place, place)
    figures = evaluation.finish()
    assert (figures["loss"], figures["exact_match"]) == (1.0, 50.0)
    assert evaluation.predicted == ["two", "two"]


def test_the_command_leaves_a_row_without_gold_tokens_out_of_training(tiny_model, command, tmp_path):
    write_rows(tmp_path / "rows.jsonl", {"one \u200b two": {"what?": "\u200b", "which?": "two"}})
    code, _, err = command(
        *("--do_train", "--do_eval", "--dataset", tmp_path / "rows.jsonl", "--eval_split", "train", "--max_steps", 1),
        *("--model", tiny_model, "--output_dir", tmp_path / "out", "--no_cuda", "--save_strategy", "no"),
    )
    assert code == 0, err
    actions = {"data_problems.csv": "left out of training", "eval_data_problems.csv": '"kept, cannot be predicted"'}
    for table, action in actions.items():
        assert f"r0,gold answer without tokens,{action},\u200b,,train" in (tmp_path / "out" / table).read_text()
    assert "gold answer without tokens in 1 rows" in err
