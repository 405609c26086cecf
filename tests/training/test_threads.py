"""The C backend's worker threads: sharing, forks, limits, idleness. None of them may change a result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED

pytestmark = pytest.mark.skipif("c" not in REQUIRED, reason="NANOSTEP_TEST_BACKENDS leaves the C backend out")

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and POSIX threads")

NETWORKS = """
import hashlib
import numpy as np
import nanostep as ns

def trained(number, threads=4, epochs=6):
    rng = np.random.default_rng(number)
    X, Y = rng.normal(size=(600, 40)), rng.normal(size=(600, 5))
    net = ns.Network([40, 96, 5], seed=number, backend="c")
    history = net.train(X, Y, epochs=epochs, batch_size=150, optimizer=ns.Adam(), threads=threads)
    assert 1 <= history.threads <= (threads or 2**16)
    return hashlib.sha256(net.theta.tobytes()).hexdigest()
"""

PROGRAM = """
import os, sys, threading, time
from networks import trained
from nanostep.backends.native import _pool
from nanostep.backends.native._library import ffi
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs a program, which may call `trained`, in a process of its own and returns its output; it must not hang."""
    (tmp_path / "networks.py").write_text(NETWORKS, encoding="utf-8")
    program = tmp_path / "program.py"

    def run(code: str, *, fails: bool = False, **environment: str) -> str:
        program.write_text(PROGRAM + code, encoding="utf-8")
        # Python 3.12 warns about every fork in a process that has threads
        command = [sys.executable, "-W", "ignore::DeprecationWarning", str(program)]
        result = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (result.returncode != 0) == fails, result.stderr
        return result.stderr if fails else result.stdout.strip()

    return run


@posix
def test_a_forked_child_trains_with_workers_of_its_own(run) -> None:
    out = run("""
pool = _pool.pool_for(4)
expected = trained(0)
child = os.fork()
if child == 0:
    before = _pool._pools.larger
    same = trained(0) == expected
    print(same, before is None, _pool.pool_for(4) not in (pool, ffi.NULL), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], trained(0) == expected)
""")
    assert out == "True True True\n0 True"


@posix
def test_a_child_forked_while_workers_are_busy_trains(run) -> None:
    out = run("""
expected = trained(1)
ready = threading.Event()
def train_on():
    ready.set()
    trained(0, epochs=300)
busy = threading.Thread(target=train_on)
busy.start()
ready.wait()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if trained(1) == expected else 1)
    codes.append(os.waitpid(child, 0)[1])
busy.join()
print(codes)
""")
    assert out == str([0] * 10)


@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(run, method: str) -> None:
    out = run(f"""
import multiprocessing
if __name__ == "__main__":
    expected = [trained(number) for number in range(4)]
    with multiprocessing.get_context("{method}").Pool(2) as processes:
        print(processes.map(trained, range(4)) == expected)
""")
    assert out == "True"


def test_many_python_threads_at_once_give_the_results_of_one_after_the_other(run) -> None:
    out = run("""
expected = [trained(number, epochs=20) for number in range(8)]
found = [""] * 8
def train(number):
    found[number] = trained(number, epochs=20)
threads = [threading.Thread(target=train, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(found == expected)
""")
    assert out == "True"


def test_results_do_not_depend_on_the_number_of_threads(run) -> None:
    assert run("print(len({trained(0, threads=threads) for threads in (None, 1, 2, 3, 4, 64)}))") == "1"


def test_pools_that_are_replaced_while_they_are_used(run) -> None:
    out = run("""
expected = trained(0)
found = []
threads = [threading.Thread(target=lambda: found.append(trained(0, epochs=6))) for _ in range(4)]
for thread in threads: thread.start()
for most in range(5, 40, 3):
    found.append(trained(0, threads=most))
for thread in threads: thread.join()
print(len(found), set(found) == {expected})
""")
    assert out == "16 True"


@posix
def test_replaced_pools_end_their_workers(run) -> None:
    out = run("""
import gc
def count():
    gc.collect()
    return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0
before = count()
first = _pool.pool_for(20)
grown = count() - before
second = _pool.pool_for(30)
assert _pool.pool_for(25) == second != first
both = count() - before
del first
print(sys.platform != "linux" or (grown >= 19, both - grown, count() - before - both))
""")
    assert out in ("True", "(True, 29, -19)")


@posix
def test_idle_workers_use_no_processor_time(run) -> None:
    out = run("""
import resource
def used():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime
pool = _pool.pool_for(4)
trained(0)
time.sleep(0.1)
before = used()
time.sleep(1)
print(pool != ffi.NULL, used() - before < 0.02)
""")
    assert out == "True True"


@pytest.mark.parametrize(
    ("threads", "exception", "words"),
    [
        (0, ValueError, "threads=0 is out of range; accepted are 1 to 65536"),
        (-1, ValueError, "threads=-1 is out of range"),
        (2**16 + 1, ValueError, "threads=65537 is out of range"),
        (1.5, TypeError, "threads must be an integer; got 1.5"),
        ("2", TypeError, "threads must be an integer; got '2'"),
        (True, TypeError, "threads must be an integer; got a bool"),
    ],
)
def test_wrong_numbers_of_threads_are_refused(threads: object, exception: type[Exception], words: str) -> None:
    net = ns.Network([2, 2, 1], backend="c")
    with pytest.raises(exception) as caught:
        net.train(np.eye(2), np.ones((2, 1)), threads=threads)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "65537", "٣"])
def test_a_wrong_environment_is_reported(run, text: str) -> None:
    err = run("trained(0, threads=None)", fails=True, NANOSTEP_THREADS=text)
    assert f"ValueError: NANOSTEP_THREADS={text!r} is not a number of threads; accepted are 1 to 65536" in err


@posix
@pytest.mark.parametrize(("cap", "expected"), [("1", "True True"), ("2", "False True"), ("", "False False")])
def test_the_environment_limits_threads(run, cap: str, expected: str) -> None:
    code = """
pool = _pool.pool_for(64)
trained(0, threads=64)
print(pool == ffi.NULL, max(p.threads for p in (_pool._pools.regular, _pool._pools.larger) if p) <= 2)
"""
    assert run(code, NANOSTEP_THREADS=cap) == expected


@posix
def test_one_pool_for_all_and_none_for_one_thread(run) -> None:
    out = run("""
_pool.usable_processors = lambda: 3
print(_pool.pool_for(1) == ffi.NULL, _pool._pools.regular is None)
pool = _pool.pool_for(None)
print(_pool.pool_for(2) == _pool.pool_for(3) == pool != ffi.NULL, _pool._pools.regular.threads)
print(_pool.pool_for(4) != pool, _pool.pool_for(None) == pool)
""")
    assert out == "True True\nTrue 3\nTrue True"


@posix
def test_threads_that_cannot_be_started(run) -> None:
    out = run("""
from nanostep.backends.native._library import lib
real, _pool.lib = _pool.lib, type("", (), {"nst_pool_size": lib.nst_pool_size, "nst_pool_stop": lib.nst_pool_stop,
                                           "nst_pool_start": staticmethod(lambda *arguments: lib.NST_E_THREADS)})
print(trained(0, threads=None) == trained(0, threads=1))
try:
    trained(0, threads=4)
except RuntimeError as error:
    print(error)
""")
    assert out == "True\nC library: a worker thread could not be started, or the pool is at work or stopped"


def test_the_quota_of_a_container(run, tmp_path: Path) -> None:
    for number, text in enumerate(["100000 100000", "150000 100000", "max 100000", "nonsense", "5 0", ""]):
        (tmp_path / f"quota{number}").write_text(text, encoding="ascii")
    out = run(f"""
from pathlib import Path
os.cpu_count = lambda: 5
os.sched_getaffinity = lambda process: range(5)
print([_pool.usable_processors(Path({str(tmp_path)!r}) / f"quota{{number}}") for number in range(7)])
""")
    assert out == "[1, 2, 5, 5, 5, 5, 5]"


@posix
def test_leaving_while_a_daemon_thread_trains(run) -> None:
    out = run("""
trained(0)
threading.Thread(target=trained, args=(0, 4, 10**6), daemon=True).start()
time.sleep(0.2)
print("left")
""")
    assert out == "left"
