"""The pages whose code needs PyTorch or JAX."""

from __future__ import annotations

import pytest

from test_docs import NEEDS_OTHERS, ROOT, run


@pytest.mark.parametrize("page", sorted(NEEDS_OTHERS))
def test_python_blocks(page: str) -> None:
    assert run(ROOT / "docs" / page) > 1
