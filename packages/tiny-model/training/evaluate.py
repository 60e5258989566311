"""Bits per byte of a text: windows of 1024 tokens that begin with BOS, stride 512, each token scored once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 1024
STRIDE = 512


@torch.no_grad()
def bits_per_byte(model, text: str, tokenizer, bos: int, mixed_precision: bool) -> dict[str, float]:
    """A window is BOS and up to 1023 tokens of text; the first scores all of them, a later one those not yet scored."""
    device = next(model.parameters()).device
    tokens = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids, device=device)
    batches: list[tuple[Tensor, int, int]] = []
    scored, start = 0, 0
    while scored < len(tokens):
        end = min(start + WINDOW - 1, len(tokens))
        batches.append((tokens[start:end], scored - start, end - start))
        scored, start = end, start + STRIDE
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for first in range(0, len(batches), 32):
        group = batches[first : first + 32]
        width = max(len(window) for window, _, _ in group)
        targets = torch.full((len(group), width), -100, device=device)
        inputs = torch.full((len(group), width), bos, device=device)
        for row, (window, score_from, length) in enumerate(group):
            inputs[row, 1:length] = window[:-1]
            targets[row, score_from:length] = window[score_from:]
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed_precision):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none")
        total += loss.double().sum()
    nats = total.item()
    size = len(text.encode("utf-8"))
    return {
        "tokens": len(tokens),
        "bytes": size,
        "perplexity": math.exp(nats / len(tokens)),
        "bitsPerByte": nats / math.log(2) / size,
    }
