"""Draws the histories of train.py as loss-curve.svg."""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "kvant"
import matplotlib.pyplot as plt


def read(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", type=Path, nargs="+", help="student.csv, teacher-1.csv, ...")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure, (validation, training) = plt.subplots(1, 2, figsize=(11, 4.2))
    for path in arguments.histories:
        rows = read(path)
        tokens = [row["tokens"] / 1e6 for row in rows]
        width = 2.0 if "student" in path.stem else 1.0
        validation.plot(tokens, [row["validation_bits_per_byte"] for row in rows], label=path.stem, linewidth=width)
        training.plot(tokens, [row["training_loss_nats_per_token"] for row in rows], label=path.stem, linewidth=width)
    validation.set(xlabel="million training tokens", ylabel="bits per byte", title="Validation novel", ylim=(1.3, 1.8))
    training.set(xlabel="million training tokens", ylabel="nats per token", title="Training text (with dropout)", ylim=(2.5, 5))
    for axes in (validation, training):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(arguments.out, metadata={"Title": "Loss curves of the tiny model", "Date": None})


if __name__ == "__main__":
    main()
