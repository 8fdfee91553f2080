#!/usr/bin/env python3
"""Known answers of reconstructions, straight from the formulas: inverses of what is left of H, no factorizations.

Regenerate (no arguments; writes reconstruction.json beside this file):  python3 tests/vectors/reconstruction.py   (numpy 2.4)

Inputs are whole numbers with common causes, means that are not zero and two columns that are always zero; weights are multiples of 1/64.
So the Gram matrix and the mean are exact in double precision. H is G / samples plus damp times the mean of the diagonal of the columns
that are not zero. Column j of a sweep, with F the columns from j on (Hassibi & Stork 1992; Frantar & Alistarh 2023, equation 3):
w_F -= w_j / (H_FF^-1)_jj (H_FF^-1)_j, at a cost of w_j^2 / (H_FF^-1)_jj.
"""

import json
import os
import random

import numpy as np

ROWS, COLS, SAMPLES = 12, 160, 96
DEAD = (5, 130)


def drawn():
    rng = random.Random(20)
    causes = [[rng.randint(-3, 3) for _ in range(COLS)] for _ in range(6)]
    sizes = [rng.choice((1, 1, 2, 4)) for _ in range(COLS)]
    inputs = []
    for _ in range(SAMPLES):
        factors = [rng.randint(-2, 2) for _ in causes]
        row = [sum(f * c[i] for f, c in zip(factors, causes)) + rng.randint(-5, 6) for i in range(COLS)]
        inputs.append([0 if i in DEAD else sizes[i] * x for i, x in enumerate(row)])
    weight = [[rng.choice((-1, 1)) * rng.randint(1, 128) for _ in range(COLS)] for _ in range(ROWS)]
    bias = [rng.randint(-64, 64) for _ in range(ROWS)]
    return inputs, weight, bias


INPUTS, WEIGHT, BIAS = drawn()
X, W, B = (np.array(a, dtype=float) for a in (INPUTS, WEIGHT, BIAS))
W, B = W / 64, B / 64
MEAN = X.mean(axis=0)
LIVE = np.array([c not in DEAD for c in range(COLS)])


def hessian(damp, centered=False):
    x = X - MEAN if centered else X
    h = x.T @ x / SAMPLES
    average = h.diagonal()[LIVE].mean()
    h += damp * average * np.eye(COLS)
    for c in DEAD:
        h[c, c] = average
    return h


def sweep(weight, keep, h, before=lambda j, w, pivots: None):
    """`before` may change `keep` when column j is reached, with the weights as they are by then."""
    w = weight.copy()
    inverses = [np.linalg.inv(h[j:, j:]) for j in range(COLS)]
    pivots = np.array([inverse[0, 0] for inverse in inverses])
    for j in range(COLS):
        before(j, w, pivots)
        for r in range(ROWS):
            if not keep[r, j]:
                w[r, j:] -= w[r, j] / pivots[j] * inverses[j][0]
                w[r, j] = 0.0
    return w


def rounded(total, part, whole):
    return (2 * total * part + whole) // (2 * whole) if whole else 0


def sparsegpt(damp, block, kept=None, alive=None, pattern=None):
    h = hessian(damp)
    keep = np.ones_like(W, dtype=bool) if alive is None else alive.copy()
    start = keep.copy()
    margins = []

    def pick(candidates, w, pivots, remove):
        """Removes the cheapest; of equal costs the lower index stays."""
        cost = lambda r, c: w[r, c] ** 2 / pivots[c] if LIVE[c] else -1.0
        order = sorted(candidates, key=lambda rc: (cost(*rc), -rc[0], -rc[1]))
        for rc in order[:remove]:
            keep[rc] = False
        if 0 < remove < len(order):
            last, first = cost(*order[remove - 1]), cost(*order[remove])
            margins.append(first - last if last >= 0 else 1.0)

    def before(j, w, pivots):
        if pattern:
            n, m = pattern
            for r in range(ROWS if j % m == 0 else 0):
                left = [(r, c) for c in range(j, j + m) if start[r, c]]
                pick(left, w, pivots, max(0, len(left) - n))
        elif j % block == 0:
            end = min(j + block, COLS)
            live, dead = start[:, LIVE].sum(), start[:, ~LIVE].sum()
            remove = int(start.sum()) - kept
            from_dead = min(remove, dead)
            until = lambda c: rounded(int(remove - from_dead), int(start[:, :c][:, LIVE[:c]].sum()), int(live)) + rounded(
                int(from_dead), int(start[:, :c][:, ~LIVE[:c]].sum()), int(dead)
            )
            pick([(r, c) for r in range(ROWS) for c in range(j, end) if start[r, c]], w, pivots, until(end) - until(j))

    w = sweep(W, keep, h, before)
    # Rounding must not decide who stays.
    assert min(margins) > 1e-7, min(margins)
    return w, keep


def least_squares(keep, damp, bias):
    h = hessian(damp, centered=bias)
    w = np.where(keep, W, 0.0)
    for r in range(ROWS):
        k, gone = np.flatnonzero(keep[r]), np.flatnonzero(~keep[r])
        w[r, k] += np.linalg.solve(h[np.ix_(k, k)], h[np.ix_(k, gone)] @ W[r, gone])
    return w, B + (W - w) @ MEAN if bias else None


def rows_of(score, sparsity):
    keep = np.ones_like(W, dtype=bool)
    for r in range(ROWS):
        keep[r, np.argsort(score[r], kind="stable")[: int(COLS * sparsity)]] = False
    return keep


def bits(keep):
    return ["".join("1" if k else "0" for k in row) for row in keep]


def digits(values):
    return [float(f"{v:.12g}") for v in np.asarray(values).ravel()]


def main():
    norms = np.sqrt((X**2).mean(axis=0))
    wanda, magnitude = np.abs(W) * norms, np.abs(W)
    alive = rows_of(magnitude, 0.3)
    cases = []

    def case(name, config, keep, weight, chosen=None, bias=None, **more):
        entry = {"reconstruction": name, "config": config, "keep": bits(keep), **more}
        # Numbers for the kept weights alone, row by row.
        entry["kept"] = digits(weight[keep if chosen is None else chosen])
        if chosen is not None:
            entry["chosen"] = bits(chosen)
        if bias is not None:
            entry["bias"] = digits(bias)
        cases.append(entry)

    for damp, keep in ((0.1, rows_of(wanda, 0.7)), (0.01, rows_of(magnitude, 0.5))):
        case("obs", {"damp": damp}, keep, sweep(W, keep, hessian(damp)))
    for sparsity in (0.5, 0.7):
        keep = rows_of(magnitude, sparsity)
        for block in (128, COLS):
            w, chosen = sparsegpt(0.1, block, kept=int(keep.sum()))
            case("sparsegpt", {"damp": 0.1, "block": block}, keep, w, chosen)
    keep = rows_of(magnitude, 0.6)
    w, chosen = sparsegpt(0.01, 48, kept=int(keep.sum()), alive=alive)
    case("sparsegpt", {"damp": 0.01, "block": 48}, keep, w, chosen, alive=bits(alive))
    # Fewer go than there are weights of dead columns.
    keep = np.ones_like(W, dtype=bool)
    keep[:, 0] = False
    w, chosen = sparsegpt(0.1, 128, kept=int(keep.sum()))
    case("sparsegpt", {"damp": 0.1, "block": 128}, keep, w, chosen)
    half = rows_of(magnitude, 0.5)
    for some in (None, alive):
        w, chosen = sparsegpt(0.1, None, alive=some, pattern=(2, 4))
        more = {} if some is None else {"alive": bits(some)}
        case("sparsegpt", {"damp": 0.1}, half if some is None else half & some, w, chosen, pattern=[2, 4], **more)
    for damp, sparsity in ((0.1, 0.7), (0.01, 0.2)):
        keep = rows_of(wanda, sparsity)
        case("least_squares", {"damp": damp, "bias": False}, keep, least_squares(keep, damp, False)[0])
    columns = np.ones_like(W, dtype=bool)
    columns[:, np.argsort(norms, kind="stable")[: COLS // 4]] = False
    w, bias = least_squares(columns, 0.1, True)
    case("least_squares", {"damp": 0.1}, columns, w, bias=bias)
    scattered = rows_of(wanda, 0.7)
    scattered[3] = False
    w, bias = least_squares(scattered, 0.1, True)
    case("least_squares", {"damp": 0.1}, scattered, w, bias=bias)

    layer = {"inputs": INPUTS, "weight": WEIGHT, "bias": BIAS, "scale": 64}
    lines = [json.dumps(entry, separators=(",", ":")) for entry in [layer, *cases]]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reconstruction.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
