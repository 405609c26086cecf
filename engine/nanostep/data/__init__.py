"""Data that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

__all__ = ["load_digits"]


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships too.

    Returns
    -------
    X : ndarray of float64, shape (1797, 64)
        Pixels, row by row, values 0 to 16.
    labels : ndarray of int64, shape (1797,)
        Digits 0 to 9.

    Notes
    -----
    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, CC BY 4.0; see LICENSE.digits.txt beside this file.
    """
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return archive["pixels"].astype(np.float64), archive["labels"].astype(np.int64)
