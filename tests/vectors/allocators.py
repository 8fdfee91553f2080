#!/usr/bin/env python3
"""Known answers for allocators: how many weights each layer keeps, to the last one, by NumPy.

Regenerate (no arguments; writes allocators.json beside this file):  /usr/bin/python3 tests/vectors/allocators.py

densities.py has the unrounded densities of the papers; this is what becomes of them with the rules of this project: the total is
round_half_even of the model, a layer keeps a weight at least and what is alive at most, and shares are rounded by largest remainders.
Layers stand in the order of the model, which is not that of their paths. In the models that end in "_again" a part of the weights
has been pruned before. Scores are distinct, and no count hangs on a tie: the script checks it.
"""

import json
import os
import random

import numpy as np

MODELS = {
    "cnn": [
        ("stem.weight", "Conv2d", [6, 2, 3, 3], 0.3),
        ("body.0.weight", "Conv2d", [8, 6, 3, 3], 1.0),
        ("body.1.weight", "Linear", [20, 32], 0.5),
        ("head.weight", "Linear", [10, 20], 2.0),
    ],
    "mlp": [
        ("fc2.weight", "Linear", [31, 40], 1.0),
        ("fc3.weight", "Linear", [20, 29], 0.1),
        ("fc1.weight", "Linear", [5, 21], 3.0),
    ],
}
SPARSITIES = (0.25, 0.5, 0.77, 0.9, 0.97)
CONFIGS = [
    dict(name="uniform"),
    dict(name="global"),
    dict(name="global", floor=0.15),
    dict(name="global", floor=0.05, cap=0.6),
    dict(name="erdos_renyi"),
    dict(name="erk"),
    dict(name="uniform_plus"),
    dict(name="uniform_plus", last=0.5),
    dict(name="lamp"),
    dict(name="fixed"),
    dict(name="fixed", layers={"cnn": {"body.0": 0.85, "head.weight": 0.6}, "mlp": {"fc3": 0.35, "fc1.weight": 0.8}}),
    dict(name="fixed", layers={"cnn": {"body": 0.913}, "mlp": {"fc2": 0.871}}),
    dict(name="grouped"),
    dict(name="grouped", by={"cnn": ["body", "head"], "mlp": ["fc1"]}),
    dict(name="grouped", by={"cnn": ["body"], "mlp": ["fc3"]}, inner=dict(name="global", floor=0.1)),
    dict(name="grouped", by={"cnn": ["stem"], "mlp": ["fc2"]}, inner="lamp"),
    dict(name="grouped", by={"cnn": ["head"], "mlp": ["fc1"]}, inner="erk"),
    dict(name="owl"),
    {"name": "owl", "m": 1.5, "lambda": 0.2},
    dict(name="owl", m=1.7, by={"cnn": ["body", "head"], "mlp": ["fc2"]}),
]


class Unreachable(Exception):
    """The limits leave no way to that total."""


class Layer:
    def __init__(self, path, kind, shape, scores, alive):
        self.path, self.kind, self.shape, self.scores, self.alive = path, kind, shape, np.array(scores), np.array(alive)
        self.units = len(self.scores)
        self.least, self.most = 1, int(self.alive.sum())

    def ranked(self):
        return np.sort(self.scores[self.alive])[::-1]


def within(least, most, keep):
    if not sum(least) <= keep <= sum(most):
        raise Unreachable


def proportional(weights, least, most, keep):
    """clamp(c w, least, most) for the c that gives the total, rounded by largest remainders."""
    within(least, most, keep)
    w, low, high = (np.array(v, dtype=float) for v in (weights, least, most))
    # The total is linear between the factors where a layer leaves its lower limit or meets its upper one.
    factors = np.unique(np.concatenate([[0.0], low / w, high / w]))
    totals = [np.clip(c * w, low, high).sum() for c in factors]
    exact = np.round(np.clip(np.interp(keep, totals, factors) * w, low, high), 9)
    counts = np.floor(exact).astype(int)
    rest, order = keep - counts.sum(), np.argsort(-(exact - counts), kind="stable")
    remainders = (exact - counts)[order]
    assert 0 <= rest < len(counts) and (rest == 0 or remainders[rest - 1] - remainders[rest] > 1e-6), "a tie"
    counts[order[:rest]] += 1
    return counts.tolist()


def highest(scores, least, most, keep):
    """The highest scores of all lists, each in descending order, but `least` and at most `most` of each."""
    within(least, most, keep)
    counts = list(least)
    free = sorted(((s, i) for i, v in enumerate(scores) for s in v[least[i] : most[i]]), reverse=True)
    taken = keep - sum(counts)
    assert taken in (0, len(free)) or free[taken - 1][0] - free[taken][0] > 1e-6 * free[taken][0], "a tie"
    for _, i in free[:taken]:
        counts[i] += 1
    return counts


def bounds(layers):
    return [l.least for l in layers], [l.most for l in layers]


def uniform(layers, sparsity):
    return [max(1, min(l.units - int(np.round(sparsity * l.units)), l.most)) for l in layers]


def global_(layers, keep, floor=0.0, cap=1.0):
    least = [int(np.clip(np.ceil(floor * l.units), l.least, l.most)) for l in layers]
    most = [int(np.clip(np.floor(cap * l.units), low, l.most)) for l, low in zip(layers, least)]
    return highest([l.ranked() for l in layers], least, most, keep)


def lamp(layers, keep):
    """Lee et al. 2021, section 3: w^2 over the sum of the squares that are not smaller."""
    squares = [l.ranked().astype(float) ** 2 for l in layers]
    relative = [v / np.cumsum(v) for v in squares]
    return highest(relative, *bounds(layers), keep)


def erdos_renyi(layers, keep):
    """Mocanu et al. 2018, with RigL's dense layers: density eps (n_in + n_out) / (n_in n_out), of channels."""
    density = [sum(l.shape[:2]) / np.prod(l.shape[:2]) for l in layers]
    return proportional([d * l.units for d, l in zip(density, layers)], *bounds(layers), keep)


def erk(layers, keep):
    """Evci et al. 2020, section 3: kernels too."""
    return proportional([sum(l.shape) / np.prod(l.shape) * l.units for l in layers], *bounds(layers), keep)


def uniform_plus(layers, keep, last=0.8):
    """Gale et al. 2019, section 5: the first convolution dense, the last layer at most `last` sparse, in the order of the model."""
    least, most = bounds(layers)
    first = next((i for i, l in enumerate(layers) if l.kind == "Conv2d"), None)
    if first is not None:
        least[first] = most[first]
    if first != len(layers) - 1:
        units = layers[-1].units
        least[-1] = min(max(units - int(np.floor(last * units)), least[-1]), most[-1])
    return proportional([l.units for l in layers], least, most, keep)


def matches(pattern, layer):
    return layer.path == pattern or layer.path.startswith(pattern + ".")


def fixed(layers, keep, sparsities=()):
    least, most = bounds(layers)
    for pattern, sparsity in dict(sparsities).items():
        for i, layer in enumerate(layers):
            if matches(pattern, layer):
                count = int(np.clip(np.round((1 - sparsity) * layer.units), least[i], most[i]))
                least[i], most[i] = count, count
    return proportional([l.units for l in layers], least, most, keep)


def grouped(layers, keep, by=(), inner="global"):
    group = [next((g for g, p in enumerate(by) if matches(p, l)), len(by)) for l in layers]
    members = [[i for i, g in enumerate(group) if g == which] for which in range(len(by) + 1)]
    members = [m for m in members if m]
    sums = [[sum(getattr(layers[i], f) for i in m) for m in members] for f in ("units", "least", "most")]
    counts = [0] * len(layers)
    for m, share in zip(members, proportional(*sums, keep)):
        config = dict(inner) if isinstance(inner, dict) else dict(name=inner)
        for i, count in zip(m, allocate([layers[i] for i in m], share, config)):
            counts[i] = count
    return counts


def shifted(above, units, least, most, keep):
    """clamp((t + above) units, least, most) for the t that gives the total, rounded by largest remainders."""
    within(least, most, keep)
    a, u, low, high = (np.array(v, dtype=float) for v in (above, units, least, most))
    # The total is linear between the places where a layer leaves its lower limit or meets its upper one.
    places = np.unique(np.concatenate([low / u - a, high / u - a]))
    totals = [np.clip((t + a) * u, low, high).sum() for t in places]
    return proportional(np.clip((np.interp(keep, totals, places) + a) * u, low, high), least, most, keep)


def owl(layers, keep, m=5.0, width=0.08, by=()):
    """Yin et al. 2024, section 3: outliers are above m times the mean of their block; densities 2 lambda apart at most."""
    block = [next((g for g, p in enumerate(by) if matches(p, l)), l.path) for l in layers]
    share = {}
    for b in set(block):
        scores = np.concatenate([l.scores[l.alive] for l, of in zip(layers, block) if of == b]).astype(float)
        share[b] = np.mean(scores > m * scores.mean())
    d = np.array([share[b] for b in block])
    above = (d - d.min()) / (d.max() - d.min()) * 2 * width if d.max() > d.min() else 0 * d
    return shifted(above, [l.units for l in layers], *bounds(layers), keep)


RULES = {
    "owl": owl,
    "global": global_,
    "lamp": lamp,
    "erdos_renyi": erdos_renyi,
    "erk": erk,
    "uniform_plus": uniform_plus,
    "fixed": fixed,
    "grouped": grouped,
}


def allocate(layers, keep, config):
    names = {"layers": "sparsities", "lambda": "width"}
    options = {names.get(k, k): v for k, v in config.items() if k != "name"}
    return RULES[config["name"]](layers, keep, **options)


def draw(name, layers, again):
    rng = random.Random(name)
    drawn = []
    for path, kind, shape, scale in layers:
        n = int(np.prod(shape))
        # Whole numbers, which single precision holds.
        scores = rng.sample(range(1, int(16384 * scale)), n)
        gone = set(rng.sample(range(n), n * 2 // 5)) if again else set()
        drawn.append(Layer(path, kind, shape, scores, [i not in gone for i in range(n)]))
    return drawn


def counts(layers, sparsity, config):
    """In the order of `layers`, which is that of the model; nothing where the limits exclude the total."""
    if config["name"] == "uniform":
        return uniform(layers, sparsity)
    # By path, which ties between layers and leftover units would go by; first and last are places in the model.
    order = layers if config["name"] == "uniform_plus" else sorted(layers, key=lambda l: l.path)
    units, alive = sum(l.units for l in layers), sum(l.most for l in layers)
    keep = min(units - int(np.round(sparsity * units)), alive)
    try:
        found = dict(zip((l.path for l in order), allocate(order, keep, config)))
    except Unreachable:
        return None
    assert sum(found.values()) == keep
    return [found[l.path] for l in layers]


def main():
    lines = []
    for name, spec in MODELS.items():
        for model in (name, name + "_again"):
            layers = draw(model, spec, model.endswith("_again"))
            fields = ("path", "kind", "shape")
            listed = [{f: getattr(l, f) for f in fields} for l in layers]
            for entry, l in zip(listed, layers):
                entry.update(scores=l.scores.tolist(), alive=l.alive.astype(int).tolist())
            lines.append(dict(model=model, layers=listed))
            for sparsity in SPARSITIES:
                for config in CONFIGS:
                    config = {k: v[name] if k in ("by", "layers") else v for k, v in config.items()}
                    kept = counts(layers, sparsity, config)
                    lines.append(dict(model=model, allocator=config, sparsity=sparsity, kept=kept))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "allocators.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n]\n")


main()
