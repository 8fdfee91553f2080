#!/usr/bin/env python3
"""Known answers for criteria, from the formulas of the papers, by torch's autograd in double precision.

Regenerate (no arguments; writes criteria.json beside this file):  /usr/bin/python3 tests/vectors/criteria.py

Three models with weights and batches that are exact in single precision: an Mlp with tanh and two batches of three examples; one
with ReLU and batches of one example, for which the squared gradient of a batch is that of an example; and a Cnn with batch norm.
The loss of a batch is a mean over its examples, that of the model the mean over its batches. Batch norm takes the statistics of
the batch where there is one, as in training, and the running ones in the flow of synflow, which has no data.

Scores are in the matrix view of a layer, rows = output units, columns = fan-in, row by row. Units: "channel" by rows, "input" by
input channels, "block" in tiles of 2 x 3, cut off at the edges, row of tiles by row of tiles.
"""

import copy
import json
import os
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.stateless import functional_call

torch.set_default_dtype(torch.float64)
RATE = 0.5  # of the plain gradient descent under movement
BLOCK = (2, 3)


class Mlp(nn.Module):
    """6 to 7 to 4; mean squared error."""

    layers = ["fc1", "fc2"]

    def __init__(self, activation):
        super().__init__()
        self.fc1, self.fc2, self.activation = nn.Linear(6, 7), nn.Linear(7, 4), activation

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))

    def distance(self, outputs, y):
        return ((outputs - y) ** 2).mean()


class Cnn(nn.Module):
    """Two convolutions, the second with a kernel that is no square and without bias; cross-entropy, y one-hot."""

    layers = ["conv1", "conv2", "head"]

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.head = nn.Conv2d(4, 5, (3, 2), bias=False), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.conv1(x)))
        x = torch.tanh(self.conv2(x))
        return self.head(x.mean(dim=(2, 3)))

    def distance(self, outputs, y):
        return -(F.log_softmax(outputs, dim=1) * y).sum(dim=1).mean()


def drawn(rng, shape, scale):
    """Multiples of 1/512, none of them zero."""
    values = [rng.choice((-1, 1)) * rng.randint(1, max(2, round(512 * scale))) / 512 for _ in range(int(np.prod(shape)))]
    return torch.tensor(values).reshape(tuple(shape))


def fill(model, name):
    rng = random.Random(name)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype == torch.int64:
                continue
            # So small that no tanh is saturated, with ones as input and absolute weights either.
            size = {1: 0.5, 2: 1.5 / np.sqrt(value[0].numel()), 4: 0.8 / np.sqrt(value[0].numel())}[value.dim()]
            new = drawn(rng, value.shape, size)
            if key.endswith("running_var") or key == "norm.weight":
                new = new.abs() + 0.5
            if key == "norm.weight":
                new[1] *= -1  # a scale below zero, whose absolute value counts
            value.copy_(new)


def batches(name, count, size, inputs, outputs, one_hot):
    rng = random.Random(name + "/batches")
    for _ in range(count):
        x, y = drawn(rng, [size, *inputs], 1.0), drawn(rng, [size, outputs], 1.0)
        yield x, (F.one_hot(y.argmax(dim=1), outputs).double() if one_hot else y)


def weights(model):
    return {layer: getattr(model, layer).weight for layer in model.layers}


def gradients(model, data):
    """d(loss of a batch) / d(weight), one for each batch."""
    found = []
    for x, y in data:
        # Each on a copy, since a step of training changes running statistics.
        twin = copy.deepcopy(model)
        twin.distance(twin(x), y).backward()
        found.append({k: w.grad for k, w in weights(twin).items()})
    return found


def connection_sensitivity(model, data):
    """Lee et al. 2019, equation 5: the derivative of the loss by masks c that multiply the weights, at c = 1."""
    twin = copy.deepcopy(model)
    masks = {k: torch.ones_like(w, requires_grad=True) for k, w in weights(twin).items()}
    masked = {f"{k}.weight": w.detach() * masks[k] for k, w in weights(twin).items()}
    loss = sum(twin.distance(functional_call(twin, masked, (x,)), y) for x, y in data) / len(data)
    return dict(zip(masks, torch.autograd.grad(loss, list(masks.values()))))


def hessian_gradient(model, data):
    """H g of the mean loss by two backward passes, g over all parameters and H at all of them."""
    twin = copy.deepcopy(model)
    parameters = list(twin.parameters())
    loss = sum(twin.distance(twin(x), y) for x, y in data) / len(data)
    g = torch.autograd.grad(loss, parameters, create_graph=True)
    product = torch.autograd.grad(sum((a * a.detach()).sum() for a in g), parameters)
    by_id = {id(p): v for p, v in zip(parameters, product)}
    return {k: by_id[id(w)] for k, w in weights(twin).items()}


def flow(model, inputs):
    """Tanaka et al. 2020, algorithm 1: R = sum of the outputs of the network of |parameters| on an input of ones; dR/d|w|."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.parameters():
            p.abs_()
    twin.eval()
    twin(torch.ones(1, *inputs)).sum().backward()
    return {k: w.grad for k, w in weights(twin).items()}


def movement(model, data):
    """Sanh et al. 2020, equation 2 (without its learning rate): minus the sum over steps of dL/dW W, W before each step."""
    twin = copy.deepcopy(model)
    total = {k: torch.zeros_like(w) for k, w in weights(twin).items()}
    for x, y in data:
        twin.zero_grad()
        twin.distance(twin(x), y).backward()
        for k, w in weights(twin).items():
            total[k] -= w.grad * w.detach()
        with torch.no_grad():
            for p in twin.parameters():
                p -= RATE * p.grad
    return total


def geometric_median(w):
    """He et al. 2019, section 3.2: sum over filters j' of ||F_j - F_j'||_2, for every weight of filter j."""
    rows = w.reshape(w.shape[0], -1).numpy()
    distances = np.sqrt(((rows[:, None, :] - rows[None, :, :]) ** 2).sum(axis=2)).sum(axis=1)
    return torch.tensor(np.repeat(distances[:, None], rows.shape[1], axis=1)).reshape(w.shape)


def matrix(tensor):
    return tensor.detach().numpy().reshape(tensor.shape[0], -1)


def units(scores, granularity, kernel, reduce):
    """Scores of elements, a matrix, to scores of units."""
    rows, cols = scores.shape
    if granularity == "channel":
        return [reduce(scores[r]) for r in range(rows)]
    if granularity == "input":
        return [reduce(scores[:, c : c + kernel]) for c in range(0, cols, kernel)]
    h, w = BLOCK
    return [reduce(scores[r : r + h, c : c + w]) for r in range(0, rows, h) for c in range(0, cols, w)]


def norm(p):
    if p == "inf":
        return lambda v: np.abs(v).max()
    return lambda v: (np.abs(v) ** p).sum() ** (1 / p)


def criteria(model, data, inputs, smooth):
    """(configuration, element scores of each layer, reduction)"""
    w = {k: v.detach() for k, v in weights(model).items()}
    each = gradients(model, data)
    g = {k: sum(e[k] for e in each) / len(each) for k in w}

    def by(f):
        return {k: f(k) for k in w}

    # Han et al. 2015, section 3, for weights; Li et al. 2016, section 3.1 (sum of |w|) and others for units.
    yield dict(name="magnitude"), by(lambda k: w[k].abs()), norm(1)
    for p in (2, 0.5, 3, "inf"):
        yield dict(name="magnitude", p=p), by(lambda k: w[k].abs()), norm(p)
    # Molchanov et al. 2017, section 2.2: by layer, over sqrt(sum of squares).
    yield dict(name="l2_relative"), by(lambda k: w[k].abs() / (w[k] ** 2).sum().sqrt()), norm(2)
    yield dict(name="fpgm"), by(lambda k: geometric_median(w[k])), np.mean
    # Molchanov et al. 2019, section 3: the first-order estimate (g w)^2 of one weight, and a sum over those of a unit.
    yield dict(name="taylor", squared=True), by(lambda k: (g[k] * w[k]) ** 2), np.sum
    # Its absolute value, Molchanov et al. 2017, section 2.2.
    yield dict(name="taylor"), by(lambda k: (g[k] * w[k]).abs()), np.sum
    # Without the normalization over the model of its equation 6, which ranks the same.
    c = connection_sensitivity(model, data)
    yield dict(name="snip"), by(lambda k: c[k].abs()), np.sum
    # Evci et al. 2020, section 3: what grows.
    yield dict(name="gradient"), by(lambda k: g[k].abs()), np.sum
    # LeCun et al. 1989, equation 5: h w^2 / 2; Theis et al. 2018, section 2.1: h = mean of g_n^2.
    fisher = by(lambda k: 0.5 * w[k] ** 2 * sum(e[k] ** 2 for e in each) / len(each))
    yield dict(name="fisher"), fisher, np.sum
    yield dict(name="movement"), movement(model, data), np.sum
    f = flow(model, inputs)
    yield dict(name="synflow"), by(lambda k: (f[k] * w[k]).abs()), np.sum
    if smooth:
        # Wang et al. 2020, section 4.1 and algorithm 1: S = -w (H g), of which the highest go, so -S ranks what stays.
        hg = hessian_gradient(model, data)
        yield dict(name="grasp"), by(lambda k: w[k] * hg[k]), np.sum


OURS = {"norm.weight": "norm.gamma", "norm.bias": "norm.beta"}


def flat(values):
    return [float(f"{v:.12g}") for v in np.asarray(values).reshape(-1)]


def cases(name, model, data, inputs, smooth):
    parameters = {
        OURS.get(k, k): dict(shape=list(v.shape), values=v.reshape(-1).tolist())
        for k, v in model.state_dict().items()
        if v.dtype != torch.int64
    }
    given = [dict(x=x.reshape(-1).tolist(), y=y.reshape(-1).tolist()) for x, y in data]
    found = [
        dict(model=name, rate=RATE, inputs=[len(data[0][0]), *inputs], outputs=data[0][1].shape[1],
             parameters=parameters, batches=given)
    ]
    kernel = {k: w[0][0].numel() for k, w in weights(model).items()}

    def add(criterion, granularity, scores):
        found.append(dict(model=name, criterion=criterion, granularity=granularity, scores=scores))

    state = {k: v.clone() for k, v in model.state_dict().items()}
    for criterion, scores, reduce in criteria(model, data, inputs, smooth):
        scores = {k: matrix(v) for k, v in scores.items()}
        add(criterion, "element", {f"{k}.weight": flat(v) for k, v in scores.items()})
        for granularity in ("channel", "input", "block"):
            of = {f"{k}.weight": flat(units(v, granularity, kernel[k], reduce)) for k, v in scores.items()}
            add(criterion, granularity, of)
    if isinstance(model, Cnn):
        # Liu et al. 2017, section 3: the scaling factor of a channel.
        gamma = state["norm.weight"].abs()
        for granularity in ("element", "channel"):
            add(dict(name="bn_scale"), granularity, {"norm.gamma": flat(gamma)})
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()), "scoring changes nothing"
    return found


def main():
    models = [
        ("mlp_tanh", Mlp(torch.tanh), dict(count=2, size=3, inputs=[6], outputs=4, one_hot=False), True),
        ("mlp_relu", Mlp(torch.relu), dict(count=6, size=1, inputs=[6], outputs=4, one_hot=False), False),
        ("cnn_tanh", Cnn(), dict(count=2, size=4, inputs=[2, 6, 5], outputs=3, one_hot=True), True),
    ]
    lines = []
    for name, model, shapes, smooth in models:
        fill(model, name)
        lines += cases(name, model, list(batches(name, **shapes)), shapes["inputs"], smooth)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "criteria.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n]\n")


main()
