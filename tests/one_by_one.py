"""What a model makes of one window at a time, with the tokenizer's own windows and plain loops: to compare with."""

import numpy as np
import torch


def alone(model, encoding, window):
    """The model's start and end logits for one unpadded window, float64."""
    inputs = {key: torch.tensor([encoding[key][window]]) for key in ("input_ids", "token_type_ids")}
    with torch.no_grad():
        output = model(**inputs)
    return output.start_logits[0].double().numpy(), output.end_logits[0].double().numpy()


def softmax(logits):
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def gold_of_window(encoding, window, answers):
    """Token labels of a window by walking over its tokens, and whether the window holds the whole gold span."""
    if not answers["text"]:
        return 0, 0, True
    begin, end = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
    spans, sides = encoding["offset_mapping"][window], encoding.sequence_ids(window)
    context = [place for place, side in enumerate(sides) if side == 1]
    inside = [place for place in context if spans[place][0] < end and spans[place][1] > begin]
    whole = inside and spans[context[0]][0] <= begin and end <= spans[context[-1]][1]
    return (inside[0], inside[-1], True) if whole else (0, 0, False)


def window_numbers(start_logits, end_logits, gold_start, gold_end):
    """What is to be recorded of a window, one number after the other."""
    starts, ends = softmax(start_logits), softmax(end_logits)
    found = set(range(int(starts.argmax()), int(ends.argmax()) + 1))
    gold = set(range(gold_start, gold_end + 1))
    margins = [
        logits[place] - max(value for number, value in enumerate(logits) if number != place)
        for logits, place in ((start_logits, gold_start), (end_logits, gold_end))
    ]
    return {
        "gold_prob": starts[gold_start] * ends[gold_end],
        "start_prob": starts[gold_start],
        "end_prob": ends[gold_end],
        "correct": starts.argmax() == gold_start and ends.argmax() == gold_end,
        "span_f1": 2 * len(found & gold) / (len(found) + len(gold)),
        "margin": sum(margins) / 2,
        "loss": -(np.log(starts[gold_start]) + np.log(ends[gold_end])) / 2,
        "el2n": (distance(starts, gold_start) + distance(ends, gold_end)) / 2,
    }


def distance(probs, gold):
    """EL2N of a softmax: how far it is from certainty of the gold class."""
    return sum((prob - (place == gold)) ** 2 for place, prob in enumerate(probs)) ** 0.5
