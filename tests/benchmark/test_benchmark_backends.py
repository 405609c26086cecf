"""The additions of ``nanostep bench --backends``: counts in machine code, lines of code, and their page."""

from __future__ import annotations

import copy
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nanostep.benchmark import backends, lines_of_code, machine_code, reasons, sampling
from nanostep.benchmark.request import BACKEND_TASKS, check_request
from nanostep.benchmark.results import Results, Row
from nanostep.cli import main

ROOT = Path(__file__).resolve().parents[2]

LISTING = """
kernel.o:     file format elf64-x86-64

Disassembly of section .text:

0000000000000000 <work>:
   0:\tpush   %rbp
   1:\tvxorps %xmm0,%xmm0,%xmm0
   5:\tvbroadcastss (%rdi),%zmm3
   b:\tvfmadd231ps (%rsi){1to16},%zmm3,%zmm0
  11:\tvfnmadd213ps %zmm4,%zmm3,%zmm1
  17:\tvmulps %ymm1,%ymm2,%ymm2
  1b:\tadd    $0x40,%rdi
  1f:\tcmp    %rdi,%rax
  22:\tjne    5 <work+0x5>
  24:\tvfmadd132sd %xmm1,%xmm2,%xmm3
  29:\tvdivpd %xmm1,%xmm2,%xmm3
  2d:\tvsqrtss %xmm1,%xmm2,%xmm3
  31:\tnopw   0x0(%rax,%rax,1)
  37:\tcall   60 <exp@plt>
  3c:\tcall   50 <helper>
  41:\tcall   *%rax
  43:\tret

0000000000000050 <helper>:
  50:\tvaddsd %xmm1,%xmm2,%xmm3
  54:\tret
"""
SYMBOLS = """
SYMBOL TABLE:
0000000000000000 l    df *ABS*\t0000000000000000 isa_avx512.c
0000000000000000 l     F .text\t0000000000000044 work
0000000000000000 l    df *ABS*\t0000000000000000 other.c
0000000000000050 l     F .text\t0000000000000005 helper
"""
COUNTED = {
    "instructions": 17,
    "divisions": 2,
    "memory": 2,
    "calls": 3,
    "fma": {"zmm": 2, "scalar": 1},
    "arithmetic": {"ymm": 1},
}


# -- machine code -----------------------------------------------------------------------------------------------------


def test_instructions_are_counted_by_kind_and_width():
    work, helper = machine_code.parse(LISTING, SYMBOLS)
    assert machine_code.count(work.code) == COUNTED
    assert machine_code.count(helper.code)["arithmetic"] == {"scalar": 1}
    assert (work.origin, helper.origin) == ("isa_avx512.c", "other.c")
    assert machine_code.calls_out([work], [work, helper]) == {"exp": 1, "indirect": 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vfmadd231ps (%rsi){1to16},%zmm3,%zmm0", "vmulps %zmm3,%zmm0,%zmm0"),  # no FMA any more
        ("vfnmadd213ps %zmm4,%zmm3,%zmm1", "vfnmadd213ps %ymm4,%ymm3,%ymm1"),  # narrower
        ("vdivpd %xmm1,%xmm2,%xmm3", "vmulpd %xmm1,%xmm2,%xmm3"),
        ("call   50 <helper>", "jmp    50 <helper>"),
        ("vbroadcastss (%rdi),%zmm3", "vbroadcastss %xmm3,%zmm3"),
    ],
)
def test_another_instruction_gives_another_count(before, after):
    assert before in LISTING
    assert machine_code.count(machine_code.parse(LISTING.replace(before, after))[0].code) != COUNTED


def test_what_was_seen_at_work():
    functions = machine_code.parse(LISTING)
    # nine samples in the loop, one after it, two outside of the code
    found = machine_code.describe(functions, [0xB] * 9 + [0x29, 0x1000, 0x4E + 0x100])
    assert found["functions"] == {"work": 1.0}
    (loop,) = found["loops"]
    assert (loop["share"], loop["instructions"], loop["fma"]) == (0.9, 7, {"zmm": 2})
    assert found["at_work"]["instructions"] == 7 + 8
    # two FMAs in seven instructions make no product loop; with one more FMA they do
    assert found["in_products"] == 0
    denser = LISTING.replace("vmulps %ymm1,%ymm2,%ymm2", "vfmadd231ps %zmm1,%zmm2,%zmm2")
    assert machine_code.describe(machine_code.parse(denser), [0xB] * 9 + [0x29])["in_products"] == 0.9
    assert machine_code.describe(functions, [])["functions"] == {}


def test_without_objdump_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(machine_code.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine_code.platform, "machine", lambda: "x86_64")
    assert "objdump" in machine_code.unavailable()
    assert sampling.profile("W1", "c")["unavailable"]
    monkeypatch.setattr(machine_code.platform, "machine", lambda: "aarch64")
    assert "aarch64" in machine_code.unavailable()


@pytest.mark.skipif(bool(sampling.unavailable()), reason="needs Linux and objdump")
def test_a_process_is_looked_at():
    code = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        addresses = [sampling.look(process.pid) for _ in range(5)]
        mappings = sampling.read_mappings(process.pid)
        process.kill()
    assert "python" in {sampling.place_of(address, mappings) for address in addresses}


def test_code_of_numba_is_found_where_it_was_loaded(monkeypatch):
    monkeypatch.setattr(machine_code, "disassemble", lambda path: machine_code.parse(LISTING))
    objects = [{"path": "0.o", "symbol": "helper", "name": "train", "address": 0x7000_0050}]
    found = sampling._describe_objects(objects, [0x7000_000B, 0x7000_0050, 5], [])
    assert found["functions"] == {"work": 0.5, "train": 0.5}
    assert found["places"] == pytest.approx({"kernel": 2 / 3, "system": 1 / 3})


def test_places_have_short_names():
    mappings = [(16, 32, 0, "/lib/libpython3.12.so.1.0"), (32, 48, 0, "/lib/libscipy_openblas64_.so"), (48, 64, 0, "")]
    assert [sampling.place_of(a, mappings) for a in (16, 47, 48, 64)] == ["python", "BLAS", "unnamed memory", "system"]


# -- lines of code ----------------------------------------------------------------------------------------------------


def test_lines_of_code():
    python = '"""Doc\nstring."""\n\n# comment\nx = """a\n\nb"""  # kept\ndef f():\n    "doc"\n    return 1\n'
    assert lines_of_code.python_lines(python) == 3 + 1 + 1
    c = '/* a\n * b */\n\nint x; // c\n// d\nconst char *s = "/* no comment", *t = "// nor this";\nint /* e\n */ y;\n'
    assert lines_of_code.c_lines(c) == 4
    assert lines_of_code.c_lines("x\n" + c) == 5


def test_lines_of_backends(tmp_path):
    counted = lines_of_code.count_lines()
    assert set(counted) == {"c", "numba", "numpy"}
    assert all(sum(places.values()) > 100 for places in counted.values())
    package = tmp_path / "site" / "engine" / "nanostep"
    (package / "backends" / "reference").mkdir(parents=True)
    (package / "backends" / "reference" / "a.py").write_text("x = 1\n# y\n", encoding="utf-8")
    counted = lines_of_code.count_lines(package)
    assert counted["numpy"] == {"backends/reference": 1}
    assert "csrc/src" in counted["c"]


# -- request ----------------------------------------------------------------------------------------------------------


def test_backends_are_ours_on_their_tasks():
    request = check_request(backends=True)
    assert request.contenders == ("c", "numba", "numpy")
    assert request.tasks == BACKEND_TASKS
    assert {"W1", "W6", "SC", "D1", "K1", "T2-cold", "M1-run"} < set(BACKEND_TASKS)
    assert check_request(["W1"], backends=True).tasks == ("W1",)
    assert not check_request(["W1"]).backends
    with pytest.raises(ValueError, match="backends and contenders"):
        check_request(contenders=["c"], backends=True)


def test_backends_and_contenders_exclude_each_other():
    result = CliRunner().invoke(main, ["bench", "--backends", "--contenders", "c"])
    assert result.exit_code == 2
    assert "--backends and --contenders exclude each other" in result.output


# -- page -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("pages.backends")


def code_entry(kernel: float, products: float, fma: int) -> dict:
    described = machine_code.describe(machine_code.parse(LISTING), [0xB, 0xB, 0x29])
    loop = {**described["loops"][0], "fma": {"zmm": fma}, "instructions": 2 * fma + 1}
    places = {"kernel": kernel, "python": 1 - kernel}
    return {"samples": 400, "places": places, **described, "in_products": products, "loops": [loop]}


def make_results(numba: float = 5.0) -> Results:
    """W4: c takes 4 us, numba `numba` us; T2: 1 and 160 ms, cold 1160 ms."""
    rows = [Row("W4", "c", 1, "us/step", "timed", values=[3.9, 4.0, 4.1]),
            Row("W4", "numba", 1, "us/step", "timed", values=[numba - 0.1, numba, numba + 0.1]),
            Row("W4", "numpy", 1, "us/step", "missing"),
            Row("T2", "c", 1, "ms", "timed", values=[1.0]), Row("T2", "numba", 1, "ms", "timed", values=[160.0]),
            Row("T2-cold", "numba", 1, "ms", "timed", values=[1160.0])]  # fmt: skip
    return Results(
        machine={"cpu": "Abacus", "c_library": {"isa": "avx512", "compiler": "gcc 1"}, "versions": {"nanostep": "0"}},
        settings={"repeats": 3, "seconds": 0.1},
        tasks={name: {"title": f"{name}_title", "unit": unit}
               for name, unit in (("W4", "us/step"), ("T2", "ms"), ("T2-cold", "ms"))},
        contenders={},
        rows=rows,
        backends={
            "lines": {"c": {"csrc/src": 3000}, "numba": {"backends/jit": 2000}, "numpy": "no sources here: x"},
            "load": {"c": {"ms": 5.0, "MiB": 1.0}, "numba": {"ms": 300.0, "MiB": 90.0}, "numpy": "broken"},
            "code": {"W4": {"c": code_entry(0.9, 0.8, 16), "numba": code_entry(0.9, 0.8, 8),
                            "numpy": {"samples": 4, "places": {"python": 0.75, "BLAS": 0.25}}}},
        },
    )  # fmt: skip


def test_page_from_figures(page):
    figures = page.make(make_results())
    assert figures["steady"]["rows"] == [["W4", "W4 title", "1", "1.25", "-", "2, 2, -"]]
    why = " ".join(figures["why"])
    fma = "16 zmm FMA in 33 instructions", "8 zmm FMA in 17 instructions"
    for words in ("c is 1.25 times as fast", "products +0.7,", *fma, "takes 160 times", "compiles for 1000 ms more"):
        assert words in why
    load, warm, cold = figures["start"]["rows"]
    assert load[1:] == ["5.0", "300.0", "-"]
    assert (warm[1:], cold[1:]) == (["1.00", "160.00", "-"], ["-", "1160.00", "-"])
    assert figures["lines"]["rows"][0][:2] == ["c", "3,000"]
    assert figures["lines"]["rows"][2] == ["numpy", "-", "no sources here: x"]
    assert figures["places"]["rows"] == [["W4", "python 75 %, BLAS 25 %"]]
    assert figures["repeats"] == "3 repeats of 0.1 s"
    assert "no difference beyond the spread" in page.make(make_results(4.05))["why"][0]
    faster = page.make(make_results(2.0))
    assert "numba is 2 times as fast" in faster["why"][0]
    # (1160 - 1) ms at 2 us a step
    assert "paid back after 579,500 steps" in " ".join(faster["advice"])


def test_page_without_machine_code(page):
    results = make_results()
    results.backends["code"]["W4"] = {name: {"unavailable": "no objdump"} for name in page.BACKENDS}
    assert "c is 1.25 times as fast. Machine code not available: no objdump" in page.make(results)["why"][0]


def test_parts_make_up_the_step():
    entry = code_entry(0.9, 0.5, 16)
    parts = reasons.cut(10.0, entry)
    assert {name: part.time for name, part in parts.items()} == pytest.approx(
        {"products": 4.5, "other": 4.5, "outside": 1}
    )
    assert parts["outside"].error == pytest.approx(10 * (0.9 * 0.1 / 400) ** 0.5)
    swapped = copy.deepcopy(make_results())
    swapped.backends["code"]["W4"]["numba"] = code_entry(0.2, 0.8, 16)
    assert "most arises in code outside of the kernel" in reasons.explain(swapped, "W4", 1)


def test_loading_a_backend_is_measured_or_explained():
    assert isinstance(backends._load("no such backend", 1), str)
