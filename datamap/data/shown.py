"""What of an example a person is shown."""

CHARACTERS_AROUND = 150


def around_answer(context: str, start: int, length: int) -> str:
    """The context within 150 characters of an answer, which stands in [[ ]]; "…" where it was cut."""
    end = start + length
    before, after = context[max(0, start - CHARACTERS_AROUND) : start], context[end : end + CHARACTERS_AROUND]
    opening = "…" if start > CHARACTERS_AROUND else ""
    closing = "…" if end + CHARACTERS_AROUND < len(context) else ""
    return f"{opening}{before}[[{context[start:end]}]]{after}{closing}"


def shown_text(row: dict, label_names: tuple[str, ...]) -> dict:
    """What a person reads of an example: question, context around the answer and gold answer; NLI: the pair and label.

    Without a gold answer, the context's beginning (300 characters) is shown.

    Args:
        row: a row of a canonical frame.
        label_names: of NLI labels.
    """
    if "premise" in row:
        return {"premise": row["premise"], "hypothesis": row["hypothesis"], "gold": label_names[row["label"]]}
    texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
    if not texts or starts[0] < 0:
        context = row["context"][: 2 * CHARACTERS_AROUND]
        cut = "…" if len(row["context"]) > len(context) else ""
        return {"question": row["question"], "context": context + cut, "gold": texts[0] if texts else ""}
    context = around_answer(row["context"], starts[0], len(texts[0]))
    return {"question": row["question"], "context": context, "gold": texts[0]}
