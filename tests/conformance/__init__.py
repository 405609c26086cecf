"""Checks that every backend keeps the contract: functions that also accept wrong backends, and their tests."""
