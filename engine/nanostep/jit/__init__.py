"""Networks inside your own jitted code: functions of plain arrays, with the architecture compiled in.

``fns = net.jit()`` gives an object whose methods can be called from Python and from code compiled by Numba, where they
are inlined. It holds no parameters: theta, gradients, slots and memory are the caller's arrays, theta laid out as
`Network.theta`. See ``docs/jit.md``.
"""

from nanostep.jit.network import JittedNetwork, make_jitted

__all__ = ["JittedNetwork", "make_jitted"]
