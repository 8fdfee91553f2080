#!/usr/bin/env python3
"""Known answers for structured pruning by the norm of order 0, computed by NumPy as torch's ln_structured(n=0) defines it.

Regenerate (no arguments; writes zeros.json beside this file):

    python3 tests/vectors/zeros.py

The score of a slice is the number of its weights that are not zero, over all axes but `dim`. The slices with the fewest go. torch leaves the
order of ties open; here the lower index stays.
"""

import json
import os
import random

import numpy

CASES = [
    ((4, 6), 0.5, 0),
    ((4, 6), 2, 1),
    ((5, 7), 0.5, 0),  # 2.5 -> 2
    ((5, 7), 0.5, 1),  # 3.5 -> 4
    ((8, 3, 5), 0.4, 2),
    ((6, 4, 3, 5), 0.34, 0),
    ((6, 4, 3, 5), 1, 1),
    ((6, 4, 3, 5), 0.34, 2),
    ((6, 4, 3, 5), 2, 3),
    ((6, 4, 1, 1), 3, 0),
    ((3, 2, 5, 4), 0.75, 3),
]


def main():
    lines = []
    for shape, amount, dim in CASES:
        rng = random.Random(f"{shape}/{amount}/{dim}")
        size = int(numpy.prod(shape))
        # Few zeros in some slices, many in others; 1e-30 is a weight that is not zero.
        share = [rng.random() for _ in range(shape[dim])]
        weight = numpy.zeros(shape, dtype=numpy.float32)
        for index in numpy.ndindex(*shape):
            if rng.random() > share[index[dim]]:
                weight[index] = rng.choice((-1.0, 1.0)) * rng.choice((0.25, 1.0, 1e-30, 3e4))
        others = tuple(axis for axis in range(len(shape)) if axis != dim)
        scores = numpy.count_nonzero(weight, axis=others)
        gone = amount if isinstance(amount, int) else round(amount * shape[dim])
        kept = numpy.argsort(-scores, kind="stable")[: shape[dim] - gone]
        mask = numpy.zeros(shape, dtype=int)
        mask[tuple(kept if axis == dim else slice(None) for axis in range(len(shape)))] = 1
        name = "x".join(map(str, shape)) + f"_{amount}_dim{dim}"
        case = dict(name=name, shape=list(shape), weight=[float(v) for v in weight.ravel()], amount=amount, n=0, dim=dim)
        lines.append(json.dumps(case | dict(mask=[int(v) for v in mask.ravel()])))
        assert len(case["weight"]) == size
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "zeros.json"), "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
