"""Estimators with the interface of scikit-learn's ``MLPClassifier`` and ``MLPRegressor``, trained by nanostep.

Needs scikit-learn, 1.6 or later: ``pip install "nanostep[sklearn]"``.
"""

from nanostep._optional import require

require("nanostep.sklearn", "scikit-learn", "sklearn", "sklearn")

from nanostep.sklearn.classifier import MLPClassifier
from nanostep.sklearn.ensemble import MLPEnsembleClassifier, MLPEnsembleRegressor
from nanostep.sklearn.regressor import MLPRegressor
from nanostep.sklearn.search import PopulationSearchCV

__all__ = ["MLPClassifier", "MLPEnsembleClassifier", "MLPEnsembleRegressor", "MLPRegressor", "PopulationSearchCV"]
