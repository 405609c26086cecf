"""Runs of a population: arguments, calls of the engine, rates, callbacks and history. See `nanostep.population`."""
