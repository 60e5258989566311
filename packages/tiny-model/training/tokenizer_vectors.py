"""Writes test/tokenizer-vectors.json: token ids of samples of text that no training saw, and of awkward strings."""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

from corpus import read_texts

AWKWARD = [
    "",
    " ",
    "  two  spaces ",
    "\n\n\ttabs\tand\r\nlines\n",
    "don't I'LL we've 'tis",
    "1869, 12.5 % and 007",
    "naïve café — “quoted”… £5",
    "Τέλος καὶ ἀρχή",
    "日本語のテキスト",
    "emoji 👩‍👩‍👧 🇫🇷 👍🏽",
    "<|begin_of_text|>a<|end_of_text|>",
    "e\u0301 and \u00e9 differ",
    "\u0000\u007f\u00a0\u200b\ufeff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
]
SAMPLE_CHARACTERS = 400
SAMPLES_PER_NOVEL = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    texts = list(AWKWARD)
    for novel in read_texts(arguments.text, "test").values():
        step = len(novel) // SAMPLES_PER_NOVEL
        texts += [novel[start : start + SAMPLE_CHARACTERS] for start in range(step // 2, len(novel), step)]
    vectors = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts]
    for vector in vectors:
        vector["decoded"] = tokenizer.decode(vector["ids"], skip_special_tokens=False)
    arguments.out.write_text(json.dumps(vectors, ensure_ascii=True, indent=0) + "\n")


if __name__ == "__main__":
    main()
