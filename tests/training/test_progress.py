"""The progress bar: where it is drawn, what it shows, and that drawing takes a limited share of a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest

import nanostep as ns
from nanostep.training import progress

CODE = """
import sys
import numpy as np
import nanostep as ns
X = np.random.default_rng(0).standard_normal((3000, 8))
y = np.sin(X[:, 0])
net = ns.Network([8, 32, 1], activation="tanh", output="identity", backend="numpy")
net.train(X, y, epochs=10**6, batch_size=30, progress=True, validation=(X[:10], y[:10]),
          callbacks=lambda event: event.history.loss and __import__("time").perf_counter() - START > 1.5)
print("rich" in sys.modules)
""".replace("import sys\n", "import sys, time\nSTART = time.perf_counter()\n", 1)


def start(**streams: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    return subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True, env=environment, **streams)


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_a_terminal_shows_epochs_losses_and_rate() -> None:
    master, slave = os.openpty()
    process = start(stderr=slave)
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 4096):
            seen += part
    except OSError:  # Linux's error at the end
        pass
    os.close(master)
    assert process.communicate()[0] == "True\n"
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"epoch \d+/1000000 .*% +loss [\d.e-]+ +validation [\d.e-]+ +[\d.]+[kM]? steps/s", text)


def test_nothing_is_drawn_or_imported_without_a_terminal() -> None:
    process = start(stderr=subprocess.PIPE)
    assert process.communicate() == ("False\n", "")


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class SlowScreen:
    """A screen that takes some time of the clock for each drawing."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.drawn_at, self.pictures = clock, seconds, [], []

    def draw(self, bar, *, last: bool) -> None:
        self.drawn_at.append(self.clock.now)
        self.pictures.append((bar.tasks[0].fields, last))
        self.clock.now += self.seconds


def simulate(monkeypatch: pytest.MonkeyPatch, drawing: float, run: float) -> tuple[SlowScreen, float]:
    """Make a run of `run` seconds whose calls take 5 ms, and return the screen and how long it took with the bar."""
    clock = Clock()
    screen = SlowScreen(clock, drawing)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "_find_screen", lambda: screen)
    history = ns.History(validation_loss=[0.25])
    with progress.EpochBar(1000) as bar:
        for _ in range(int(run / 0.005)):
            clock.now += 0.005
            history.loss.append(1 / len([*history.loss, 0]))
            bar.update(history.epochs, 0.5, 8 * history.epochs, history._describe_losses)
    return screen, clock.now


@pytest.mark.parametrize("drawing", [0.0001, 0.001, 0.004, 0.03, 0.5])
@pytest.mark.parametrize("run", [0.2, 1.0, 7.0, 60.0])
def test_drawing_takes_at_most_a_hundredth_of_the_time(monkeypatch, drawing: float, run: float) -> None:
    screen, seconds = simulate(monkeypatch, drawing, run)
    spent = drawing * len(screen.drawn_at)
    # the guess for the first drawing is too low, and is corrected by drawing it
    allowed = max(progress.SHARE * seconds, 2 * drawing if drawing > progress.FIRST_DRAWING_SECONDS else 0)
    assert spent <= allowed
    assert all(b - a >= progress.INTERVAL for a, b in zip(screen.drawn_at[:-1], screen.drawn_at[1:-1], strict=False))


def test_a_long_run_is_shown_often_and_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, _ = simulate(monkeypatch, 0.0005, 5.0)
    assert 40 <= len(screen.pictures) <= 52
    assert [last for _, last in screen.pictures] == [False] * (len(screen.pictures) - 1) + [True]
    fields, _ = screen.pictures[-1]
    assert (fields["epoch"], fields["losses"]) == ("1000/1000", "loss 0.001  validation 0.25")
    assert re.fullmatch(r"1\.[56]\d?k steps/s", fields["rate"])


def test_a_short_run_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate(monkeypatch, 0.001, 0.2)[0].pictures == []


def test_a_notebook_has_one_output_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, object]] = []

    class Handle:
        def update(self, picture: object) -> None:
            shown.append(("update", picture))

    def display(picture: object, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(("display", picture))
        return Handle()

    shell = types.SimpleNamespace(kernel="of a notebook")
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    part = types.ModuleType("IPython.display")
    part.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", part)
    monkeypatch.setattr(progress, "FIRST_DRAWING_SECONDS", 0.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(progress, "SHARE", 1e9)
    X, Y = np.random.default_rng(0).random((50, 2)), np.ones((50, 1))
    ns.Network([2, 3, 1], backend="numpy").train(X, Y, epochs=5, progress=True, callbacks=lambda event: None)
    assert [kind for kind, _ in shown] == ["display"] + ["update"] * (len(shown) - 1)
    assert len(shown) >= 5
    bundle = shown[-1][1]._repr_mimebundle_([], [])  # type: ignore[attr-defined]
    assert "epoch 5/5" in bundle["text/html"]
    del shell.kernel  # IPython on a terminal
    assert not isinstance(progress._find_screen(), progress.Notebook)


@pytest.mark.parametrize(("value", "words"), [(0.0, "0"), (12.34, "12.3"), (999.9, "1k"), (1.5e7, "15M"), (2e9, "2G")])
def test_rates_are_short(value: float, words: str) -> None:
    assert progress._short(value) == words
