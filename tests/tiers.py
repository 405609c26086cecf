"""Which tests take long: `pytest` leaves them out, `.ci/run` runs them. CONTRIBUTING.md says how to run a part.

Every operation of the contract is tested on every backend without them. Files and functions are named here rather than
marked where they stand, so that one table says what a tier holds.
"""

from __future__ import annotations

FILES: dict[str, set[str]] = {
    # builds of the package or of the C library
    "build": {"test_package.py", "test_csrc.py", "test_embedding.py"},
    # a Dask cluster of processes
    "cluster": {"test_local_sgd.py", "test_sweeps_dask.py"},
    # what needs libraries that the extra "test" does not bring
    "interop": {"test_agents.py", "test_docs_interop.py", "test_examples_rl.py", "test_jax.py", "test_torch.py"},
    "slow": {"test_isas.py", "test_jit_python.py", "test_jit_cache.py", "test_jit_threads.py", "test_benchmark.py"},
}
"""Files by marker."""

FUNCTIONS: dict[str, set[str]] = {
    # processes that are killed at random moments
    "kill": {"test_killed_runs_end_with_the_same_bits"},
    "slow": {
        # tests/benchmark
        "test_contenders_agree",
        "test_timed_runs_agree",
        "test_workloads_are_well_posed",
        # tests/cli: whole demonstrations and short benchmarks, and a process for each of many calls
        "test_wrong_use_is_one_clear_line",
        "test_bench_writes_its_figures",
        "test_demo_learns_the_digits",
        "test_warmup",
        # tests/jit: a compilation for each of many networks
        "test_a_thousand_series_are_fitted",
        "test_cart_pole_is_solved",
        "test_batches_and_rows_are_pulled_back_as_by_the_network",
        "test_class_numbers_do_what_one_hot_rows_do",
        "test_functions_do_what_the_network_does",
        "test_single_steps_follow_the_reference",
        "test_updates_are_those_of_the_optimizer",
        "test_code_of_the_user_may_be_cached",
        "test_workspaces_can_be_made_in_jitted_code_for_each_thread",
        # tests/training/test_threads.py, tests/test_properties.py
        "test_a_child_forked_while_workers_are_busy_trains",
        "test_many_python_threads_at_once_give_the_results_of_one_after_the_other",
        "test_pools_that_are_replaced_while_they_are_used",
        "test_runs_may_be_cut",
        "test_the_gradient_of_a_batch_is_the_mean_of_those_of_its_samples",
        # tests/populations
        "test_bits_do_not_depend_on_company",
        # tests/sklearn: test_parametrize_with_checks makes the same checks on the backend that "auto" stands for
        "test_check_estimator",
    },
}
"""Test functions by marker."""

SLOW_ON_NUMBA = {
    "test_compiled_functions",
    "test_every_backend",
    "test_few_networks_of_all_kinds",
    "test_losses_and_gradients_of_numba_are_pytorchs",
    "test_makes_the_same_step_as_the_network",
    "test_one_plain_row_is_refused_in_the_same_words_as_any_data",
    "test_rates_by_layer_are_pytorchs_parameter_groups",
    "test_short_cut_equals_the_general_path",
    "test_some_checks",
    "test_steps_under_a_gradient_that_is_always_one",
    "test_the_loss_curve_follows_scikit_learn",
    "test_the_short_way_gives_what_the_long_way_gives",
    "test_training_goes_on_with_the_same_bits",
    "test_ctrl_c_in_the_middle_of_a_long_run",
    "test_cutting_a_run_changes_no_bit",
    "test_data_and_targets_of_every_form_give_the_same_bits",
    "test_data_of_their_own_and_rows",
    "test_data_that_share_memory_with_theta",
    "test_extras_in_batches_larger_than_a_tile",
    "test_labels_are_one_hot_rows",
    "test_learning_one_by_one",
    "test_labels_of_classes_that_are_far_apart",
    "test_training_changes_nothing_but_what_it_moves_on",
    "test_training_in_batches_larger_than_a_tile",
}
"""Test functions that compile many networks on Numba, and are quick on the other backends."""


def markers_of(file: str, function: str, parameters: dict[str, object]) -> set[str]:
    """Return the markers of a test, by the name of its file, of its function, and its parameters."""
    markers = {marker for marker, files in FILES.items() if file in files}
    markers |= {marker for marker, functions in FUNCTIONS.items() if function in functions}
    if function in SLOW_ON_NUMBA and "numba" in map(str, parameters.values()):
        markers.add("slow")
    return markers
