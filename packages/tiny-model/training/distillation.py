"""What the teachers expect at every position of the training stream, and the loss that compares a student with it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Expectations:
    """The most probable choices per position; the rest of the probability belongs to all other tokens together."""

    probabilities: Tensor  # float16 [tokens, choices]
    ids: Tensor  # int16 [tokens, choices]


@torch.no_grad()
def expectations(teachers: list, stream: Tensor, bos: int, context: int, choices: int) -> Expectations:
    """The teachers' mean distribution. Windows overlap by half, so a position has at least context / 2 tokens before it."""
    count, half = len(stream), context // 2
    probabilities = torch.zeros(count, choices, dtype=torch.float16, device=stream.device)
    ids = torch.zeros(count, choices, dtype=torch.int16, device=stream.device)
    starts = list(range(0, max(count - context, 0), half)) + [max(count - context, 0)]
    for first in range(0, len(starts), 16):
        start = torch.tensor(starts[first : first + 16], device=stream.device)
        positions = start[:, None] + torch.arange(context, device=stream.device)
        inputs = F.pad(stream[positions[:, :-1]].long(), (1, 0), value=bos)
        mean = 0
        for teacher in teachers:
            with torch.autocast("cuda", torch.bfloat16):
                mean = mean + teacher(inputs).float().softmax(-1) / len(teachers)
        top = mean.topk(choices, dim=-1)
        for row in range(len(start)):
            keep = 0 if start[row] == 0 else half
            where = positions[row, keep:]
            probabilities[where] = top.values[row, keep:].half()
            ids[where] = top.indices[row, keep:].short()
    return Expectations(probabilities, ids)


def distillation_loss(logits: Tensor, probabilities: Tensor, ids: Tensor) -> Tensor:
    """Cross-entropy over the stored choices and one class for everything else. logits: [n, vocab], the others [n, choices]"""
    log_student = F.log_softmax(logits.float(), dim=-1).gather(1, ids.long())
    probabilities = probabilities.float()
    rest = (1 - probabilities.sum(-1)).clamp(min=0)
    rest_student = (1 - log_student.exp().sum(-1)).clamp(min=1e-5)
    return -((probabilities * log_student).sum(-1) + rest * rest_student.log()).mean()
