#!/usr/bin/env python3
"""Known answers for N:M masks of convolutions, in NumPy.

Regenerate (no arguments; writes nm.json beside this file):  python3 tests/vectors/nm.py

Weights are in the order of torch and Burn: convolutions [out, in / groups, kernel...], transposed ones [in, out / groups,
kernel...]. Along "inputs" the channel axis is moved to the end, cut into groups of m, and the n largest magnitudes of each group stay:
the pattern that sparse tensor cores multiply. Along "taps" a group is m consecutive weights of an output unit, [in, kernel...].
Magnitudes are all different. `length`, for a case without a mask, is the fan-in that m does not divide.
"""

import json
import os

import numpy as np

CASES = [
    # layer, shape, groups, n, m, along
    ("Conv2d", (4, 8, 3, 3), 1, 2, 4, "inputs"),
    ("Conv2d", (4, 8, 3, 3), 1, 2, 4, "taps"),
    ("Conv2d", (3, 8, 3, 3), 1, 1, 4, "inputs"),
    ("Conv2d", (2, 16, 1, 1), 1, 4, 8, "inputs"),
    ("Conv2d", (2, 4, 5, 5), 1, 2, 4, "inputs"),
    ("Conv2d", (6, 4, 3, 3), 3, 2, 4, "inputs"),
    ("Conv2d", (4, 6, 3, 3), 1, 2, 4, "inputs"),
    ("Conv2d", (4, 3, 2, 2), 1, 2, 4, "inputs"),
    ("Conv2d", (4, 3, 2, 2), 1, 2, 4, "taps"),
    ("Conv2d", (4, 3, 3, 3), 1, 2, 4, "taps"),
    ("Conv2d", (8, 1, 3, 3), 8, 1, 2, "inputs"),
    ("Conv1d", (3, 8, 5), 1, 2, 4, "inputs"),
    ("Conv3d", (2, 4, 2, 3, 2), 1, 2, 4, "inputs"),
    ("ConvTranspose1d", (8, 3, 4), 1, 2, 4, "inputs"),
    ("ConvTranspose2d", (8, 5, 3, 3), 1, 2, 4, "inputs"),
    ("ConvTranspose2d", (8, 5, 2, 2), 1, 2, 4, "taps"),
    ("ConvTranspose2d", (8, 3, 2, 2), 2, 2, 4, "inputs"),
    ("ConvTranspose2d", (8, 3, 2, 2), 4, 2, 4, "inputs"),
    ("ConvTranspose3d", (4, 2, 2, 2, 2), 1, 1, 4, "inputs"),
]


def keep(grouped, n):
    """True for the n largest magnitudes along the last axis."""
    rank = np.argsort(np.argsort(-np.abs(grouped), axis=-1), axis=-1)
    return rank < n


def case(number, layer, shape, groups, n, m, along):
    rng = np.random.default_rng(number)
    size = int(np.prod(shape))
    weight = (rng.permutation(size) + 1) / size * rng.choice([-1, 1], size)
    weight = np.round(weight, 4).reshape(shape)
    transposed = layer.startswith("ConvTranspose")
    # [out, in, kernel] for each group of inputs.
    by_unit = weight.swapaxes(0, 1) if transposed else weight
    by_unit = by_unit.reshape(*by_unit.shape[:2], -1)
    parts = np.split(by_unit, groups, axis=1) if transposed else [by_unit]
    units, inputs, kernel = parts[0].shape
    length = inputs if along == "inputs" else inputs * kernel
    known = dict(layer=layer, shape=shape, groups=groups, n=n, m=m, along=along, weight=weight.ravel().tolist())
    if length % m:
        return dict(known, length=length)
    masks = []
    for part in parts:
        if along == "inputs":
            mask = keep(np.moveaxis(part, 1, 2).reshape(units, kernel, -1, m), n)
            masks.append(np.moveaxis(mask.reshape(units, kernel, inputs), 2, 1))
        else:
            masks.append(keep(part.reshape(units, -1, m), n).reshape(part.shape))
    mask = np.concatenate(masks, axis=1)
    if transposed:
        mask = mask.swapaxes(0, 1)
    assert abs(mask.mean() - n / m) < 1e-9
    return dict(known, mask=mask.astype(int).ravel().tolist())


def main():
    cases = [case(number, *about) for number, about in enumerate(CASES)]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nm.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


main()
