"""A model for each of 10,000 sensors: each learns its sensor's normal week and detects when the sensor breaks.

Every sensor's readings depend on the hour of the day and the temperature in their own way. The models are trained on
five days; the residuals of the sixth give the usual deviation of a reading, and on the seventh some sensors drift away.

Run: python examples/sensors.py [sensors]
"""

from __future__ import annotations

import sys
import time

import numpy as np

import nanostep as ns

HOURS, DAYS = 24, 7
DRIFT = 1.0
"""Units by which a broken sensor has drifted at the end of the last day; the noise is 0.05."""


def make_readings(sensors: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs (sensors, hours, 3), readings (sensors, hours, 1), and a mask of the sensors that break."""
    random = np.random.default_rng(seed)
    hour = np.arange(HOURS * DAYS)
    angle = 2 * np.pi * hour / HOURS
    temperature = np.sin(angle - 2) + np.cumsum(random.normal(0, 0.05, (sensors, len(hour))), axis=1)
    inputs = np.stack(np.broadcast_arrays(np.sin(angle), np.cos(angle), temperature), axis=2)
    size, phase, slope, bend = (random.uniform(low, high, (sensors, 1)) for low, high in
                                ((0.2, 1), (0, 2 * np.pi), (-0.5, 0.5), (-0.3, 0.3)))  # fmt: skip
    readings = size * np.sin(angle + phase) + slope * temperature + bend * temperature**2
    readings += random.normal(0, 0.05, readings.shape)
    broken = random.random(sensors) < 0.01
    readings[broken, -HOURS:] += np.linspace(0, DRIFT, HOURS)
    return inputs.astype(np.float32), readings[:, :, None].astype(np.float32), broken


def main(sensors: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the sensors that are reported as broken, and of those that are."""
    inputs, readings, broken = make_readings(sensors)
    learned, checked, today = slice(0, -2 * HOURS), slice(-2 * HOURS, -HOURS), slice(-HOURS, None)
    models = ns.Population(
        [3, 8, 1], sensors, activation="tanh", output="identity", loss="squared_error", dtype="float32"
    )
    started = time.perf_counter()
    models.train(inputs[:, learned], readings[:, learned], epochs=60, batch_size=12, optimizer=ns.Adam(lr=0.02))
    seconds = time.perf_counter() - started
    residual = (models.predict(inputs) - readings)[:, :, 0]
    usual = np.sqrt((residual[:, checked] ** 2).mean(axis=1))
    # the mean of the last six hours: the noise shrinks by the root of six, the drift does not
    score = np.abs(residual[:, today][:, -6:].mean(axis=1)) / usual
    alarm = score > 5
    print(f"{sensors} models, {60 * 10} updates each: {seconds:.2f} s, {seconds / sensors * 1e6:.0f} us a model")
    print(f"a reading is {np.median(usual):.3f} from its model's (median; the noise is 0.05)")
    print(f"broken: {broken.sum()}, found: {(alarm & broken).sum()}, false alarms: {(alarm & ~broken).sum()}")
    return alarm, broken


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
