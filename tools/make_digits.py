"""Make ``engine/nanostep/data/digits.npz`` from the copy of the data that scikit-learn ships (needs scikit-learn).

python tools/make_digits.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "engine" / "nanostep" / "data" / "digits.npz"


def main() -> None:
    digits = load_digits()
    pixels, labels = digits.data.astype(np.uint8), digits.target.astype(np.uint8)
    assert (pixels == digits.data).all()
    np.savez_compressed(TARGET, pixels=pixels, labels=labels)
    print(f"{TARGET.name}: {pixels.shape[0]} digits, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
