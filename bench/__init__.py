"""The benchmark: tasks x contenders, checked for equal results, timed in turns, compared with the machine's floors.

This directory is the package ``nanostep.benchmark``, through a link in ``engine/nanostep``; ``nanostep bench`` runs it.
README.md in this directory explains how it measures and how to extend it.
"""
