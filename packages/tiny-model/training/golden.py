"""Writes golden.json with the transformers library: logits, greedy text and bits per byte of the BF16 weights in FP32."""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from corpus import BOS, read_texts
from evaluate import bits_per_byte

PROMPTS = [
    "Once upon a time",
    "It was a dark and stormy night, and the old house",
    "\"I have never seen such a thing in my life,\" said the captain,",
    "CHAPTER I\n\nThe young lady had been sitting at the window for an hour when",
    "The king had three sons, and when he was old he called them before him and said:",
    "A naïve café in 1851 — “très cher!”",
]
NEW_TOKENS = 32


class Logits(torch.nn.Module):
    """Bare logits, so that the library's model fits the function that scores ours."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids).logits


@torch.no_grad()
def greedy(model, prompt_ids: list[int], eos: int) -> dict:
    ids, margins, first = list(prompt_ids), [], None
    for _ in range(NEW_TOKENS):
        logits = model(torch.tensor([ids], device="cuda")).logits[0, -1].float()
        first = logits if first is None else first
        top = logits.topk(2)
        margins.append((top.values[0] - top.values[1]).item())
        ids.append(int(top.indices[0]))
        if ids[-1] == eos:
            break
    top = first.topk(8)
    return {
        "inputIds": prompt_ids,
        "topIds": top.indices.tolist(),
        "topLogits": [round(value, 5) for value in top.values.tolist()],
        "logitMean": round(first.mean().item(), 6),
        "logitNorm": round(first.norm().item(), 4),
        "greedyIds": ids[len(prompt_ids) :],
        "smallestMargin": round(min(margins), 5),
    }


@torch.no_grad()
def samples(model, tokenizer, prompts: list[str], bos: int, seed: int) -> list[dict]:
    torch.manual_seed(seed)
    rows = []
    for prompt in prompts:
        ids = torch.tensor([[bos] + tokenizer.encode(prompt, add_special_tokens=False).ids], device="cuda")
        for name, options in (("greedy", {"do_sample": False, "temperature": None, "top_p": None}),
                              ("temperature 0.8, top-p 0.95", {"do_sample": True, "temperature": 0.8, "top_p": 0.95})):
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120, **options)
            rows.append({"prompt": prompt, "sampling": name, "text": tokenizer.decode(out[0, ids.shape[1] :].tolist())})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="golden.json")
    parser.add_argument("--samples", type=Path, required=True, help="samples.json")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    bos = tokenizer.token_to_id(BOS)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).cuda().eval()
    torch.set_float32_matmul_precision("highest")

    prompts = []
    for prompt in PROMPTS:
        row = greedy(model, tokenizer.encode(prompt).ids, model.config.eos_token_id)
        prompts.append({"prompt": prompt, **row, "greedyText": tokenizer.decode(row["greedyIds"])})
    scores = {
        path: bits_per_byte(Logits(model), text, tokenizer, bos, mixed_precision=False)
        for path, text in read_texts(arguments.text, "test").items()
    }
    arguments.out.write_text(json.dumps({"prompts": prompts, "test": scores}, indent=2, ensure_ascii=False) + "\n")
    rows = samples(model, tokenizer, PROMPTS[:5], bos, seed=1887)
    arguments.samples.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    for row in rows:
        print(f"--- {row['sampling']}: {row['prompt']!r}\n{row['text']}")
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
