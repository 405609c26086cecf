"""Plots: their content, checked by pixels, and the arguments that they refuse."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import nanostep as ns
from nanostep.plots import plot_history, plot_network
from nanostep.plots._axes import CATEGORIES
from nanostep.plots.network import DIVERGING

TRAINING, VALIDATION = CATEGORIES[:2]
NEGATIVE, POSITIVE = DIVERGING[0], DIVERGING[-1]


@pytest.fixture(autouse=True)
def _no_screen():
    mpl.use("Agg")
    yield
    pyplot.close("all")


class Picture:
    """The pixels within some Axes, without the ticks and labels around them.

    Attributes
    ----------
    image : ndarray, shape (height, width, 3)
        From 0 to 1, top first.
    """

    def __init__(self, ax: Axes) -> None:
        ax.figure.canvas.draw()
        whole = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3] / 255
        left, bottom, right, top = (round(value) for value in ax.bbox.extents)
        self.ax, self.image = ax, whole[len(whole) - top + 2 : len(whole) - bottom - 2, left + 2 : right - 2]

    def count(self, colour: str, within: float = 0.04) -> int:
        """Return the number of pixels that have a colour."""
        return int((np.abs(self.image - to_rgb(colour)).max(axis=-1) < within).sum())

    def at(self, x: float, y: float) -> np.ndarray:
        """Return the colour of the pixel at a point in data coordinates."""
        across, up = self.ax.transData.transform((x, y)) - self.ax.bbox.min - 2
        return self.image[round(len(self.image) - up - 0.5), round(across - 0.5)]


def history(**values: object) -> ns.History:
    return ns.History(loss=[1.0, 0.5, 0.4, 0.35], **values)  # type: ignore[arg-type]


def network(*theta: float) -> ns.Network:
    """A network of two inputs and one output, whose class is the side of a line on which the inputs are."""
    net = ns.Network([2, 1], output="sigmoid", loss="binary_cross_entropy", backend="numpy")
    net.theta = theta
    return net


# -- the pixels themselves ---------------------------------------------------------------------------------------------


def test_an_empty_picture_has_no_colours() -> None:
    ax = pyplot.subplots()[1]
    assert (Picture(ax).image == 1).all()
    for colour in (TRAINING, VALIDATION, NEGATIVE, POSITIVE, "black"):
        assert Picture(ax).count(colour) == 0
    ax.axhline(0.5, color=TRAINING, linewidth=3)
    assert Picture(ax).count(TRAINING) > 500
    np.testing.assert_allclose(Picture(ax).at(0.5, 0.5), to_rgb(TRAINING), atol=0.01)
    assert (Picture(ax).at(0.5, 0.6) == 1).all()


# -- learning curves ---------------------------------------------------------------------------------------------------


def test_curves_are_drawn_and_named() -> None:
    ax = history(validation_loss=[2.0, 0.7, 0.6, 0.65]).plot()
    assert Picture(ax).count(TRAINING) > 300
    assert Picture(ax).count(VALIDATION) > 300
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "training", "validation", "least validation: 0.6 (epoch 3)",
    ]  # fmt: skip
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "linear")
    assert len(ax.figure.axes) == 1


def test_metrics_and_a_rate_that_changes_have_panels_of_their_own() -> None:
    record = history(
        validation_loss=[1.0, 0.6, 0.5, 0.6], metrics={"rmse": [4.0, 3.0, 2.0, 1.0]},
        validation_metrics={"rmse": [5.0, 4.0, 3.0, 2.0]}, lr=[0.1, 0.1, 0.05, 0.001],
    )  # fmt: skip
    panels = record.plot().figure.axes
    assert [panel.get_ylabel() for panel in panels] == ["loss", "rmse", "learning rate"]
    assert [panel.get_yscale() for panel in panels] == ["linear", "linear", "log"]
    assert [Picture(panel).count(TRAINING) > 200 for panel in panels] == [True, True, True]
    assert [Picture(panel).count(VALIDATION) > 200 for panel in panels] == [True, True, False]
    alone = pyplot.subplots()[1]
    record.plot(alone)
    assert alone.figure.axes == [alone]
    assert len(history(lr=[0.1] * 4).plot().figure.axes) == 1


def test_without_validation_there_is_one_curve() -> None:
    ax = history().plot()
    assert Picture(ax).count(TRAINING) > 300
    assert Picture(ax).count(VALIDATION) == 0


def test_wide_ranges_are_logarithmic_and_a_single_epoch_is_a_dot() -> None:
    assert ns.History(loss=[1.0, 1e-3]).plot().get_yscale() == "log"
    assert ns.History(loss=[1.0, 0.0]).plot().get_yscale() == "linear"
    assert Picture(ns.History(loss=[1.0]).plot()).count(TRAINING) > 30


def test_a_run_that_diverged_is_drawn_as_far_as_it_is_finite() -> None:
    ax = ns.History(loss=[1.0, 2.0, np.inf, np.nan], validation_loss=[np.nan] * 4).plot()
    assert Picture(ax).count(TRAINING) > 100
    assert len(ax.get_legend().get_texts()) == 2  # no least validation loss is marked


# -- networks ----------------------------------------------------------------------------------------------------------


def test_signs_and_sizes_of_weights_are_seen() -> None:
    both = network(2.0, -2.0, 0.0).plot()
    assert Picture(both).count(POSITIVE) > 300
    assert Picture(both).count(NEGATIVE) > 300
    one = network(2.0, -0.2, 0.0).plot()
    assert Picture(one).count(POSITIVE) > 300
    assert Picture(one).count(NEGATIVE) == 0
    none = network(0.0, 0.0, 0.0).plot()
    assert Picture(none).count(POSITIVE) == Picture(none).count(NEGATIVE) == 0


def test_biases_fill_neurons() -> None:
    ax = network(0.0, 0.0, 3.0).plot()
    np.testing.assert_allclose(Picture(ax).at(1, 0), to_rgb(POSITIVE), atol=0.02)
    np.testing.assert_allclose(Picture(ax).at(0, 0.25), (1, 1, 1))


@pytest.mark.parametrize("sizes", [[1, 1], [16, 17, 3], [784, 100, 1], [3, 300, 2, 2, 2, 2]], ids=str)
def test_wide_layers_are_drawn_as_groups(sizes: list[int]) -> None:
    ax = ns.Network(sizes, backend="numpy", seed=1).plot(most=16)
    lines, *columns = ax.collections
    drawn = [min(size, 16) for size in sizes]
    assert [len(column.get_offsets()) for column in columns] == drawn
    assert len(lines.get_array()) == sum(a * b for a, b in pairwise(drawn))
    words = [text.get_text() for text in ax.texts]
    assert all(word.startswith(f"{size}\n") for word, size in zip(words, sizes, strict=True))
    assert ["(groups of" in word for word in words] == [size > 16 for size in sizes]
    assert (Picture(ax).image < 0.9).any(axis=-1).mean() > 0.004


def test_a_group_has_the_mean_and_the_root_mean_square_of_its_weights() -> None:
    net = ns.Network([4, 2], backend="numpy")
    net.theta = [3.0, -3.0, 1.0, 1.0, 0, 0, 0, 2.0, 0, 0]
    ax = net.plot(most=2)
    lines, values = ax.collections[0], ax.collections[0].get_array()
    np.testing.assert_allclose(sorted(values), [0, 0, 1, 1])
    widths = np.array(lines.get_linewidths())
    np.testing.assert_allclose(widths / widths.max(), np.array([0, 1, np.sqrt(2), 3]) / 3)


# -- decision boundaries -----------------------------------------------------------------------------------------------

CORNERS, SIDES = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 0, 1, 1])


def closest(colour: np.ndarray) -> str:
    """Return the index of the class whose colour an RGB value is a tint of."""
    shade = 1 - colour
    likeness = [
        shade @ (1 - np.array(to_rgb(name))) / np.linalg.norm(1 - np.array(to_rgb(name))) for name in CATEGORIES
    ]
    return CATEGORIES[int(np.argmax(likeness))]


def check_sides(ax: Axes) -> None:
    """Check a picture of two classes that are separated by a vertical line through 0."""
    picture = Picture(ax)
    assert closest(picture.at(-0.5, 0.3)) == CATEGORIES[0]
    assert closest(picture.at(0.5, 0.3)) == CATEGORIES[1]
    assert min(picture.at(x, 0.3).max() for x in np.linspace(-0.02, 0.02, 9)) < 0.3  # a black line
    for k, (x, y) in enumerate(CORNERS):
        np.testing.assert_allclose(picture.at(x, y), to_rgb(CATEGORIES[SIDES[k]]), atol=0.1)


@pytest.mark.parametrize("y", [SIDES, SIDES[:, None], 2.0 * SIDES - 1], ids=["labels", "column", "signs"])
def test_the_sides_of_a_line_have_their_classes_colours(y: np.ndarray) -> None:
    net = network(9.0, 0.0, 0.0)
    if y.min() < 0:
        net = ns.Network([2, 1], output="tanh", backend="numpy")
        net.theta = [9.0, 0.0, 0.0]
    check_sides(ns.plot_decision_boundary(net, CORNERS, y))


def test_a_wrong_side_is_noticed() -> None:
    for theta in ((-9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 0.0)):
        with pytest.raises(AssertionError):
            check_sides(ns.plot_decision_boundary(network(*theta), CORNERS, SIDES))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_three_classes(output: str, one_hot: bool) -> None:
    net = ns.Network([2, 3], output=output, loss="squared_error", backend="numpy")
    net.theta = [-5.0, 0, 5.0, 0, 0, 9.0, 0.0, 0.0, -2.0]
    X, labels = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]]), np.arange(3)
    ax = ns.plot_decision_boundary(net, X, np.eye(3)[labels] if one_hot else labels, resolution=60)
    picture = Picture(ax)
    for place, colour in zip([(-0.8, -0.8), (0.8, -0.8), (0.0, 0.8)], CATEGORIES, strict=False):
        assert closest(picture.at(*place)) == colour
    assert picture.count("black", 0.2) > 100
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2"]


def sides(rows: object) -> np.ndarray:
    return (np.asarray(rows)[:, 0] > 0).astype(float)


def test_an_estimator_with_or_without_probabilities() -> None:
    classes = np.array(["left", "right"])
    plain = SimpleNamespace(classes_=classes, predict=lambda rows: classes[sides(rows).astype(int)])
    check_sides(ns.plot_decision_boundary(plain, CORNERS, classes[SIDES]))

    def chances(rows: pd.DataFrame) -> np.ndarray:
        assert list(rows.columns) == ["width", "height"]
        right = 1 / (1 + np.exp(-9 * rows["width"].to_numpy()))
        return np.stack([1 - right, right], axis=1)

    frame = pd.DataFrame(CORNERS, columns=["width", "height"])
    ax = ns.plot_decision_boundary(SimpleNamespace(classes_=classes, predict=None, predict_proba=chances), frame,
                                   classes[SIDES])  # fmt: skip
    check_sides(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


def test_our_own_estimator_fitted_to_a_frame() -> None:
    from nanostep.sklearn import MLPClassifier

    frame, names = pd.DataFrame(CORNERS, columns=["width", "height"]), np.array(["left", "right"])[SIDES]
    estimator = MLPClassifier((4,), solver="lbfgs", random_state=0).fit(frame, names)
    picture = Picture(ns.plot_decision_boundary(estimator, frame, names))
    assert closest(picture.at(-0.9, 0.3)) == CATEGORIES[0]
    assert closest(picture.at(0.9, 0.3)) == CATEGORIES[1]


# -- arguments, and matplotlib -----------------------------------------------------------------------------------------


def test_an_axes_that_is_given_is_drawn_on() -> None:
    ax = pyplot.subplots(1, 3)[1]
    before = pyplot.get_fignums()
    assert history().plot(ax[0]) is ax[0]
    assert network(1.0, -1.0, 0.0).plot(ax[1]) is ax[1]
    assert ns.plot_decision_boundary(network(1.0, -1.0, 0.0), CORNERS, SIDES, ax[2]) is ax[2]
    assert pyplot.get_fignums() == before
    assert all((Picture(panel).image < 1).any() for panel in ax)


NET = network(1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: history().plot("here"), TypeError, "ax must be a matplotlib Axes or None; got str"),
        (lambda: NET.plot(ax=3), TypeError, "ax must be a matplotlib Axes"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, SIDES, "here"), TypeError, "ax must be a matplotlib Axes"),
        (lambda: ns.History().plot(), ValueError, "holds no epoch"),
        (lambda: NET.plot(most=0), ValueError, "most=0 is out of range; accepted are 1 to 64"),
        (lambda: NET.plot(most=1.5), TypeError, "most must be an integer"),
        (lambda: network(np.nan, 0, 0), ValueError, "theta must be finite"),
        (lambda: ns.plot_decision_boundary(None, CORNERS, SIDES), TypeError, "net_or_estimator must be a Network or"),
        (lambda: ns.plot_decision_boundary(SimpleNamespace(predict=sides), CORNERS, SIDES), ValueError, "no classes_"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS[:, :1], SIDES), ValueError, "X must have shape (n, 2)"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS[:0], []), ValueError, "X must have shape (n, 2)"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS * np.inf, SIDES), ValueError, "X must be finite"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, SIDES[:3]), ValueError, "one entry for each of the 4 samples"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, 1), ValueError, "one entry for each of the 4 samples"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, np.arange(4)), ValueError, "y must have two values"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, list("aabb")), TypeError, "y must hold numbers"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, np.eye(4)), ValueError, "y has shape (4, 4)"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, SIDES, resolution=1), ValueError, "resolution=1 is out of"),
        (lambda: ns.plot_decision_boundary(NET, CORNERS, SIDES, margin=-1), ValueError, "margin=-1.0 is out of range"),
        (
            lambda: ns.plot_decision_boundary(ns.Network([3, 1]), CORNERS, SIDES),
            ValueError, "the network has 3 inputs; a plane has 2",
        ),
        (
            lambda: ns.plot_decision_boundary(ns.Network([2, 3], loss="huber"), CORNERS, [0, 1, 2, 3]),
            ValueError, "classes that the model does not know: [3]",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert pyplot.get_fignums() == []


def test_parameters_without_a_scale_are_refused() -> None:
    net = network(1.0, 1.0, 0.0)
    net.theta[0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        net.plot()
    with pytest.raises(TypeError, match="net must be a Network"):
        plot_network(None)
    with pytest.raises(TypeError, match="series must be what History"):
        plot_history([1.0])


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
import nanostep as ns
for call in (ns.History(loss=[1.0]).plot, ns.Network([1, 1], backend="numpy").plot):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.count('pip install "nanostep[plot]"') == 2


def test_nothing_is_imported_before_the_first_picture() -> None:
    code = "import sys, nanostep, nanostep.plots; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
