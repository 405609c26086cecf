"""The worksheet: its values, its checks of gradients, and its renderings."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexMacroNode, LatexNode, LatexWalker

import nanostep as ns
from nanostep import backends
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS, LOSS_OUTPUTS, LOSSES
from nanostep.backends.reference import layers as reference_layers
from nanostep.worksheet import differences

BACKENDS = list(backends.PACKAGES)
PAIRS = [(loss, output) for loss in LOSSES for output in LOSS_OUTPUTS.get(loss, ACTIVATIONS)]

# a worked example, computed with 30 digits and rounded to 15: x = (0.05, 0.10), y = 0.01, lr = 0.5
THETA = [0.15, 0.20, 0.25, 0.30, 0.35, 0.35, 0.40, 0.45, 0.60]
EXACT_LAYERS = (
    {
        "z": [0.3775, 0.3925],
        "a": [0.593269992107187, 0.596884378259767],
        "da": [0.0553994246514228, 0.0623243527328506],
        "df": [0.241300708572325, 0.240613417249218],
        "d": [0.0133679204228875, 0.0149960754888969],
        "dw": [[0.000668396021144373, 0.00133679204228875], [0.000749803774444843, 0.00149960754888969]],
        "db": [0.0133679204228875, 0.0149960754888969],
        "w_new": [[0.149665801989428, 0.199331603978856], [0.249625098112778, 0.299250196225555]],
        "b_new": [0.343316039788556, 0.342501962255552],
        "z_new": [0.370732490285913, 0.384908236783746],
        "a_new": [0.591635962045452, 0.595056362400954],
    },
    {
        "z": [1.10590596705977],
        "a": [0.751365069552316],
        "da": [0.741365069552316],
        "df": [0.186815601808959],
        "d": [0.138498561628557],
        "dw": [[0.0821670405642308, 0.0826676278475333]],
        "db": [0.138498561628557],
        "w_new": [[0.358916479717885, 0.408666186076233]],
        "b_new": [0.530750719185722],
        "z_new": [0.986278030080374],
        "a_new": [0.72835213707658],
    },
)


def notes_network(backend: str = "numpy", dtype: str = "float64") -> ns.Network:
    net = ns.Network([2, 2, 1], dtype=dtype, backend=backend)
    net.theta = THETA
    return net


def target(loss: str, outputs: int, rng: np.random.Generator) -> object:
    if loss == "cross_entropy":
        return int(rng.integers(outputs))
    return rng.integers(0, 4, outputs) if loss == "poisson" else rng.uniform(0.1, 0.9, outputs)


def sample_sheet(loss: str, output: str, activation: str = "tanh", **options: object) -> ns.Worksheet:
    rng = np.random.default_rng(7)
    net = ns.Network(
        [3, 4, 3], activation=activation, output=output, loss=loss, seed=3, **{"backend": "numpy", **options}
    )
    return net.worksheet(rng.standard_normal(3), target(loss, 3, rng), lr=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_exact_worked_example(backend):
    sheet = notes_network(backend).worksheet([0.05, 0.10], 0.01, lr=0.5)
    assert sheet.backend == backend
    for layer, exact in zip(sheet.layers, EXACT_LAYERS, strict=True):
        for name, value in exact.items():
            np.testing.assert_allclose(getattr(layer, name), value, rtol=0, atol=1e-14, err_msg=name)
    assert sheet.loss == pytest.approx(0.274811083176155, abs=1e-14)
    assert sheet.loss_new == pytest.approx(0.258014896421245, abs=1e-14)
    assert sheet.ok
    assert all(check.taken.all() for check in sheet.checks)


# Matt Mazur, "A Step by Step Backpropagation Example", 2015, which holds the biases fixed
MAZUR_THETA = [0.15, 0.20, 0.25, 0.30, 0.35, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.60]
MAZUR_W1 = ["0.149780716", "0.19956143", "0.24975114", "0.29950229"]
MAZUR_W2 = ["0.35891648", "0.408666186", "0.511301270", "0.561370121"]


def to_places(values: np.ndarray, printed: list[str]) -> list[str]:
    """Return `values` rounded to the decimal places of their printed counterparts."""
    pairs = zip(values.ravel(), printed, strict=True)
    return [f"{value:.{len(text.partition('.')[2])}f}" for value, text in pairs]


@pytest.mark.parametrize("backend", BACKENDS)
def test_mazurs_example_with_biases_held_fixed(backend):
    net = ns.Network([2, 2, 2], backend=backend)
    net.theta = MAZUR_THETA
    sheet = net.worksheet([0.05, 0.10], [0.01, 0.99], lr=0.5, biases="frozen")
    hidden, output = sheet.layers
    assert f"{sheet.loss:.9f}" == "0.298371109"
    assert to_places(hidden.w_new, MAZUR_W1) == MAZUR_W1
    assert to_places(output.w_new, MAZUR_W2) == MAZUR_W2
    for layer in sheet.layers:
        np.testing.assert_array_equal(layer.b_new, layer.b)
        assert layer.db.all()
    assert sheet.ok

    # the loss of the new weights that the page prints, to the places that their eight digits determine
    net.theta = [*map(float, MAZUR_W1), 0.35, 0.35, *map(float, MAZUR_W2), 0.60, 0.60]
    assert sheet.loss_new == pytest.approx(net.loss([0.05, 0.10], [0.01, 0.99]), abs=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mazurs_last_figure_takes_hidden_deltas_from_new_weights(backend):
    # the page's 0.291027924 is not the loss of the weights it prints: it is reached only if the output weights are
    # updated before the hidden deltas are computed
    net = ns.Network([2, 2, 2], backend=backend)
    net.theta = MAZUR_THETA
    x, y = np.array([0.05, 0.10]), [0.01, 0.99]
    sheet = net.worksheet(x, y, lr=0.5, biases="frozen")
    hidden, output = sheet.layers
    net.weights[0][...] -= 0.5 * np.outer(output.w_new.T @ output.d * hidden.df, x)
    net.weights[1][...] = output.w_new
    assert f"{net.loss(x, y):.9f}" == "0.291027924"
    assert f"{sheet.loss_new:.9f}" == "0.291027774"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_makes_the_same_step_as_the_network(backend, dtype):
    rng = np.random.default_rng(11)
    eps = float(np.finfo(dtype).eps)
    # the numba backend compiles each pair; the conformance suite covers all of them there
    for loss, output in PAIRS[::12] if backend == "numba" else PAIRS:
        net = ns.Network(
            [3, 5, 2, 4], activation=["silu", "elu"], output=output, loss=loss, dtype=dtype, backend=backend, seed=5
        )
        x, y = rng.standard_normal(3), target(loss, 4, rng)
        before = net.theta.copy()
        sheet = net.worksheet(x, y, lr=0.05)
        np.testing.assert_array_equal(net.theta, before)
        assert net.step(x, y, lr=0.05) == pytest.approx(sheet.loss, rel=64 * eps)
        stepped = np.concatenate([np.r_[layer.w_new.ravel(), layer.b_new] for layer in sheet.layers])
        assert stepped.dtype == dtype
        np.testing.assert_allclose(stepped, net.theta, rtol=64 * eps, atol=64 * eps)
        assert net.loss(x, y) == pytest.approx(sheet.loss_new, rel=64 * eps, abs=64 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_gradients_pass_their_checks_for_every_loss_and_output(loss, output, dtype):
    for activation in HIDDEN_ACTIVATIONS:
        sheet = sample_sheet(loss, output, activation, dtype=dtype)
        assert sheet.ok, (activation, sheet.to_text())
        assert all(check.taken.all() for check in sheet.checks)


@pytest.mark.parametrize("sizes", [[1, 1], [5, 2], [2, 1, 1, 1, 1, 3], [4, 6, 5, 3]])
def test_any_depth(sizes):
    net = ns.Network(sizes, activation="softplus", output="identity", loss="huber", backend="numpy")
    sheet = net.worksheet(np.linspace(-1, 1, sizes[0]), np.ones(sizes[-1]))
    assert [layer.w.shape for layer in sheet.layers] == [w.shape for w in net.weights]
    assert sheet.ok


def test_kinks_accept_any_subgradient():
    # z = 0 exactly: relu'(0) is defined as 0, and the central difference is half way between the two slopes
    net = ns.Network([2, 1], output="relu", loss="absolute_error", backend="numpy")
    net.theta = [1.0, -1.0, 0.0]
    sheet = net.worksheet([0.5, 0.5], 1.0)
    assert sheet.layers[0].z[0] == 0
    assert sheet.layers[0].dw[0, 0] == 0
    assert abs(sheet.layers[0].dw_check.difference[0, 0]) == pytest.approx(0.25)
    assert sheet.ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 1)])
def test_a_wrong_gradient_is_flagged(monkeypatch, dtype, place):
    right = reference_layers.dense_backward_weights

    def wrong(d__bo, x__bi, dw__oi, db__o):
        right(d__bo, x__bi, dw__oi, db__o)
        if len(db__o) == 4:
            dw__oi[place] *= 1.01

    monkeypatch.setattr(reference_layers, "dense_backward_weights", wrong)
    sheet = sample_sheet("half_squared_error", "sigmoid", dtype=dtype)
    assert not sheet.ok
    assert [tuple(index) for index in np.argwhere(~sheet.layers[0].dw_check.ok)] == [place]
    assert all(check.ok.all() for check in sheet.checks[1:])
    assert sheet.to_text().count("FAILED") == 2  # the entry and the count below its block
    assert "checks failed" in repr(sheet)
    assert r"\textbf{failed}" in sheet.to_latex()
    assert '<td class="failed">' in sheet.to_html()


def test_a_wrong_delta_is_flagged(monkeypatch):
    def transposed(d__bo, w__oi, dx__bi):
        dx__bi[...] = d__bo @ w__oi[:, ::-1]

    monkeypatch.setattr(reference_layers, "dense_backward_input", transposed)
    sheet = sample_sheet("cross_entropy", "softmax")
    assert not sheet.layers[0].dw_check.ok.any()
    assert sheet.layers[1].dw_check.ok.all()


def test_long_blocks_are_checked_in_part_and_shown_in_part():
    net = ns.Network(
        [150, 100, 10], activation="relu", output="softmax", loss="cross_entropy", dtype="float32", backend="numpy"
    )
    sheet = net.worksheet(np.random.default_rng(0).standard_normal(150), 3, lr=0.1)
    check = sheet.layers[0].dw_check
    assert check.taken.sum() == differences.MAX_PER_BLOCK
    assert np.isnan(check.difference[~check.taken]).all()
    assert sheet.ok
    values = sheet.to_dict()["layers"][0]
    assert np.shape(values["dw"]) == (100, 150)
    assert sum(ok is None for row in values["dw_check"]["ok"] for ok in row) == 15_000 - differences.MAX_PER_BLOCK
    text = sheet.to_text()
    assert max(map(len, text.splitlines())) < 160
    assert f"{differences.MAX_PER_BLOCK} of 15000 entries checked, all ok" in text
    for rendering in (text, sheet.to_latex(), sheet.to_html()):
        assert len(rendering) < 40_000


def test_one_row_and_labels():
    net = ns.Network([2, 3], output="softmax", loss="cross_entropy", backend="numpy")
    expected = net.worksheet([1.0, 2.0], [0, 0, 1]).to_dict()
    assert net.worksheet([[1.0, 2.0]], [2]).to_dict() == expected
    assert net.worksheet([1.0, 2.0], 2).to_dict() == expected
    assert expected["y"] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "exception", "words"),
    [
        ({"x": [[0, 1], [1, 0]], "y": [0, 1]}, ValueError, ["one sample", "x has 2 rows"]),
        ({"x": np.empty((0, 2))}, ValueError, ["one sample", "x has 0 rows"]),
        ({"x": [1, 2, 3]}, ValueError, ["x must have shape", "(3,)"]),
        ({"x": [np.nan, 1]}, ValueError, ["x must be finite"]),
        ({"y": [1, 2]}, ValueError, ["y must have shape", "(2,)"]),
        ({"lr": 0.0}, ValueError, ["lr=0.0", "accepted"]),
        ({"lr": np.inf}, ValueError, ["lr=inf", "accepted"]),
        ({"lr": "0.5"}, TypeError, ["lr must be a real number"]),
        ({"digits": 0}, ValueError, ["digits=0", "1 to 17"]),
        ({"digits": 18}, ValueError, ["digits=18", "1 to 17"]),
        ({"digits": 6.0}, TypeError, ["digits must be an integer"]),
        ({"biases": "fixed"}, ValueError, ["biases='fixed'", "trained, frozen"]),
        ({"biases": True}, TypeError, ["biases must be a string"]),
    ],
)
def test_bad_arguments(arguments, exception, words):
    net = notes_network()
    with pytest.raises(exception) as caught:
        net.worksheet(**{"x": [0.05, 0.1], "y": 0.01, **arguments})
    assert all(word in str(caught.value) for word in words), str(caught.value)
    np.testing.assert_array_equal(net.theta, THETA)


@pytest.mark.parametrize("render", ["to_text", "to_latex", "to_html"])
def test_digits(render):
    sheet = notes_network().worksheet([0.05, 0.10], 0.01, digits=4)
    assert "0.2748" in getattr(sheet, render)()
    assert "0.27481" not in getattr(sheet, render)()
    assert "0.27481108" in getattr(sheet, render)(digits=8)
    with pytest.raises(ValueError, match="digits=99"):
        getattr(sheet, render)(digits=99)


def test_text():
    sheet = notes_network().worksheet([0.05, 0.10], 0.01)
    text = str(sheet)
    for line in (
        "z1 = W1 x + b1           =  [ 0.3775    0.3925   ]",
        "dL/da1 = W2^T d2      =  [ 0.0553994  0.0623244 ]",
        "dL/dW1[2,1]  0.000749804  0.000749804  ok",
        "b1_new = b1 - lr dL/db1  =  [ 0.343316  0.342502 ]",
        "The loss falls from 0.274811 to 0.258015.",
    ):
        assert line in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert repr(sheet) == "<Worksheet of 2-2-1: loss 0.274811 -> 0.258015, gradient checks ok>"


def test_dict_is_plain_complete_and_exact():
    net = notes_network()
    sheet = net.worksheet([0.05, 0.10], 0.01)
    values = json.loads(json.dumps(sheet.to_dict()))
    assert values == sheet.to_dict()
    assert values["layers"][0]["z"] == sheet.layers[0].z.tolist()
    assert values["layers"][1]["dw_check"]["ok"] == [[True, True]]
    assert values["sizes"] == [2, 2, 1]


def test_float32_is_worked_in_float32():
    sheet = notes_network(dtype="float32").worksheet([0.05, 0.10], 0.01)
    layer = sheet.layers[0]
    assert all(v.dtype == np.float32 for v in vars(layer).values() if isinstance(v, np.ndarray))
    assert layer.dw_check.difference.dtype == np.float64
    assert sheet.ok


def test_overflow_is_shown_not_hidden():
    net = ns.Network([1, 1], output="identity", loss="poisson", backend="numpy")
    net.theta = [2000.0, 0.0]
    sheet = net.worksheet([1.0], 1.0)
    assert sheet.loss == np.inf
    assert not sheet.ok
    assert "inf" in sheet.to_text()
    assert r"\infty" in sheet.to_latex()


# -- LaTeX ------------------------------------------------------------------------------------------------------------

GRIDS = {"align*": 2, "bmatrix": None, "tabular": 4}
"""Environments made of rows, and the number of cells of each row if it is known."""


def parse(latex: str) -> list[LatexNode]:
    nodes, _, length = LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()
    assert length == len(latex)
    return nodes


def environments(nodes: list[LatexNode]) -> list[LatexEnvironmentNode]:
    found = []
    for node in nodes:
        children = list(getattr(node, "nodelist", None) or [])
        arguments = getattr(node, "nodeargd", None)
        children += [child for child in (arguments.argnlist if arguments else []) if child is not None]
        found += [node] if isinstance(node, LatexEnvironmentNode) else []
        found += environments(children)
    return found


def row_lengths(grid: LatexEnvironmentNode) -> list[int]:
    """Return the number of cells of every row of an environment, without its nested environments."""
    lengths, cells, empty = [], 1, True
    for node in grid.nodelist:
        if getattr(node, "specials_chars", None) == "&":
            cells += 1
        elif isinstance(node, LatexMacroNode) and node.macroname == "\\":
            lengths.append(cells)
            cells, empty = 1, True
            continue
        invisible = not node.latex_verbatim().strip() or getattr(node, "macroname", "") == "hline"
        empty = empty and invisible
    return lengths if empty else [*lengths, cells]


def check_latex(latex: str) -> None:
    found = environments(parse(latex))
    names = [environment.environmentname for environment in found]
    for name, expected in GRIDS.items():
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}") == names.count(name)
        assert name in names
        for grid in (environment for environment in found if environment.environmentname == name):
            lengths = row_lengths(grid)
            assert lengths
            assert set(lengths) == {expected or lengths[0]}, grid.latex_verbatim()
    for old, new in ((r"\left", r"\right"), (r"\bigl", r"\bigr"), (r"\lvert", r"\rvert")):
        assert latex.count(old) == latex.count(new)


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_latex_is_well_formed(loss, output):
    check_latex(sample_sheet(loss, output, "silu").to_latex())


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_latex_of_every_activation_is_well_formed(activation):
    check_latex(sample_sheet("huber", "identity", activation).to_latex(digits=17))


def test_latex_of_a_long_network_is_well_formed():
    net = ns.Network(
        [20, 30, 12], activation="relu", output="softmax", loss="cross_entropy", dtype="float32", backend="numpy"
    )
    latex = net.worksheet(np.linspace(-30, 30, 20), 3, lr=0.1).to_latex()
    check_latex(latex)
    assert all(dots in latex for dots in (r"\cdots", r"\vdots", r"\ddots"))


def test_the_latex_check_can_fail():
    latex = notes_network().worksheet([0.05, 0.10], 0.01).to_latex()
    for old, new in ((r"0.15 & 0.2", "0.15"), (r"\end{bmatrix}", ""), (r"\right]", ""), ("ok", "ok & ok")):
        with pytest.raises(Exception, match=r".") as caught:
            check_latex(latex.replace(old, new, 1))
        assert caught.type.__name__ in ("AssertionError", "LatexWalkerParseError")


def test_latex_document_holds_the_fragment():
    sheet = notes_network().worksheet([0.05, 0.10], 0.01)
    document = sheet.to_latex(document=True)
    assert document.startswith(r"\documentclass")
    assert sheet.to_latex() in document
    assert document.endswith("\\end{document}\n")
    with pytest.raises(TypeError, match="document must be True or False"):
        sheet.to_latex(document="yes")


# -- HTML -------------------------------------------------------------------------------------------------------------


class Balance(HTMLParser):
    """Raises unless every tag that opens closes in order; collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "img", "link"), "not self-contained"
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("document", [False, True])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_html_is_well_formed(loss, output, document):
    sheet = sample_sheet(loss, output, "elu")
    parser = Balance()
    parser.feed(sheet.to_html(document=document))
    parser.close()
    assert parser.open == []
    assert f"{sheet.loss_new:.6g}" in "".join(parser.text)


def test_notebooks_show_html():
    sheet = notes_network().worksheet([0.05, 0.10], 0.01)
    assert sheet._repr_html_() == sheet.to_html()
    assert sheet.to_html() in sheet.to_html(document=True)
