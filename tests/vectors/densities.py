#!/usr/bin/env python3
"""Known answers for allocators, from the formulas of the papers, in plain Python.

Regenerate (no arguments; writes densities.json beside this file):  python3 tests/vectors/densities.py

er, erk: density = eps * (sum of dimensions / product of dimensions), over-full layers made dense one round after the other and
eps solved anew, as RigL does it; unrounded numbers of kept weights. lamp: every weight scored by w^2 / (sum of the squares that
are not smaller in its layer), all layers sorted together. Shapes are torch's: [out, in, kernel...].
"""

import json
import math
import os
import random

MODELS = {
    "lenet_300_100": [[300, 784], [100, 300], [10, 100]],
    "lenet_5": [[20, 1, 5, 5], [50, 20, 5, 5], [500, 800], [10, 500]],
    "residual": [[16, 3, 3, 3], [32, 16, 3, 3], [32, 16, 1, 1], [64, 32, 3, 3], [64, 32, 1, 1], [10, 64]],
}


def densities(shapes, sparsity, kernel):
    sizes = [math.prod(s) for s in shapes]
    dims = [s if kernel else s[:2] for s in shapes]
    raw = [sum(d) / math.prod(d) for d in dims]
    dense = set()
    while True:
        keep = (1 - sparsity) * sum(sizes) - sum(sizes[i] for i in dense)
        eps = keep / sum(raw[i] * sizes[i] for i in range(len(shapes)) if i not in dense)
        over = [i for i in range(len(shapes)) if i not in dense and eps * raw[i] > 1]
        if not over:
            break
        # RigL makes the one with the largest raw density dense, then starts over.
        largest = max(raw[i] for i in over)
        dense |= {i for i in over if raw[i] == largest}
    return [float(sizes[i]) if i in dense else eps * raw[i] * sizes[i] for i in range(len(shapes))]


def lamp(weights, keep):
    scored = []
    for layer, values in enumerate(weights):
        total = 0.0
        for value in sorted((v * v for v in values), reverse=True):
            total += value
            scored.append((value / total, layer))
    scored.sort(key=lambda s: -s[0])
    counts = [0] * len(weights)
    for _, layer in scored[:keep]:
        counts[layer] += 1
    return counts


def main():
    cases = []
    for name, shapes in MODELS.items():
        for sparsity in (0.5, 0.8, 0.9, 0.95, 0.98):
            for kind in ("erdos_renyi", "erk"):
                kept = densities(shapes, sparsity, kind == "erk")
                cases.append(dict(kind=kind, model=name, shapes=shapes, sparsity=sparsity, kept=kept))
    rng = random.Random("lamp")
    scales = (1.0, 0.05, 3.0)
    shapes = [[6, 10], [8, 9], [5, 4]]
    weights = [[round(rng.uniform(0.01, 1.0) * scale, 6) for _ in range(math.prod(s))] for s, scale in zip(shapes, scales)]
    for sparsity in (0.25, 0.5, 0.75, 0.9):
        total = sum(map(len, weights))
        keep = total - round(sparsity * total)
        cases.append(dict(kind="lamp", model="three", shapes=shapes, weights=weights, sparsity=sparsity, kept=lamp(weights, keep)))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "densities.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


main()
