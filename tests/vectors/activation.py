#!/usr/bin/env python3
"""Known answers for criteria that look at activations, from the formulas of the papers, by NumPy in double precision.

Regenerate (no arguments; writes activation.json beside this file):  /usr/bin/python3 tests/vectors/activation.py

Layers with weights and inputs that are exact in single precision; in "again" a part of the weights has been pruned before. Scores are in
the matrix view, rows = output units, columns = fan-in, row by row, or one for each unit. Masks ("keep") are in the matrix view too: by
layer, or by row with the rule of this project for what does not divide. The script checks that no mask hangs on a tie, and that rows
which divide lose what they lose in Wanda's own code.

The effects of columns come from batches of one example through a linear projection with squared error, by the chain rule to a factor on
each head (Michel et al. 2019, equation 2), not to the weights.
"""

import json
import os

import numpy as np

LAYERS = [
    ("odd", "Linear", [23, 41], False),
    ("even", "Linear", [24, 40], False),
    ("again", "Linear", [24, 40], True),
    ("conv", "Conv2d", [6, 4, 3, 3], False),
]
HEAD = 4


def exact(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def draw(shape, pruned, rng):
    rows, cols = shape[0], int(np.prod(shape[1:]))
    weight = exact(rng.standard_t(4, (rows, cols)) * 0.1)
    alive = rng.random((rows, cols)) > (0.3 if pruned else -1.0)
    # Inputs that are alike, of very different size, and a column that is always zero.
    x = rng.standard_normal((256, cols)) @ (np.eye(cols) + 0.2 * rng.standard_normal((cols, cols)))
    x *= np.exp(rng.standard_normal(cols))
    x[:, 3] = 0.0
    return weight, alive, x


def share(w, axis):
    total = w.sum(axis=axis, keepdims=True)
    return np.divide(w, total, out=np.zeros_like(w), where=total > 0)


def ria(w, norm, a):
    """Zhang et al. 2024, section 3."""
    return (share(np.abs(w), 0) + share(np.abs(w), 1)) * norm**a


def total(alive, sparsity):
    return min(alive.size - int(np.round(sparsity * alive.size)), int(alive.sum()))


def apart(kept, lost):
    assert len(lost) == 0 or len(kept) == 0 or kept.min() - lost.max() > 1e-6 * kept.min(), "a tie"


def by_layer(scores, alive, sparsity):
    order = np.argsort(np.where(alive, -scores, np.inf), axis=None, kind="stable")
    keep = np.zeros(scores.size, dtype=bool)
    keep[order[: total(alive, sparsity)]] = True
    keep = keep.reshape(scores.shape)
    apart(scores[keep], scores[alive & ~keep])
    return keep


def by_row(scores, alive, sparsity):
    quota, counts = total(alive, sparsity), alive.sum(axis=1)
    each = max(k for k in range(scores.shape[1] + 1) if np.minimum(counts, k).sum() <= quota)
    rest = quota - np.minimum(counts, each).sum()
    order = np.argsort(np.where(alive, -scores, np.inf), axis=1, kind="stable")
    following = np.array([scores[r, order[r, each]] if counts[r] > each else -np.inf for r in range(len(scores))])
    more = np.argsort(-following, kind="stable")
    apart(following[more[:rest]], following[more[rest:]])
    keep = np.zeros(scores.shape, dtype=bool)
    for r in range(len(scores)):
        n = min(counts[r], each) + (r in more[:rest])
        keep[r, order[r, :n]] = True
        apart(scores[r][keep[r]], scores[r][alive[r] & ~keep[r]])
    assert keep.sum() == quota
    return keep


def wanda_rows(scores, sparsity):
    """locuslab/wanda, lib/prune.py: sort each row, int(columns * sparsity) go."""
    mask = np.zeros(scores.shape, dtype=bool)
    order = np.argsort(scores, axis=-1, kind="stable")
    np.put_along_axis(mask, order[:, : int(scores.shape[1] * sparsity)], True, axis=-1)
    return ~mask


def flat(values):
    return [float(f"{v:.12g}") for v in np.asarray(values).reshape(-1)]


def cases(name, kind, shape, pruned, rng):
    weight, alive, x = draw(shape, pruned, rng)
    rows, cols = weight.shape
    taps = cols // shape[1]
    norm = exact(np.sqrt((x**2).mean(axis=0)))
    size = exact(np.sqrt((np.abs(x.reshape(16, 16, cols)).mean(axis=1) ** 2).sum(axis=0)))
    zeros, ranks = exact(rng.random(rows)), exact(rng.random(rows) * 16)
    inputs = dict(input_norm=norm, input_activation=size, output_zeros=zeros, output_rank=ranks)
    yield dict(layer=name, kind=kind, shape=shape, weight=flat(weight), alive=alive.astype(int).reshape(-1).tolist(),
               inputs={k: flat(v) for k, v in inputs.items()})
    w = weight * alive
    for criterion, scores in [
        (dict(name="wanda"), np.abs(w) * norm),
        (dict(name="ria"), ria(w, norm, 0.5)),
        (dict(name="ria", a=1.25), ria(w, norm, 1.25)),
    ]:
        yield dict(layer=name, criterion=criterion, granularity="element", scores=flat(scores))
        for sparsity in (0.5, 0.7):
            for compare, rule in (("layer", by_layer), ("row", by_row)):
                keep = rule(scores, alive, sparsity)
                if criterion["name"] == "wanda" and compare == "row" and name == "even":
                    assert (keep == wanda_rows(scores, sparsity)).all(), "it is Wanda's"
                yield dict(layer=name, criterion=criterion, compare=compare, sparsity=sparsity,
                           keep=keep.astype(int).reshape(-1).tolist())
    if pruned:
        return
    channels = np.sqrt((size.reshape(-1, taps) ** 2).sum(axis=1))
    of = lambda name, kind, scores: dict(layer=layer, criterion=dict(name=name), granularity=kind, scores=flat(scores))
    layer = name
    yield of("activation", dict(kind="channel", axis="input"), channels)
    if len(channels) % HEAD == 0:
        heads = np.sqrt((channels.reshape(-1, HEAD) ** 2).sum(axis=1))
        yield of("activation", dict(kind="head", size=HEAD, axis="input"), heads)
    yield of("apoz", "channel", 1 - zeros)
    yield of("hrank", "channel", ranks)


def projection(rng):
    rows, cols, examples = 5, 12, 7
    weight, bias = exact(rng.standard_normal((rows, cols)) * 0.3), exact(rng.standard_normal(rows))
    x, y = exact(rng.standard_normal((examples, cols))), exact(rng.standard_normal((examples, rows)))
    yield dict(projection=True, weight=flat(weight), bias=flat(bias), rows=rows, cols=cols,
               x=[flat(v) for v in x], y=[flat(v) for v in y])
    outputs = 2 * (x @ weight.T + bias - y) / rows
    for size in (1, 3, 4):
        parts = (x[:, None, :] * weight[None, :, :]).reshape(examples, rows, cols // size, size).sum(axis=3)
        by_factor = np.einsum("nr,nrh->nh", outputs, parts)
        importance = np.abs(by_factor).mean(axis=0)
        for normalize in (False, True):
            scores = importance / np.sqrt((importance**2).sum()) if normalize else importance
            yield dict(criterion={"name": "head_importance", "size": size, "normalize": normalize},
                       granularity=dict(kind="head", size=size, axis="input"), scores=flat(scores))


def main():
    rng = np.random.default_rng(15)
    lines = [line for layer in LAYERS for line in cases(*layer, rng)] + list(projection(rng))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "activation.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n]\n")


main()
