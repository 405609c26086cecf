"""Checks that every backend keeps the contract: functions that can be called on wrong backends too, and their tests."""
