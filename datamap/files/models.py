"""The files of a model's directory."""

from pathlib import Path

from datamap.errors import DataError

WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model")


def require_model_files(directory: Path, flag: str) -> None:
    """DataError when a model directory lacks its configuration, its weights or its tokenizer."""
    needed = {"a config.json": ("config.json",), "weights": WEIGHT_FILES, "a tokenizer": TOKENIZER_FILES}
    missing = [what for what, patterns in needed.items() if not any(any(directory.glob(p)) for p in patterns)]
    if missing:
        raise DataError(
            f"{flag} {directory} is a directory without {' and without '.join(missing)}: "
            "give one that save_pretrained wrote, such as the --output_dir of a finished training run."
        )
