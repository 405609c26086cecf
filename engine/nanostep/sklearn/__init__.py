"""Estimators with the interface of scikit-learn's ``MLPClassifier`` and ``MLPRegressor``, trained by nanostep.

Needs scikit-learn, 1.6 or later: ``pip install "nanostep[sklearn]"``.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError('nanostep.sklearn needs scikit-learn: pip install "nanostep[sklearn]"') from error

from nanostep.sklearn.classifier import MLPClassifier
from nanostep.sklearn.ensemble import MLPEnsembleClassifier, MLPEnsembleRegressor
from nanostep.sklearn.regressor import MLPRegressor
from nanostep.sklearn.search import PopulationSearchCV

__all__ = ["MLPClassifier", "MLPEnsembleClassifier", "MLPEnsembleRegressor", "MLPRegressor", "PopulationSearchCV"]
