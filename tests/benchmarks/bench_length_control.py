"""How near length-controlled win rates come to AlpacaEval's published ones, on its annotations.

The package's model needs the hub's file df_gamed.csv. Here it is made again from what the
repository publishes. The difficulty of each instruction follows exactly from the fitted preferences
that a file of annotations holds and the published weights. The lengths of the two systems that were
told to be verbose or concise are published; their preferences are those that the published weights
give: a logistic regression sees nothing of them but weighted sums, which its fit preserves.

Usage: python tests/benchmarks/bench_length_control.py CHECKOUT [GOLDEN.json]
(a checkout of github.com/tatsu-lab/alpaca_eval; with a second path, it writes the tests' data)
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import constants

from peval.judging import leaderboard, wins

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
FITTED = f"results/vicuna-13b-v1.5/{JUDGE}/{JUDGE}/annotations.json"
GAMED = ("gpt4_1106_preview_verbose", "gpt4_1106_preview_concise")
GOLDEN = ("NullModel", "FuseChat-Llama-3.2-3B-Instruct", "gpt-3.5-turbo-1106_concise")
SOURCE = "github.com/tatsu-lab/alpaca_eval at cd543a1: results, weights, leaderboard (Apache-2.0)"


def logistic(x):
    """Return the probability of log-odds."""
    return 1 / (1 + np.exp(-x))


def weights(checkout):
    """Return the published weights of length, difficulty and constant, by system."""
    path = f"src/alpaca_eval/metrics/weights/{JUDGE}/length_controlled_v1"
    found = pd.read_csv(checkout / path / "baseline_gpt4_1106_preview.csv", index_col=0)
    return {name: tuple(row) for name, row in found.iterrows()}


def reference(checkout):
    """Return instructions, their difficulties and the baseline's lengths, in the set's order."""
    rows = json.loads((checkout / FITTED).read_text())
    fitted = np.array([row["glm_preference"] for row in rows])
    _, slope, constant = weights(checkout)["vicuna-13b-v1.5"]
    difficulty = (np.log(fitted / (1 - fitted)) - constant) / slope
    return (
        [row["instruction"] for row in rows],
        difficulty,
        np.array([len(row["output_1"]) for row in rows]),
    )


def gamed(checkout, difficulty, baseline):
    """Return the rows of df_gamed.csv."""
    parts = []
    for name in GAMED:
        rows = json.loads((checkout / "results" / name / "model_outputs.json").read_text())
        gap = pd.Series(baseline - np.array([len(row["output"]) for row in rows]))
        gap /= gap.std()
        by_length, by_difficulty, constant = weights(checkout)[name]
        shares = logistic(by_length * np.tanh(gap) + by_difficulty * difficulty + constant)
        parts.append(pd.DataFrame({
            "model": name, "index": range(len(rows)), "preference": shares, "std_delta_len": gap,
            "instruction_difficulty": difficulty, "not_gamed_baseline": False,
        }))  # fmt: skip
    return pd.concat(parts)


def systems(checkout, instructions, published):
    """Yield name, shares of preference and lengths of those that answered and were judged whole."""
    for path in sorted(checkout.glob(f"results/*/{JUDGE}/annotations.json")):
        rows = json.loads(path.read_text())
        name = path.parts[-3]
        whole = [row["instruction"] for row in rows] == instructions and all(
            isinstance(row["preference"], int | float) for row in rows
        )
        if whole and name in published.index and name != "gpt4_1106_preview":
            shares = [row["preference"] - 1 if row["preference"] else 0.5 for row in rows]
            yield name, shares, [len(row["output_2"]) for row in rows]


def cached(rows, folder):
    """Put a file where the hub's client looks for what it downloaded before."""
    place = Path(folder) / f"datasets--{leaderboard.REPOSITORY.replace('/', '--')}"
    revision = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    (place / "snapshots" / revision).mkdir(parents=True)
    rows.to_csv(place / "snapshots" / revision / leaderboard.DATA, index=False)
    constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = str(folder), True


def golden(rows, difficulty, baseline, judged, published):
    """Return what the tests keep of it."""
    return {
        "source": SOURCE,
        "difficulty": [round(x, 5) for x in difficulty],
        "baseline_lengths": baseline.tolist(),
        "gamed": [{"preferences": [round(x, 4) for x in some["preference"]],
                   "gaps": [round(x, 4) for x in some["std_delta_len"]]}
                  for _, some in rows.groupby("model", sort=False)],
        "systems": [{"system": name, "preferences": [round(x, 4) for x in shares],
                     "lengths": lengths, "win_rate": published.loc[name, "win_rate"],
                     "length_controlled": published.loc[name, "length_controlled_winrate"]}
                    for name, shares, lengths in judged if name in GOLDEN],
    }  # fmt: skip


def main():
    """Print each system's figures beside the published ones, and how far they lie apart."""
    checkout = Path(sys.argv[1])
    boards = checkout / "src" / "alpaca_eval" / "leaderboards" / "data_AlpacaEval_2"
    published = pd.read_csv(boards / f"{JUDGE}_leaderboard.csv", index_col=0)
    instructions, difficulty, baseline = reference(checkout)
    rows = gamed(checkout, difficulty, baseline)
    judged = list(systems(checkout, instructions, published))
    if len(sys.argv) > 2:
        text = json.dumps(golden(rows, difficulty, baseline, judged, published))
        Path(sys.argv[2]).write_text(text + "\n")
    gaps = {"alpaca-eval's model": [], "peval's GLM": [], "no length control": []}
    with tempfile.TemporaryDirectory() as folder:
        cached(rows, folder)
        for name, shares, lengths in judged:
            pairs = [
                leaderboard.Pair(share, "x" * mine, "x" * theirs)
                for share, mine, theirs in zip(shares, lengths, baseline, strict=True)
            ]
            found = (
                leaderboard.length_controlled(pairs).win_rate,
                wins.length_controlled(shares, lengths, list(baseline)).win_rate,
                wins.wins(shares).win_rate,
            )
            wanted = published.loc[name, "length_controlled_winrate"]
            print(f"{name:36} {wanted:6.2f}", *(f"{100 * one:6.2f}" for one in found))
            for kept, one in zip(gaps.values(), found, strict=True):
                kept.append(abs(100 * one - wanted))
    for what, kept in gaps.items():
        print(f"{what}: {len(kept)} systems, median {np.median(kept):.2f}, at most {max(kept):.2f}")


if __name__ == "__main__":
    main()
