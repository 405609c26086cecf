"""The parts of the docstrings that classifier, regressor and ensembles share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)

NETWORK_PARAMETERS = """
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Widths of the hidden layers; empty for none.
    activation : str, default="relu"
        Activation of the hidden layers: scikit-learn's "identity", "logistic", "tanh" and "relu", or "sigmoid" (the
        same as "logistic"), "leaky_relu", "elu", "softplus", "silu".
"""

SHARED_PARAMETERS = """
    alpha : float, default=0.0001
        L2 penalty ``alpha / 2 * sum of squared weights`` (without biases), divided by the samples of a batch as the
        loss is.
    batch_size : int or "auto", default="auto"
        Samples per update of "sgd" and "adam"; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Learning rate of "sgd": constant; ``learning_rate_init / (samples seen + 1) ** power_t``, changed after each
        epoch; or divided by 5 when the fit has settled, until it is at most 1e-6.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
    max_iter : int, default=200
        Most epochs; for {full_batch} most iterations.
    shuffle : bool, default=True
        Draw a new order of the samples for each epoch.
    random_state : int, RandomState or None, default=None
        Draws initial weights, the validation split, orders and dropout; the first three are the same numbers as
        scikit-learn's.
    tol : float, default=1e-4
        Smallest change of the training loss (with `early_stopping`, of the validation score) that counts as an
        improvement; for {full_batch} the largest entry of the gradient at which the fit ends.
    verbose : bool or int, default=False
        Print the loss, and the validation score if there is one, after each epoch.
    warm_start : bool, default=False
        `fit` continues from the weights of the last fit and from the optimiser's state, unless a parameter of the
        optimiser has been changed. (scikit-learn keeps that state in `partial_fit` only.)
    momentum : float, default=0.9
        Momentum of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        End the fit when the validation score does not improve, and keep the weights of its best epoch.
    validation_fraction : float, default=0.1
        Share of the samples to score on with `early_stopping`, unless `fit` is given X_val and y_val.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments of "adam", in [0, 1).
    epsilon : float, default=1e-8
        Term of the denominator of "adam".
    n_iter_no_change : int, default=10
        A fit has settled when there is no improvement by `tol` in more than this number of consecutive epochs.
    max_fun : int, default=15000
        Most evaluations of the loss by "lbfgs".
    backend : {"auto", "c", "numba", "numpy"}, default="auto"
        As in `nanostep.Network`.
    threads : int or None, default=None
        Most threads of "sgd" and "adam". None lets the engine choose, but takes one in a child process or a thread
        other than the main one, where joblib makes several fits at a time.
    dropout : float or array-like of float, default=0.0
        Probability in [0, 1) that a hidden unit is dropped in an update, one for all hidden layers or one for each.
    clip : float or None, default=None
        Largest norm of the gradient of an update.
    dtype : {"float32", "float64"} or None, default=None
        Precision of the network; None takes that of X if it is one of the two, otherwise float64.
    nan_targets : {"raise", "ignore"}, default="raise"
        "ignore" takes NaN in y for missing targets, which add nothing to losses, gradients and scores. A sample without
        a class keeps its place in its batch, with a weight of 0.
"""

SHARED_ATTRIBUTES = """
    network_ : nanostep.Network
        The network, with `predict`, `save`, `worksheet` and so on.
    coefs_, intercepts_ : list of ndarray
        Weights (inputs, outputs) and biases (outputs,) of each layer: views into `network_`, which may be written, or
        replaced by arrays of the same shape.
    loss_ : float
        Loss of the last epoch or iteration, including the penalty.
    loss_curve_ : list of float
        Loss of each epoch ("sgd" and "adam").
    best_loss_ : float or None
        Least loss of an epoch; None with `early_stopping`.
    validation_scores_ : list of float or None
        Score after each epoch, if there are validation data.
    best_validation_score_ : float or None
    n_iter_ : int
        Epochs or iterations of the last fit.
    t_ : int
        Samples seen since the weights were drawn.
    n_layers_, n_outputs_, n_features_in_ : int
        Numbers of layers including the input, of outputs and of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had names.
    out_activation_ : str
"""

SHARED_NOTES = """
    Sparse X, CSR or CSC, is made dense: at once if that takes at most 64 MiB, otherwise in blocks of a few MiB during
    fit and prediction, so that memory does not grow with X ({dense_solver}).

    With ``sgd`` and ``adam`` the loss curve follows scikit-learn's for the same parameters and `random_state` (up to
    rounding), and the defaults mean the same. Differences: `warm_start` (above), and log loss is exact where
    scikit-learn first rounds probabilities near 1.

    A single row is predicted in about a microsecond or two if it is a C-contiguous array of the network's dtype;
    everything else goes through scikit-learn's validation. ``check_input=False`` and
    ``sklearn.config_context(assume_finite=True)`` skip the check for NaN and infinity.
"""


ENSEMBLE_PARAMETERS = """
    estimator : {member}, optional
        Template of the members, which differ in `random_state`. Defaults to ``{member}()``.
    n_estimators : int, default=10
    bootstrap : bool, default=True
        Each member draws as many samples as there are, with replacement, and weights each sample by the number of its
        draws (Breiman, 1996, "Bagging predictors"). False: members differ in their initial weights only, as in a deep
        ensemble (Lakshminarayanan, Pritzel & Blundell, 2017, "Simple and scalable predictive uncertainty estimation
        using deep ensembles").
    oob_score : bool, default=False
        Score every sample by the members that have not drawn it.
    random_state : int, RandomState or None, default=None
        Determines initial weights, draws, and the order of samples, which is the same for all members.
    n_jobs : int, optional
        Members fitted at a time where they are not trained as one population: solvers other than "sgd" and "adam",
        `early_stopping`, `dropout`, large sparse X.
"""


def documented(**parts: str) -> Callable[[Class], Class]:
    """Return a class decorator that puts the shared parts, and `parts`, into the docstring."""

    def decorate(cls: Class) -> Class:
        shared = {
            "network_parameters": NETWORK_PARAMETERS,
            "shared_parameters": SHARED_PARAMETERS.replace("{full_batch}", parts["full_batch"]),
            "shared_attributes": SHARED_ATTRIBUTES,
            "shared_notes": SHARED_NOTES.replace("{dense_solver}", parts["dense_solver"]),
        }
        assert cls.__doc__ is not None
        for name, text in shared.items():
            cls.__doc__ = cls.__doc__.replace(f"    {{{name}}}\n", text.lstrip("\n"))
        return cls

    return decorate


def documented_ensemble(member: str) -> Callable[[Class], Class]:
    """Return a class decorator that puts the parameters of ensembles into the docstring; `member` names their class."""

    def decorate(cls: Class) -> Class:
        assert cls.__doc__ is not None
        text = ENSEMBLE_PARAMETERS.replace("{member}", member).lstrip("\n")
        cls.__doc__ = cls.__doc__.replace("    {ensemble_parameters}\n", text)
        return cls

    return decorate
