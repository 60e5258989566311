"""Trains the teachers and the model that ships.

    python train_tokenizer.py --text TEXT --out MODEL
    python train.py teacher --text TEXT --model MODEL --seed 1 --out RUN
    python train.py teacher --text TEXT --model MODEL --seed 2 --out RUN
    python train.py student --text TEXT --model MODEL --out RUN --teachers RUN/teacher-1.pt RUN/teacher-2.pt

The student without --teachers learns from the text alone.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from corpus import BOS, EOS, read_texts, training_stream
from distillation import Expectations, distillation_loss, expectations
from evaluate import bits_per_byte
from model import Llama, Shape, round_to_bfloat16, save_checkpoint
from optimizer import optimizers


def window_starts(count: int, context: int, batch: int, generator: torch.Generator):
    """Endless batches of window starts [batch]; each pass cuts the stream at a new offset and visits every window once."""
    while True:
        offset = int(torch.randint(0, context, (), generator=generator))
        starts = torch.arange(offset, count - context, context)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        yield from starts[: len(starts) // batch * batch].view(-1, batch)


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """Factor on the peak: linear up, then linear to zero."""
    return min((step + 1) / warmup, (steps - step) / (steps - warmup))


def train(settings: dict, context: int, stream: torch.Tensor, bos: int, seed: int, validate, soft=None, soft_weight=0.0):
    """Returns the weights that were best on the validation novel and the history of (step, tokens, loss, validation)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Llama(Shape(**settings["shape"]), context, settings["dropout"]).cuda()
    batch, steps = settings["batch"], int(settings["tokens"] / (settings["batch"] * context))
    peaks = optimizers(model, settings["lr"], settings["weight_decay"])

    @torch.compile(dynamic=False)
    def loss_of(inputs, targets, probabilities=None, ids=None):
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(inputs).flatten(0, 1)
        hard = F.cross_entropy(logits.float(), targets.flatten())
        if probabilities is None:
            return hard, hard
        return (1 - soft_weight) * hard + soft_weight * distillation_loss(logits, probabilities, ids), hard

    history, best, best_state = [], float("inf"), None
    window = torch.arange(context, device="cuda")
    batches = window_starts(len(stream), context, batch, generator)
    since, began = torch.zeros((), device="cuda"), time.time()
    for step in range(steps):
        model.train()
        positions = next(batches).cuda()[:, None] + window
        targets = stream[positions].long()
        inputs = F.pad(targets[:, :-1], (1, 0), value=bos)
        choices = () if soft is None else (soft.probabilities[positions].flatten(0, 1), soft.ids[positions].flatten(0, 1))
        loss, hard = loss_of(inputs, targets, *choices)
        loss.backward()
        factor = learning_rate(step, steps, settings["warmup_steps"])
        for optimizer in peaks:
            for group in optimizer.param_groups:
                group["lr"] = settings["lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        since += hard.detach()
        every = settings["validate_every"]
        if (step + 1) % every == 0 or step + 1 == steps:
            steps_since = (step % every) + 1
            score = validate(model)
            row = (step + 1, (step + 1) * batch * context, since.item() / steps_since, score)
            history.append(row)
            print(f"step {row[0]}/{steps}  loss {row[2]:.4f}  validation {score:.4f}  {time.time() - began:.0f} s", flush=True)
            since.zero_()
            if score < best:
                best, best_state = score, {name: value.detach().clone() for name, value in model.state_dict().items()}
    return best_state, history


def load_teacher(path: Path, shape: Shape, context: int) -> Llama:
    teacher = Llama(shape, context).cuda().eval()
    teacher.load_state_dict(torch.load(path, weights_only=True))
    return torch.compile(teacher, dynamic=False)


def write_history(path: Path, history: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "tokens", "training_loss_nats_per_token", "validation_bits_per_byte"])
        writer.writerows((step, tokens, f"{loss:.5f}", f"{score:.5f}") for step, tokens, loss, score in history)


def test_scores(state: dict, shape: Shape, context: int, tokenizer, bos: int, folder: Path) -> dict:
    """Both test novels with FP32 arithmetic, for the trained FP32 weights and for the BF16 weights that ship."""
    scores = {}
    for weights, values in (("fp32", state), ("bf16", round_to_bfloat16(state))):
        model = Llama(shape, context).cuda()
        model.load_state_dict(values)
        scores[weights] = {
            path: bits_per_byte(model, text, tokenizer, bos, mixed_precision=False)
            for use in ("validation", "test")
            for path, text in read_texts(folder, use).items()
        }
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["teacher", "student"])
    parser.add_argument("--text", type=Path, required=True, help="folder that holds the files of corpus.json")
    parser.add_argument("--model", type=Path, required=True, help="folder with tokenizer.json; the student is written here")
    parser.add_argument("--out", type=Path, required=True, help="folder for histories, scores and teacher weights")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parent / "recipe.json")
    parser.add_argument("--seed", type=int, help="default: the recipe's")
    parser.add_argument("--teachers", type=Path, nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=JSON", help="override one setting of the stage")
    arguments = parser.parse_args()

    recipe = json.loads(arguments.recipe.read_text())
    settings, context = recipe[arguments.stage], recipe["context"]
    for assignment in arguments.set:
        key, value = assignment.split("=", 1)
        (recipe if key in recipe else settings)[key] = json.loads(value)
    seed = recipe["seed"] if arguments.seed is None else arguments.seed
    shape = Shape(**settings["shape"])
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("highest")

    stream = training_stream(tokenizer, arguments.text, recipe["reflowed"]).cuda()
    (validation,) = read_texts(arguments.text, "validation").values()
    print(f"{len(stream)} tokens in the training stream", flush=True)

    def validate(model) -> float:
        return bits_per_byte(model, validation, tokenizer, bos, mixed_precision=True)["bitsPerByte"]

    soft: Expectations | None = None
    distillation = recipe["distillation"]
    if arguments.teachers:
        teacher_shape = Shape(**recipe["teacher"]["shape"])
        teachers = [load_teacher(path, teacher_shape, context) for path in arguments.teachers]
        soft = expectations(teachers, stream, bos, context, distillation["choices"])
        print(f"stored choices hold {soft.probabilities.float().sum(-1).mean().item():.4f} of the probability", flush=True)

    state, history = train(settings, context, stream, bos, seed, validate, soft, distillation["weight"])
    name = "student" if arguments.stage == "student" else f"teacher-{seed}"
    write_history(arguments.out / f"{name}.csv", history)
    if arguments.stage == "teacher":
        torch.save(state, arguments.out / f"{name}.pt")
        return
    save_checkpoint(state, shape, context, bos, eos, arguments.model)
    scores = test_scores(state, shape, context, tokenizer, bos, arguments.text)
    (arguments.out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
