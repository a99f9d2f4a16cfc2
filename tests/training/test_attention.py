"""Attention of rows that lie end to end: the definition row by row, its gradient, and that no row sees another."""

import pytest
import torch

from datamap.training.attention import NAME, attend, laid_out, row_groups, use_row_attention
from datamap.training.devices import choose_attention
from datamap.training.dropout import keep_mask, kept_scale

# Two rows that fill their places and shorter ones, in two groups; and tokens behind them that are in no row.
LENGTHS = [32, 32, 19, 12, 12, 9, 2, 1]
N_HEADS, N_TOKENS = 3, sum(LENGTHS) + 3
LAYOUT = laid_out(LENGTHS, N_HEADS)


class Module:
    training = True


def sides_of(dtype=torch.float32, n_tokens=N_TOKENS):
    """Query, key, value [1, 3, n_tokens, 5] as transposed views of leaves [1, n_tokens, 3, 5], and those."""
    torch.manual_seed(0)
    leaves = [torch.randn(1, n_tokens, N_HEADS, 5).to(dtype).requires_grad_() for _ in range(3)]
    return [leaf.transpose(1, 2) for leaf in leaves], leaves


def row_by_row(query, key, value, scaling, kept=None):
    """Attention in float64 by its definition, row by row, [1, n_tokens, 3, 5]; `kept` multiplies probabilities.

    0 for tokens that are in no row.
    """
    begin, found = 0, []
    for number, length in enumerate(LENGTHS):
        one = [side[0, :, begin : begin + length].double() for side in (query, key, value)]
        probs = torch.softmax(one[0] @ one[1].mT * scaling, -1)
        found.append((probs * kept[number] if kept else probs) @ one[2])
        begin += length
    found.append(torch.zeros(N_HEADS, N_TOKENS - begin, 5, dtype=torch.float64))
    return torch.cat(found, 1).transpose(0, 1)[None]


def lengths_of_groups(lengths, n_heads):
    return [group.lengths for group in row_groups(lengths, n_heads)]


def test_rows_of_like_lengths_go_together_within_limits():
    assert lengths_of_groups(LENGTHS, N_HEADS) == [(32, 32, 19, 12), (12, 9, 2, 1)]  # over 32 and 16 places
    assert lengths_of_groups([5], 1) == [(5,)]
    assert lengths_of_groups([64, 64, 48, 33, 16], 1) == [(64, 64, 48), (33,), (16,)]  # by what they take as laid out
    assert lengths_of_groups([512] * 5, 1) == [(512,) * 4, (512,)]  # of 2^20 probabilities at most
    assert lengths_of_groups([1024, 1024, 2], 1) == [(1024,), (1024,), (2,)]


def test_tokens_lie_head_by_head_and_come_back():
    layout = laid_out([18, 3], 2)
    assert [(group.begin, group.end, group.longest) for group in layout.groups] == [(0, 64, 32), (64, 96, 16)]
    numbers = torch.arange(22 * 2).view(22, 2, 1)  # token x heads + head; the last token is in no row
    first = [2 * min(token, 17) + head for head in (0, 1) for token in range(32)]
    second = [2 * min(token, 20) + head for head in (0, 1) for token in range(18, 34)]
    assert layout.laid(numbers)[:, 0].tolist() == first + second
    assert layout.padding.tolist() == [*range(18, 32), *range(50, 64), *range(67, 80), *range(83, 96)]
    back = layout.back(layout.laid(numbers), 22)
    assert torch.equal(back[:21], numbers[:21])
    assert not back[21:].any()


def test_attention_and_its_gradient_equal_the_definition():
    sides, leaves = sides_of()
    found, _ = attend(Module, *sides, None, scaling=0.3, row_layout=LAYOUT)
    expected = row_by_row(*sides, 0.3)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    weights = torch.randn_like(found)
    own = torch.autograd.grad((found * weights).sum(), leaves)
    true = torch.autograd.grad((expected * weights).sum(), leaves)
    assert max(gradient.abs().max() for gradient in true) > 0.1
    for one, other in zip(own, true, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_attention_drops_probabilities_and_passes_their_gradient():
    sides, leaves = sides_of()
    torch.manual_seed(3)
    found, _ = attend(Module, *sides, None, dropout=0.5, row_layout=LAYOUT)
    torch.manual_seed(3)
    kept = []
    for group in LAYOUT.groups:
        shape = torch.Size([len(group.lengths) * N_HEADS, group.longest, group.longest])
        mask = keep_mask(shape, 0.5, torch.float32).view(*group.shape, group.longest)
        kept += [-mask[row, :, :n, :n].double() * kept_scale(0.5) for row, n in enumerate(group.lengths)]
    assert 0.3 < torch.cat([mask.flatten() == 0 for mask in kept]).double().mean() < 0.7
    expected = row_by_row(*sides, 5**-0.5, kept)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    own, true = (torch.autograd.grad(out.square().sum(), leaves, retain_graph=True) for out in (found, expected))
    for one, other in zip(own, true, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_without_training_nothing_is_dropped():
    class Still:
        training = False

    sides, _ = sides_of()
    with torch.no_grad():
        found, _ = attend(Still, *sides, None, dropout=0.5, row_layout=LAYOUT)
    torch.testing.assert_close(found.double(), row_by_row(*sides, 5**-0.5), rtol=0, atol=1e-6)


def test_attention_in_bfloat16_is_close_and_stays_in_it():
    sides, leaves = sides_of(torch.bfloat16)
    found, _ = attend(Module, *sides, None, row_layout=LAYOUT)
    assert found.dtype == torch.bfloat16
    exact = row_by_row(*sides, 5**-0.5)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.03)
    own, true = (torch.autograd.grad(out.square().sum(), leaves) for out in (found, exact))
    for one, other in zip(own, true, strict=True):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one, other, rtol=0, atol=0.2)


@pytest.mark.parametrize(
    "changed",
    [slice(32, 64), slice(83, 95), slice(107, 116), slice(118, 119), slice(119, 122)],
    ids=["among like ones", "last of a group", "shorter", "last", "in no row"],
)
def test_changing_a_row_changes_no_other_bit(changed):
    sides, _ = sides_of()
    other = [side.detach().clone() for side in sides]
    for side in other:
        side[:, :, changed] += 1
    with torch.no_grad():
        found, after = (attend(Module, *each, None, row_layout=LAYOUT)[0] for each in (sides, other))
    same = torch.ones(N_TOKENS, dtype=torch.bool)
    same[changed] = False
    assert torch.equal(found[:, same], after[:, same])
    assert torch.equal(found[:, changed], after[:, changed]) == (changed.start == sum(LENGTHS))


def test_a_model_that_is_called_in_the_usual_way_gives_the_same_and_saves_no_trace(tiny_model, tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_model).eval()
    ids, mask = torch.randint(5, 900, (3, 11)), torch.ones(3, 11, dtype=torch.int64)
    mask[1, 6:] = 0
    before = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert use_row_attention(model)
    after = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(after[mask == 1], before[mask == 1], rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    "setting", [{"is_decoder": True}, {"add_cross_attention": True}, {"chunk_size_feed_forward": 4}], ids=str
)
def test_a_model_that_attends_or_computes_otherwise_is_left_alone(setting):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=20, **sizes))
    model.config.update(setting)
    assert use_row_attention(model) is False
    assert model.config._attn_implementation != NAME


def test_a_model_whose_code_leaves_no_choice_is_left_alone():
    from transformers import DebertaConfig, DebertaModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = DebertaModel(DebertaConfig(vocab_size=20, **sizes))
    assert use_row_attention(model) is False
    choose_attention(model, torch.device("cpu"))
    assert model.config._attn_implementation == "eager"
