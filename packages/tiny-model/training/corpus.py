"""The texts, read and checked against corpus.json, and turned into one stream of tokens."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

CORPUS = Path(__file__).parent / "corpus.json"
DOCUMENT_SEPARATOR = "<|endoftext|>"  # stands between the tales of one file; never reaches the tokenizer
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def read_texts(folder: Path, use: str) -> dict[str, str]:
    """The files of one use (train, validation, test) by path. A file that differs from corpus.json is an error."""
    texts = {}
    for row in json.loads(CORPUS.read_text()):
        if row["use"] != use:
            continue
        data = (folder / row["path"]).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != row["sha256"]:
            raise ValueError(f"{folder / row['path']}: sha256 is {digest}, corpus.json says {row['sha256']}")
        texts[row["path"]] = data.decode("utf-8")
    return texts


def documents(texts: dict[str, str]) -> list[str]:
    parts = (part.strip("\n") for text in texts.values() for part in text.split(DOCUMENT_SEPARATOR))
    return [part for part in parts if part]


def reflow(text: str, width: int) -> str:
    """The same prose with the other line convention: wrapped lines are joined, one-line paragraphs are wrapped at `width`.

    Most files break lines at some 75 characters, the others write a paragraph on one line. Showing each
    book both ways keeps the model from spending its few weights on where this or that editor broke a line.
    """
    lines = text.split("\n")
    lengths = sorted(len(line) for line in lines if line.strip())
    typical = lengths[int(len(lengths) * 0.95)]
    return join_lines(lines, typical) if typical <= 100 else wrap_lines(lines, width)


def join_lines(lines: list[str], width: int) -> str:
    """A break was the editor's only if the next word would not have fitted on the line; other breaks are the author's."""
    joined = [lines[0]]
    for before, line in zip(lines, lines[1:]):
        words = line.split(maxsplit=1)
        wrapped = before.strip() and words and len(before) + 1 + len(words[0]) > width - 6 and not line.startswith(" ")
        if wrapped:
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def wrap_lines(lines: list[str], width: int) -> str:
    wrapped = []
    for line in lines:
        while len(line) > width:
            space = line.rfind(" ", 1, width + 1)
            if space <= 0:
                break
            wrapped.append(line[:space])
            line = line[space + 1 :]
        wrapped.append(line)
    return "\n".join(wrapped)


def token_stream(tokenizer, texts: list[str]) -> torch.Tensor:
    """int16 [tokens]: every document followed by EOS. Ids stay below 4096, so 16 bits are enough."""
    eos = tokenizer.token_to_id(EOS)
    parts = []
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        parts.append(np.array(encoding.ids + [eos], dtype=np.int16))
    return torch.from_numpy(np.concatenate(parts))


def training_stream(tokenizer, folder: Path, reflowed: bool) -> torch.Tensor:
    """Every training document as it is and, if asked for, once more reflowed at 66 to 77 columns."""
    originals = documents(read_texts(folder, "train"))
    texts = list(originals)
    if reflowed:
        texts += [reflow(text, 66 + index % 12) for index, text in enumerate(originals)]
    return token_stream(tokenizer, texts)
