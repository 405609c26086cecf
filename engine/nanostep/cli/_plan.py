"""``nanostep info --plan``: which kernels of the C library a run would use, and why.

The library itself reports the choice (nst_*_choose); this module puts it into words.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

from nanostep.architecture import Layer
from nanostep.backends import load
from nanostep.backends.contract import RunConfig
from nanostep.network import Network
from nanostep.optimizers import SGD, Optimizer
from nanostep.training.threads import TRIAL_FLOPS

ROWS = 1_000_000
"""Samples that the plan assumes: more than any batch."""

REGIMES = {
    "tiny": (
        "single samples in registers",
        "two layers, one output, and hidden neurons that fit into two vectors: latency is the limit, so z, a and the "
        "deltas never leave the registers, and the next sample's z is prepared before this one's delta is known",
    ),
    "samples": (
        "single samples",
        "batch 1 with plain SGD: vectors run across neurons, both forms of the weights are updated in place, and the "
        "next sample's z is prepared before this one's delta is known (up to 32 neurons in the first layer)",
    ),
    "tiles": (
        "tiles of rows",
        "the rows of a tile go through all layers while their activations are in cache; products are register tiles",
    ),
    "blocks": (
        "blocks of tiles",
        "a large batch of a small network: blocks of rows, each with a gradient of its own, need no barrier between "
        "threads until they are summed, in an order that does not depend on the threads",
    ),
}


def make_plan(net: Network, optimizer: Optimizer, batch: int, threads: int | None) -> dict[str, Any]:
    """Return the plan of a run as plain values: the library's choice, and what each layer does in each pass."""
    engine = load("c").networks.Engine(net.architecture, net.dtype)
    config = RunConfig(batch=batch, shuffle=True, seed=0, threads=threads)
    most = threads or engine.useful_threads(optimizer, config, max(batch, ROWS))
    choice = engine.choose(optimizer, replace(config, threads=most), max(batch, ROWS))
    layers = [
        {
            "layer": f"{layer.inputs}-{layer.outputs} {layer.activation}",
            "wide": wide,
            **_passes(layer, wide, batch, choice, optimizer, is_first=l == 0),
        }
        for l, (layer, wide) in enumerate(zip(net.architecture.layers, choice.pop("wide"), strict=False))
    ]
    return {
        **choice,
        "threads_tried": threads is None and most > 1 and choice["flops"] >= TRIAL_FLOPS,
        "layers": layers,
    }


def _passes(
    layer: Layer, wide: bool, batch: int, choice: dict[str, Any], optimizer: Optimizer, *, is_first: bool
) -> dict[str, str]:
    """Return forward, backward and update of a layer in words."""
    if choice["regime"] in ("tiny", "samples"):
        forward = "x W + b by vectors of neurons"
        backward = "none" if is_first else "d W by vectors of inputs"
        return {"forward": forward, "backward": backward, "update": "outer product, at once"}
    shared = "" if choice["threads"] == 1 else f"; threads share {'its panels' if wide else 'the rows'}"
    forward = f"{_register_tile(layer.outputs, choice)}{shared}"
    backward = "none" if is_first else f"{_register_tile(layer.inputs, choice)}{shared}"
    plain = isinstance(optimizer, SGD) and not optimizer.momentum and not optimizer.weight_decay
    if choice["regime"] == "blocks":
        update = "gradient of each block, summed, then the optimiser on 16 inputs x a panel"
    elif plain and batch <= choice["tile"]:
        update = "the gradient's product is added to W from registers"
    else:
        update = "gradient and optimiser on 16 inputs x a panel at a time, in L1"
    return {"forward": forward, "backward": backward, "update": update}


def _register_tile(width: int, choice: dict[str, Any]) -> str:
    """Return the largest tile of a product of this width, as csrc/src/kernels/product.inc cuts it."""
    widest = 4 if choice["isa"] == "avx512" else 2
    vectors = max(v for v in (1, 2, widest) if v == 1 or v * choice["lanes"] <= width)
    rows = 8 if vectors == 1 or (vectors, widest) == (2, 4) else 4
    return f"{rows} rows x {vectors} vectors in registers" if vectors > 1 else f"{rows} rows x 1 vector in registers"


def plan_lines(net: Network, plan: dict[str, Any], batch: int) -> list[str]:
    """Return the plan as text."""
    title, why = REGIMES[plan["regime"]]
    threads = f"{plan['threads']}"
    if plan["threads_tried"]:
        threads = f"1 or {plan['threads']}, whichever a trial at the start of the run finds faster"
    lines = [
        f"{'-'.join(map(str, net.sizes))}, batch {batch}, {net.dtype.name}: {plan['flops']:,.0f} flop an update",
        f"  regime   {title}",
        *textwrap.wrap(why, 100, initial_indent=" " * 11, subsequent_indent=" " * 11),
        f"  vectors  {plan['isa']}, {plan['lanes']} numbers each; weights in panels of {plan['panel']} neurons",
        f"  threads  {threads}",
    ]
    if plan["regime"] in ("tiles", "blocks"):
        lines.append(
            f"  tile     {min(plan['tile'], batch)} rows" + f", {plan['blocks']} blocks" * (plan["blocks"] > 1)
        )
    for layer in plan["layers"]:
        lines.append(f"  {layer['layer']}" + ", wide: its weights do not fit into L1" * layer["wide"])
        lines += [f"    {name:<9}{layer[name]}" for name in ("forward", "backward", "update")]
    return lines
