"""Compute the polynomial coefficients of ``csrc/src/kernels/math.inc`` and the table of ``fast_sigmoid.inc``.

Near-minimax fits by Chebyshev interpolation in 60-digit arithmetic (needs mpmath). For each function, precision and
degree it prints the coefficients, lowest power first, rounded to the precision, and the largest relative error of the
function that is built from them, before rounding of the evaluation.

    python tools/fit_polynomials.py
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60
LN2_HALF = mp.log(2) / 2


def exp_core(r: mp.mpf) -> mp.mpf:
    """(e^r - 1 - r) / r^2, so that e^r = 1 + (r + r^2 q(r))"""
    if abs(r) < mp.mpf("1e-8"):
        return mp.mpf(1) / 2 + r / 6 + r * r / 24
    return (mp.expm1(r) - r) / r**2


def log_core(w: mp.mpf) -> mp.mpf:
    """2 (atanh(s) / s - 1) / w with w = s^2, so that log(1 + u) = 2 s + s w q(w) with s = u / (2 + u)"""
    if w < mp.mpf("1e-12"):
        return mp.mpf(2) / 3 + 2 * w / 5
    s = mp.sqrt(w)
    return 2 * (mp.atanh(s) / s - 1) / w


def fit(
    name: str,
    core: Callable[[mp.mpf], mp.mpf],
    interval: tuple[mp.mpf, mp.mpf],
    degree: int,
    dtype: type[np.floating],
    error: Callable[[mp.mpf, mp.mpf], mp.mpf],
) -> None:
    """Print the coefficients of `core` on `interval` and the largest `error(argument, polynomial)`."""
    coefficients = [mp.mpf(float(dtype(c))) for c in mp.chebyfit(core, interval, degree + 1)]
    low, high = interval
    points = [low + (high - low) * i / 2000 for i in range(2001)]
    worst = max(abs(error(x, mp.polyval(coefficients, x))) for x in points)
    print(f"{name} {dtype.__name__}: relative error {mp.nstr(worst / float(np.finfo(dtype).eps), 3)} eps")
    print("    " + ", ".join(float(c).hex() for c in reversed(coefficients)))


def lookup(dtype: type[np.floating], candidates: np.ndarray) -> None:
    """Print 2^(i/16) c for 16 i, with the candidate for 1 / c that rounds best, and e^r / c for |r| <= log(2) / 32.

    The roundings are measured in long double, whose 64 bits of mantissa are enough to see them.
    """
    powers = [mp.mpf(2) ** (mp.mpf(i) / 16) for i in range(16)]
    worst = np.zeros(len(candidates))
    for power in powers:
        exact = (np.longdouble(float(power)) + np.longdouble(float(power - float(power)))) / candidates
        rounded = exact.astype(dtype).astype(np.longdouble)
        worst = np.maximum(worst, np.abs((rounded - exact) / exact).astype(float))
    inverse = mp.mpf(float(candidates[worst.argmin()]))
    print(f"2^(i/16) c, {dtype.__name__}: relative error {worst.min() / float(np.finfo(dtype).eps):.3} eps")
    print("    " + ", ".join(float(dtype(power / inverse)).hex() for power in powers))

    def slope(r: mp.mpf) -> mp.mpf:
        return inverse * (1 + r / 2 + r * r / 6 if abs(r) < mp.mpf("1e-8") else mp.expm1(r) / r)

    edge = LN2_HALF / 16 * mp.mpf("1.0001")
    fit(
        "e^r / c = 1 / c + r p", slope, (-edge, edge), 2 if dtype is np.float32 else 5, dtype,
        lambda r, p: (inverse + r * p) / (inverse * mp.exp(r)) - 1,
    )  # fmt: skip
    print(f"    1 / c: {float(inverse).hex()}")


def main() -> None:
    # below 1 - log(2) / 32, so that e^r / c stays below 1
    lookup(np.float32, np.arange(0.93, 0.9775, 2.0**-24).astype(np.float32).astype(np.longdouble))
    lookup(np.float64, np.random.default_rng(0).uniform(0.93, 0.9775, 20_000_000).astype(np.longdouble))
    for dtype, exp_degree, log1p_degree, log_degree in ((np.float32, 4, 4, 3), (np.float64, 9, 11, 6)):
        edge = LN2_HALF * mp.mpf("1.0001")
        fit("exp", exp_core, (-edge, edge), exp_degree, dtype, lambda r, q: (1 + r + r * r * q) / mp.exp(r) - 1)
        # s = u / (2 + u): up to 1/3 for u in [0, 1], and less where log cuts its range at sqrt(2)
        log_edge = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * mp.mpf("1.0001")
        for name, s_edge, degree in (("log1p", mp.mpf(1) / 3, log1p_degree), ("log", log_edge, log_degree)):
            fit(
                name, log_core, (mp.mpf(0), s_edge**2), degree, dtype,
                lambda w, q: (2 + w * q) / (2 + w * log_core(w)) - 1,
            )  # fmt: skip


if __name__ == "__main__":
    main()
