"""``nanostep bench``: the benchmark as a table, the comparison of two of its files, and special measurements."""

from __future__ import annotations

from pathlib import Path

import click

from nanostep.cli._options import EXISTING_FILE, NEW_FILE, NameList


@click.group("bench", invoke_without_command=True)
@click.option("--quick", is_flag=True, help="Shorter repeats, fewer tasks, at most two minutes.")
@click.option(
    "--tasks", type=NameList(), help="Tasks or groups (W, data, P, K, T, M1, G1), such as W1,W4,G1.  [default: all]"
)
@click.option("--contenders", type=NameList(), help="Libraries, such as c,numba,jax.  [default: all]")
@click.option("--backends", is_flag=True, help="Our backends alone, with a look at their machine code and source.")
@click.option("--cores", type=NameList(), help="Numbers of cores, such as 1,all.  [default: 1,all]")
@click.option("--seconds", type=float, help="Length of a repeat.  [default: 0.2; 0.03 with --quick]")
@click.option("--repeats", type=int, help="Repeats, in turns.  [default: 5; 3 with --quick]")
@click.option("--json", "json_path", type=NEW_FILE, metavar="FILE", help="Write every figure to FILE.")
@click.option("--html", "html_path", type=NEW_FILE, metavar="FILE", help="Write a report with plots to FILE.")
@click.option("--plot", "plot_path", type=NEW_FILE, metavar="FILE", help="Write the bars to FILE (.png or .svg).")
@click.pass_context
def command(
    context: click.Context,
    *,
    quick: bool,
    tasks: list[str] | None,
    contenders: list[str] | None,
    backends: bool,
    cores: list[str] | None,
    seconds: float | None,
    repeats: int | None,
    json_path: Path | None,
    html_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Time nanostep and its peers on the standard tasks, checked for the same results, beside the machine's floors.

    Peers come with `pip install 'nanostep[bench]'`; those that are not installed are listed as such.
    """
    if context.invoked_subcommand is not None:
        given = [name for name, value in context.params.items() if value]
        if given:
            raise click.UsageError(f"--{given[0].removesuffix('_path')} is for measuring; put options after `compare`")
        return
    if backends and contenders:
        raise click.UsageError("--backends and --contenders exclude each other: --backends means c,numba,numpy")
    from nanostep.benchmark.command import run
    from nanostep.benchmark.request import check_request

    request = check_request(tasks, contenders, cores, seconds=seconds, repeats=repeats, quick=quick, backends=backends)
    results = run(request, json_path, html_path, plot_path)
    if not results.complete:
        context.exit(130)


@command.command("compare")
@click.argument("before", type=EXISTING_FILE)
@click.argument("after", type=EXISTING_FILE)
@click.option("--contenders", type=NameList(), help="Only these.  [default: all]")
@click.option(
    "--fail-above",
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Exit code 1 if a backend of ours is significantly slower by more than this, or has lost its figures.",
)
@click.pass_context
def compare(
    context: click.Context, before: Path, after: Path, contenders: list[str] | None, fail_above: float | None
) -> None:
    """Show what changed between two files of `nanostep bench --json`, and whether it is more than noise."""
    from nanostep.benchmark.command import run_compare

    context.exit(run_compare(before, after, contenders, fail_above))


@command.command("fit")
@click.option("--quick", is_flag=True, help="Small data, no search, three repeats in place of five.")
@click.option("--json", "json_path", type=NEW_FILE, metavar="FILE", help="Write every figure to FILE.")
def fit(quick: bool, json_path: Path | None) -> None:
    """Time `fit` of nanostep.sklearn and of scikit-learn, in turns, checked for the same scores.

    Needs `pip install 'nanostep[sklearn]'`.
    """
    from nanostep.benchmark.fit import run_fit

    run_fit(quick, json_path)


@command.command("search")
@click.option("--quick", is_flag=True, help="16 settings in place of 256.")
@click.option("--json", "json_path", type=NEW_FILE, metavar="FILE", help="Write every figure to FILE.")
def search(quick: bool, json_path: Path | None) -> None:
    """Time PopulationSearchCV, and GridSearchCV with nanostep's and with scikit-learn's estimators, on the digits.

    Takes a quarter of an hour. Needs `pip install 'nanostep[sklearn]'`.
    """
    from nanostep.benchmark.search import run_search

    run_search(quick, json_path)


@command.command("local-sgd")
@click.option("--quick", is_flag=True, help="A tenth of the rows, one rate, one repeat.")
@click.option("--json", "json_path", type=NEW_FILE, metavar="FILE", help="Write every figure to FILE.")
def local_sgd(quick: bool, json_path: Path | None) -> None:
    """Time rounds of nanostep.dask on one and two worker processes, and record how the loss falls with averaging.

    Needs `pip install 'nanostep[dask]'`.
    """
    from nanostep.benchmark.local_sgd import run_local_sgd

    run_local_sgd(quick, json_path)
