"""A tiny ELECTRA with random weights, tokenizers trained on a few texts, and the labels of a model."""

from pathlib import Path


def save_electra(directory: Path, tokenizer, **sizes) -> Path:
    """An ELECTRA encoder with random weights, saved with the tokenizer; `sizes` override a tiny configuration."""
    import torch
    from transformers import ElectraConfig, ElectraModel

    tiny = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ElectraConfig(vocab_size=len(tokenizer), **(tiny | {"intermediate_size": 64} | sizes))
    torch.manual_seed(0)
    ElectraModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def byte_level_tokenizer(texts, pre_tokenizer=None, trim_offsets=True, add_prefix_space=False):
    """A RoBERTa-like tokenizer (byte-level BPE, two separators between the sides, no token types), trained here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    names = {"cls_token": "<s>", "bos_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def letter_losing_tokenizer(texts, trim_offsets=True):
    """Byte-level BPE behind another pre-tokenizer; with `trim_offsets` the places of words lack their first letter."""
    from tokenizers import pre_tokenizers as pre

    parts = pre.Sequence([pre.Whitespace(), pre.ByteLevel(add_prefix_space=True), pre.Punctuation()])
    return byte_level_tokenizer(texts, parts, trim_offsets, add_prefix_space=True)


class Config:
    """What an NLI model says of its labels."""

    def __init__(self, names, num_labels=None):
        self.id2label = dict(enumerate(names))
        self.num_labels = num_labels or len(names)
