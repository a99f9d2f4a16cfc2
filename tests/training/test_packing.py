"""Rows laid end to end: what a model gives, its gradients and what is recorded equal those of rows one by one."""

import numpy as np
import pytest
import torch

from datamap.features.batches import end_to_end
from datamap.training.attention import use_row_attention
from datamap.training.packing import can_pack, forward_packed, packed

LENGTHS = [9, 30, 12, 30, 3, 9]
KINDS = ("Bert", "Electra", "Roberta", "XLMRoberta", "Camembert")


def model_of(kind, head, dropout=0.0, **more):
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = getattr(transformers, f"{kind}Config")(vocab_size=90, type_vocab_size=2, **sizes, **drops, **more)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}For{head}")(config)
    assert use_row_attention(model)
    return model.train()


def batch_of(model, lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 90, mask.shape, generator=generator) * mask + model.config.pad_token_id * (1 - mask)
    types = torch.randint(0, 2, mask.shape, generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def one_by_one(model, batch):
    """Outputs of every row, each alone and without padding, called in the usual way."""
    lengths = batch["attention_mask"].sum(1).tolist()
    rows = [{name: values[row : row + 1, :n] for name, values in batch.items()} for row, n in enumerate(lengths)]
    return [model(**row) for row in rows]


def gradients(model, loss):
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def assert_gradients_equal(own, true):
    """To 1e-6 of the largest number in any of them: that of a key's bias is 0, but for rounding."""
    largest = max(gradient.abs().max().item() for gradient in true)
    assert len(own) == len(true) > 20
    for one, other in zip(own, true, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_spans_and_gradients_equal_those_of_rows_one_by_one(kind):
    model = model_of(kind, "QuestionAnswering")
    batch = batch_of(model, LENGTHS)
    found, alone = forward_packed(model, batch), one_by_one(model, batch)
    assert set(found) == {"start_logits", "end_logits"}
    for name, values in found.items():
        assert values.shape == batch["input_ids"].shape
        assert not values[batch["attention_mask"] == 0].any()
        for row, (length, expected) in enumerate(zip(LENGTHS, alone, strict=True)):
            torch.testing.assert_close(values[row, :length], expected[name][0], rtol=0, atol=1e-6)
    own = gradients(model, sum(values.square().sum() for values in found.values()))
    true = gradients(model, sum(one[name].square().sum() for one in alone for name in found))
    assert_gradients_equal(own, true)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_labels_and_gradients_equal_those_of_rows_one_by_one(kind):
    model = model_of(kind, "SequenceClassification")
    batch = batch_of(model, LENGTHS)
    found = forward_packed(model, batch, firsts_alone=True)["logits"]
    expected = torch.cat([one.logits for one in one_by_one(model, batch)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    own, true = gradients(model, found.square().sum()), gradients(model, expected.square().sum())
    assert_gradients_equal(own, true)
    usual = model(**batch).logits  # nothing of the packing is left behind
    torch.testing.assert_close(usual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [[1], [30], [7, 7, 7], [2, 1]], ids=str)
def test_any_rows_can_be_packed(lengths):
    model = model_of("Electra", "QuestionAnswering").eval()
    batch = batch_of(model, lengths)
    found = forward_packed(model, batch)["start_logits"]
    for row, (length, expected) in enumerate(zip(lengths, one_by_one(model, batch), strict=True)):
        torch.testing.assert_close(found[row, :length], expected.start_logits[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_tokens_in_a_text_count_as_in_the_model_s_own_code(kind):
    model = model_of(kind, "QuestionAnswering").eval()
    batch = batch_of(model, LENGTHS)
    batch["input_ids"][1, 4:6] = model.config.pad_token_id
    found, usual = forward_packed(model, batch)["start_logits"], model(**batch).start_logits
    real = batch["attention_mask"] == 1
    torch.testing.assert_close(found[real], usual[real], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"output_hidden_states": True}, {"output_attentions": True}, {"return_dict": False}], ids=str
)
@pytest.mark.parametrize("head", ["QuestionAnswering", "SequenceClassification"])
def test_what_a_model_would_give_besides_is_not_asked_for(settings, head):
    for_labels = head != "QuestionAnswering"
    models = [model_of("Electra", head, **given).eval() for given in ({}, settings)]
    before, after = (forward_packed(one, batch_of(one, LENGTHS), firsts_alone=for_labels) for one in models)
    assert after.keys() == before.keys() == ({"logits"} if for_labels else {"start_logits", "end_logits"})
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("changed", range(len(LENGTHS)))
def test_no_row_sees_another(changed):
    model = model_of("Bert", "QuestionAnswering").eval()
    batch = batch_of(model, LENGTHS)
    other = {name: values.clone() for name, values in batch.items()}
    other["input_ids"][changed, 1 : LENGTHS[changed]] = 7
    with torch.no_grad():
        found, after = (forward_packed(model, each)["start_logits"] for each in (batch, other))
    same = np.arange(len(LENGTHS)) != changed
    assert torch.equal(found[same], after[same])  # bit for bit: the shapes of all products are the same
    assert not torch.equal(found[changed], after[changed])


def test_dropout_draws_for_every_row_its_own():
    model = model_of("Electra", "QuestionAnswering", dropout=0.5)
    batch = batch_of(model, [20])
    twice = {name: values.repeat(2, 1) for name, values in batch.items()}
    torch.manual_seed(4)
    first, second = forward_packed(model, twice)["start_logits"]
    assert (first - second).abs().max() > 0.01


def test_tokens_lie_longest_row_first_and_come_back_to_their_places():
    mask = (torch.arange(4) < torch.tensor([2, 4, 1, 4])[:, None]).long()
    lie = packed(mask)
    assert lie.order.tolist() == [1, 3, 0, 2]
    assert lie.lengths == [4, 4, 2, 1]
    assert lie.rows.tolist() == [1] * 4 + [3] * 4 + [0] * 2 + [2]
    assert lie.places.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0]
    assert lie.firsts.tolist() == [8, 0, 10, 4]
    assert lie.filled(torch.arange(16).view(4, 4))[0].tolist() == [4, 5, 6, 7, 12, 13, 14, 15, 0, 1, 8] + [0] * 53
    values = torch.arange(1.0, 65.0)[None]
    assert lie.padded(values, mask.shape).tolist() == [[9, 10, 0, 0], [1, 2, 3, 4], [11, 0, 0, 0], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("budget", "parts"),
    [
        (93, [[1, 3, 2, 0, 5, 4]]),
        (60, [[1, 3], [2, 0, 5, 4]]),
        (50, [[1], [3, 2], [0, 5, 4]]),
        (1, [[1], [3], [2], [0], [5], [4]]),
    ],
)
def test_a_batch_is_cut_into_even_parts_within_the_budget(budget, parts):
    batch = batch_of(model_of("Bert", "QuestionAnswering"), LENGTHS) | {"row": torch.arange(6)}
    cut = end_to_end(batch, budget)
    if len(parts) == 1:
        assert cut == [batch]
        return
    assert [part["row"].tolist() for part in cut] == parts
    for part in cut:
        n_tokens = part["attention_mask"].sum()
        assert n_tokens <= budget or len(part["row"]) == 1
        assert part["input_ids"].shape[1] == LENGTHS[part["row"][0]]


def test_a_model_that_attends_otherwise_is_not_packed():
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=20, **sizes))
    assert not can_pack(model)
    use_row_attention(model)
    assert can_pack(model)
