"""docs/reinforcement-learning.md: scores and seconds of the examples beside PyTorch and JAX, and learning curves."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pages import about, table

COMMAND = "python -m nanostep.benchmark.rl --json {raw}"
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "learning.png"
ALGORITHMS = {
    "dqn": ("DQN, CartPole", 475.0),
    "ppo": ("PPO, CartPole", 475.0),
    "sac": ("SAC, Pendulum", -200.0),
    "sac_jit": ("SAC, Pendulum, in one jitted function", -200.0),
}
"""Title, and the usual score."""
LIBRARIES = {"ours": "nanostep", "torch": "PyTorch", "jax": "JAX"}
HEAD = ["", "library", "steps", "seeds", "wanted", "score, median", "scores", "seconds, median", "over nanostep"]


def build(raw: Path) -> dict[str, Any]:
    values = json.loads(raw.read_text(encoding="utf-8"))
    draw(values["runs"], PICTURE)
    return {**about(values["machine"], values["versions"]), "figures": {"scores": make(values["runs"])}}


def make(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a row for each algorithm and library: scores of the seeds, seconds, and these over ours."""
    rows = []
    for algorithm, (title, wanted) in ALGORITHMS.items():
        ours = statistics.median([run["seconds"] for run in _of(runs, algorithm, "ours")] or [float("nan")])
        for library, name in LIBRARIES.items():
            found = _of(runs, algorithm, library)
            if not found:
                continue
            scores = [run["score"] for run in found]
            seconds = statistics.median(run["seconds"] for run in found)
            rows.append([
                title if library == "ours" else "",
                name,
                f"{found[0]['steps']:,}",
                str(len(found)),
                f"{wanted:.0f}",
                f"{statistics.median(scores):.0f}",
                f"{min(scores):.0f} to {max(scores):.0f}",
                f"{seconds:.1f}",
                f"{seconds / ours:.1f}",
            ])  # fmt: skip
    return table(HEAD, rows, left=2)


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the median over the seeds, with the middle half as a band, by algorithm and library."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for ax, algorithm in zip(axes, ("dqn", "ppo", "sac"), strict=True):
        for library, name in (*LIBRARIES.items(), ("sac_jit", "nanostep, jitted")):
            of = (algorithm, library) if library in LIBRARIES else (library, "ours")
            found = _of(runs, *of) if library in LIBRARIES or algorithm == "sac" else []
            if not found:
                continue
            steps = np.linspace(0, found[0]["steps"], 101)[5:]
            smooth = np.stack([_smooth(run["curve"], steps) for run in found])
            low, middle, high = np.nanpercentile(smooth, [25, 50, 75], axis=0)
            ax.plot(steps, middle, label=name)
            ax.fill_between(steps, low, high, alpha=0.2)
        ax.axhline(ALGORITHMS[algorithm][1], color="grey", linestyle=":", linewidth=1)
        ax.set(title=ALGORITHMS[algorithm][0], xlabel="steps of the environment")
    axes[0].set_ylabel("return, last 10 episodes")
    axes[2].legend()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _smooth(curve: Sequence[tuple[int, float]], steps: np.ndarray) -> np.ndarray:
    """Return the mean of the last ten entries of a curve before each step."""
    at, values = np.array(curve, float).T
    ends = np.searchsorted(at, steps, side="right")
    return np.array([values[max(0, end - 10) : end].mean() if end else np.nan for end in ends])


def _of(runs: Sequence[dict[str, Any]], algorithm: str, library: str) -> list[dict[str, Any]]:
    return [run for run in runs if (run["algorithm"], run["library"]) == (algorithm, library)]
