"""How certain is a prediction? An ensemble of small networks tells it by the spread of its members.

One part of the uncertainty is the noise of the data, which out-of-bag residuals measure; the other is the disagreement
of the members, which grows where there are no data. Intervals made from both contain the share of new data that they
should.

Run: python examples/ensemble.py [members]
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nanostep.sklearn import MLPEnsembleRegressor, MLPRegressor

LEVELS = {0.5: 0.6745, 0.8: 1.2816, 0.9: 1.6449, 0.95: 1.96}
"""Shares of a normal distribution, and the half-widths of the intervals that contain them, in standard deviations."""


def make_data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 1), with a gap between -0.2 and 0.4, and noisy y (n,)."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (4 * n, 1))
    x = x[(x[:, 0] < -0.2) | (x[:, 0] > 0.4)][:n]
    return x, np.sin(5 * x[:, 0]) * np.exp(x[:, 0]) + random.normal(0, 0.15, len(x))


def main(members: int = 64) -> tuple[dict[float, float], float]:
    """Return the share of new data in the interval of each level, and the ratio of the spread in the gap to that of new
    data."""
    x, y = make_data(300, seed=0)
    member = MLPRegressor(hidden_layer_sizes=(32,), activation="tanh", learning_rate_init=0.02, batch_size=32,
                          alpha=1e-3, max_iter=150, n_iter_no_change=150)  # fmt: skip
    ensemble = MLPEnsembleRegressor(member, members, oob_score=True, random_state=0)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # exactly 150 epochs are wanted
        ensemble.fit(x, y)
    seconds = time.perf_counter() - started
    # out-of-bag residuals consist of noise and of the members' disagreement
    spread = ensemble.predict(x, return_std=True)[1]
    noise = np.sqrt(np.nanmean((ensemble.oob_prediction_ - y) ** 2) - np.mean(spread**2))

    new_x, new_y = make_data(5000, seed=1)
    mean, spread = ensemble.predict(new_x, return_std=True)
    deviation = np.sqrt(spread**2 + noise**2)
    shares = {level: float((np.abs(new_y - mean) < z * deviation).mean()) for level, z in LEVELS.items()}
    gap = ensemble.predict(np.linspace(-0.1, 0.3, 50)[:, None], return_std=True)[1].mean()
    print(f"{members} members, 150 epochs: {seconds:.2f} s; noise by out-of-bag residuals {noise:.3f} (0.15 was added)")
    print("intervals hold: " + ", ".join(f"{level:.0%}: {share:.1%}" for level, share in shares.items()))
    print(f"in the gap the members are {gap / spread.mean():.1f} times as far apart as where there are data")
    return shares, float(gap / spread.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
