"""Behaviour of the estimators beyond scikit-learn's curves: warm starts, weights, sparse data, validation."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.utils.class_weight import compute_sample_weight

import nanostep as ns
from nanostep.sklearn import MLPClassifier, MLPRegressor, _dataset
from nanostep.training import threads
from nanostep.training.threads import thread_limit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
LABELS = np.array(["no", "perhaps", "yes"])[RNG.integers(0, 3, 60)]
VALUES = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.standard_normal(60)


def classifier(**parameters: Any) -> MLPClassifier:
    return MLPClassifier(
        **{
            "hidden_layer_sizes": (6,),
            "max_iter": 5,
            "batch_size": 16,
            "random_state": 0,
            "backend": "numpy",
            **parameters,
        }
    )


def regressor(**parameters: Any) -> MLPRegressor:
    return MLPRegressor(
        **{
            "hidden_layer_sizes": (6,),
            "max_iter": 5,
            "batch_size": 16,
            "random_state": 0,
            "backend": "numpy",
            **parameters,
        }
    )


# -- continuing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "invscaling"}, {"dropout": 0.3}],
)
def test_warm_starts_go_on_where_the_last_fit_ended(parameters: dict[str, Any]) -> None:
    """Two fits of 3 epochs are one of 6, the optimiser's state and its learning rate included."""
    whole = classifier(**parameters, max_iter=6, shuffle=False).fit(X, LABELS)
    parts = classifier(**parameters, max_iter=3, shuffle=False, warm_start=True).fit(X, LABELS).fit(X, LABELS)
    if parameters.get("dropout"):
        assert parts.loss_curve_[:3] == whole.loss_curve_[:3]
        return
    assert parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(parts.network_.theta, whole.network_.theta)
    assert parts.t_ == whole.t_ == 6 * 60


def test_partial_fit_makes_the_epochs_of_fit() -> None:
    whole = regressor(max_iter=4, shuffle=False).fit(X, VALUES)
    parts = regressor(shuffle=False)
    for _ in range(4):
        parts.partial_fit(X, VALUES)
    np.testing.assert_array_equal(parts.network_.theta, whole.network_.theta)


def test_changed_parameters_of_the_optimiser_start_it_afresh() -> None:
    parts = classifier(max_iter=3, warm_start=True).fit(X, LABELS)
    updates = parts.network_._state.updates
    parts.fit(X, LABELS)
    assert parts.network_._state.updates == 2 * updates
    parts.set_params(learning_rate_init=0.01).fit(X, LABELS)
    assert parts.network_._state.updates == updates
    assert parts.network_.optimizer.lr == 0.01


def test_a_warm_start_may_change_the_activation_but_not_the_widths() -> None:
    warm = classifier(warm_start=True).fit(X, LABELS)
    theta = warm.network_.theta.copy()
    warm.set_params(activation="tanh", max_iter=1, learning_rate_init=1e-12).fit(X, LABELS)
    assert warm.network_.architecture.activations == ("tanh", "softmax")
    np.testing.assert_allclose(warm.network_.theta, theta, atol=1e-10)
    with pytest.raises(ValueError, match=r"were \[4, 6, 3\] and would now be \[4, 7, 3\]"):
        warm.set_params(hidden_layer_sizes=(7,)).fit(X, LABELS)


def test_classes_of_a_warm_start_must_be_the_same_and_of_partial_fit_known() -> None:
    warm = classifier(warm_start=True).fit(X, LABELS)
    with pytest.raises(ValueError, match="those that are fitted are"):
        warm.fit(X, np.where(LABELS == "no", "yes", LABELS))
    part = classifier().partial_fit(X, LABELS, classes=["no", "perhaps", "yes", "never"])
    part.partial_fit(X[:20], np.array(["yes", "never"] * 10))
    with pytest.raises(ValueError, match="classes"):
        part.partial_fit(X[:20], np.array(["yes", "always"] * 10))
    with pytest.raises(ValueError, match="classes must be passed"):
        classifier().partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="multilabel"):
        warm.fit(X, np.eye(3, dtype=int)[RNG.integers(0, 3, 60)])


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", {"no": 5.0, "yes": 0.5}])
def test_class_weights_are_weights_of_samples(class_weight: Any) -> None:
    weight = RNG.random(60)
    got = classifier(class_weight=class_weight).fit(X, LABELS, weight)
    expected = classifier().fit(X, LABELS, weight * compute_sample_weight(class_weight, LABELS))
    assert got.loss_curve_ == expected.loss_curve_


def test_integer_weights_repeat_samples() -> None:
    weight = RNG.integers(0, 3, 60)
    got = regressor(batch_size="auto").fit(X, VALUES, weight)
    expected = regressor(batch_size="auto").fit(X.repeat(weight, axis=0), VALUES.repeat(weight))
    np.testing.assert_allclose(got.loss_curve_, expected.loss_curve_, rtol=1e-10)


def test_a_batch_without_weight_changes_nothing() -> None:
    weight = np.r_[np.zeros(20), np.ones(20)]
    got = regressor(batch_size=20, shuffle=False, max_iter=1, solver="sgd", momentum=0.0).fit(
        X[:40], VALUES[:40], weight
    )
    expected = regressor(batch_size=20, shuffle=False, max_iter=1, solver="sgd", momentum=0.0).fit(
        X[20:40], VALUES[20:40]
    )
    np.testing.assert_allclose(got.network_.theta, expected.network_.theta, rtol=1e-12)


# -- sparse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_sparse_data_are_dense_data(form: Any, solver: str, in_blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.where(RNG.random(X.shape) < 0.5, X, 0.0)
    parameters: dict[str, Any] = {"solver": solver, "early_stopping": solver == "adam", "n_iter_no_change": 20}
    expected = classifier(**parameters).fit(dense, LABELS)
    if in_blocks:
        monkeypatch.setattr(_dataset, "DENSE_BYTES", 0)
        monkeypatch.setattr(_dataset, "BLOCK_BYTES", 600)
    got = classifier(**parameters).fit(form(dense), LABELS)
    np.testing.assert_allclose(got.network_.theta, expected.network_.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.loss_, expected.loss_)
    np.testing.assert_allclose(got.predict_proba(form(dense)), expected.predict_proba(dense))


def test_blocks_hold_whole_batches_and_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dataset, "BLOCK_BYTES", 600)
    data = _dataset.Dataset(sparse.csr_matrix(X), y=np.arange(60.0).reshape(-1, 1))
    order = RNG.permutation(60)
    blocks = list(data.blocks(order, 7))
    assert [len(block) for block in blocks] == [14, 14, 14, 14, 4]
    np.testing.assert_array_equal(np.concatenate([block.y[:, 0] for block in blocks]), order)
    np.testing.assert_array_equal(np.concatenate([block.x for block in blocks]), X[order])


def test_dense_rows_that_do_not_fit_say_so() -> None:
    huge = sparse.csr_matrix((2**31, 2**20))
    with pytest.raises(MemoryError, match="GiB as dense rows"):
        _dataset.Dataset(huge).samples()


def test_sparse_multilabel_targets_give_sparse_predictions() -> None:
    y = (RNG.random((60, 3)) < 0.5).astype(int)
    dense, got = classifier().fit(X, y), classifier().fit(X, sparse.csr_matrix(y))
    assert sparse.issparse(got.predict(X))
    np.testing.assert_array_equal(got.predict(X).toarray(), dense.predict(X))


# -- validation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_are_scored(early_stopping: bool) -> None:
    train, held_out = slice(0, 40), slice(40, 60)
    fitted = classifier(early_stopping=early_stopping, max_iter=8, learning_rate_init=0.05).fit(
        X[train], LABELS[train], X_val=X[held_out], y_val=LABELS[held_out]
    )
    assert len(fitted.validation_scores_) == fitted.n_iter_ == 8
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    score = fitted.score(X[held_out], LABELS[held_out])
    assert score == (fitted.best_validation_score_ if early_stopping else fitted.validation_scores_[-1])
    plain = classifier(max_iter=8, learning_rate_init=0.05).fit(X[train], LABELS[train])
    assert fitted.loss_curve_ == plain.loss_curve_


def test_validation_scores_are_weighted() -> None:
    weight = np.r_[np.ones(10), np.zeros(10)]
    data = {"X_val": X[:20], "y_val": VALUES[:20], "sample_weight_val": weight}
    fitted = regressor(max_iter=2).fit(X, VALUES, **data)
    assert fitted.validation_scores_[-1] == pytest.approx(fitted.score(X[:10], VALUES[:10]))


# -- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "leaky_relu", "elu", "softplus", "silu"])
def test_activations_of_the_engine(activation: str) -> None:
    fitted = regressor(activation=activation, max_iter=200, learning_rate_init=0.02).fit(X, VALUES)
    assert fitted.network_.architecture.activations == (activation, "identity")
    assert fitted.score(X, VALUES) > 0.9


def test_logistic_is_sigmoid() -> None:
    assert classifier(activation="logistic").fit(X, LABELS).loss_curve_ == (
        classifier(activation="sigmoid").fit(X, LABELS).loss_curve_
    )


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    ("loss", "value"),
    [
        ("absolute_error", np.abs),
        ("huber", lambda r: np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5)),
        ("squared_error", lambda r: r**2 / 2),
    ],
)
def test_losses_are_means_over_outputs(loss: str, value: Any, outputs: int) -> None:
    y = VALUES if outputs == 1 else np.c_[VALUES, -VALUES]
    first = regressor(loss=loss, max_iter=1, batch_size=60, alpha=0.0, solver="sgd", learning_rate_init=1e-9).fit(X, y)
    residual = first.predict(X) - y
    assert first.loss_ == pytest.approx(value(residual).mean(), rel=1e-6)
    fitted = regressor(loss=loss, max_iter=300, learning_rate_init=0.02).fit(X, y)
    assert fitted.score(X, y) > 0.9


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("targets", [LABELS, LABELS == "yes"], ids=["three", "two"])
def test_losses_of_the_classifier(loss: str, targets: np.ndarray) -> None:
    X_easy = X + 3.0 * (np.unique(targets, return_inverse=True)[1][:, None] == np.arange(4))
    fitted = classifier(loss=loss, max_iter=200, learning_rate_init=0.02).fit(X_easy, targets)
    assert fitted.score(X_easy, targets) > 0.9


def test_dropout_is_drawn_from_random_state() -> None:
    plain, one, two = classifier(), classifier(dropout=0.5), classifier(dropout=[0.5])
    curves = [estimator.fit(X, LABELS).loss_curve_ for estimator in (plain, one, two)]
    assert curves[1] == curves[2] != curves[0]
    assert one.predict_proba(X).shape == (60, 3)


def test_clip_limits_the_update() -> None:
    free = regressor(solver="sgd", momentum=0.0, learning_rate_init=1.0, max_iter=1, batch_size=60, clip=0.01)
    before = regressor(solver="sgd", momentum=0.0, learning_rate_init=1e-12, max_iter=1).fit(X, VALUES)
    step = free.fit(X, VALUES).network_.theta - before.network_.theta
    assert np.linalg.norm(step) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32])
def test_dtype(dtype: Any) -> None:
    fitted = classifier(dtype=dtype).fit(X, LABELS)
    assert fitted.coefs_[0].dtype == fitted.predict_proba(X).dtype == np.dtype(dtype)
    assert classifier().fit(X.astype(np.float32), LABELS).coefs_[0].dtype == np.float32
    assert classifier().fit(X.astype(int), LABELS).coefs_[0].dtype == np.float64


def test_a_fit_that_has_not_settled_says_so() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        regressor(max_iter=2).fit(X, VALUES)
    with pytest.warns(ConvergenceWarning, match="L-BFGS"):
        regressor(max_iter=2, solver="lbfgs").fit(X, VALUES)
    with pytest.warns(UserWarning, match="batch_size=100 is more than the 60 samples"):
        regressor(batch_size=100).fit(X, VALUES)


def test_verbose_prints_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    fitted = regressor(verbose=True, early_stopping=True, max_iter=30, tol=10.0, n_iter_no_change=2).fit(X, VALUES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {fitted.loss_curve_[0]:.8f}"
    assert lines[1] == f"Validation score: {fitted.validation_scores_[0]:.6f}"
    assert lines[-1] == "The validation score has not improved by tol=10 in 2 epochs: stopping."
    assert fitted.n_iter_ == len(lines) // 2 < 30


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="weights that are not finite"), np.errstate(all="ignore"):
        regressor(solver="sgd", learning_rate_init=1e9, max_iter=50).fit(X, VALUES)


def test_threads_are_one_where_many_fits_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert thread_limit(None) is None
    assert thread_limit(3) == 3
    limits: list[Any] = []
    worker = threading.Thread(target=lambda: limits.extend([thread_limit(None), thread_limit(3)]))
    worker.start()
    worker.join()
    monkeypatch.setattr(threads, "parent_process", object)
    limits += [thread_limit(None), thread_limit(3)]
    assert limits == [1, 3, 1, 3]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
def test_lm_without_hidden_layers_is_ridge_regression(outputs: int, weighted: bool) -> None:
    """Ridge regression penalises weights, not biases, against the weighted sum of squares, as `alpha` does."""
    y = VALUES if outputs == 1 else np.c_[VALUES, 1 - VALUES]
    weight = RNG.random(60) if weighted else None
    parameters: dict[str, Any] = {"hidden_layer_sizes": (), "alpha": 30.0, "max_iter": 200, "tol": 1e-10}
    fitted = regressor(**parameters, solver="lm").fit(X, y, weight)
    ridge = Ridge(alpha=30.0).fit(X, y, weight)
    np.testing.assert_allclose(fitted.coefs_[0].T.squeeze(), ridge.coef_, rtol=1e-6)
    np.testing.assert_allclose(fitted.intercepts_[0], ridge.intercept_, rtol=1e-6)
    lbfgs = regressor(**parameters, solver="lbfgs").fit(X, y, weight)
    # SciPy's L-BFGS-B ends when an iteration lowers the loss by less than 2e-9 of it
    assert fitted.loss_ == pytest.approx(lbfgs.loss_, rel=1e-5)


def test_lm_fits_closely_in_few_iterations() -> None:
    X_wave = np.linspace(-3, 3, 100).reshape(-1, 1)
    fitted = regressor(solver="lm", activation="tanh", alpha=0.0, max_iter=60).fit(X_wave, np.sin(X_wave[:, 0]))
    assert fitted.loss_ < 1e-6
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        regressor(solver="lm", max_iter=2).fit(X, VALUES)


def test_the_network_is_a_network() -> None:
    fitted = classifier().fit(X, LABELS)
    assert isinstance(fitted.network_, ns.Network)
    np.testing.assert_array_equal(fitted.network_.predict(X), fitted.predict_proba(X))
