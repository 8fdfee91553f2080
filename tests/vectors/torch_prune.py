#!/usr/bin/env python3
"""Known-answer vectors for pruning, computed by torch.nn.utils.prune.

Regenerate (no arguments; writes torch_prune.json beside this file):

    /usr/bin/python3 tests/vectors/torch_prune.py

The committed JSON was made with torch 1.13.1 (Debian 12, python3-torch
1.13.1+dfsg-4, which calls itself 1.13.0a0), CPU, Python 3.11. Only torch and
the standard library are used. Each case draws its numbers from random.Random
seeded with "group/name", so adding a case leaves the others as they are.
Masks come from torch; groups "nm" and "curve" are not part of
torch.nn.utils.prune and are computed here (see README.md).

torch leaves the order of ties undefined. So every recorded mask is made from
scores that are clearly apart (checked below before each step), and a case
with ties has "ties": true and only the number of removed entries.
"""

import itertools
import json
import math
import os
import random

import torch
from torch import nn
from torch.nn.utils import prune

L1_GAP = 2e-5  # least absolute distance between two ranked magnitudes
LN_GAP = 2e-3  # least relative distance between two ranked slice norms

CASES = []


class Retry(Exception):
    """The numbers drawn have scores too close together: draw again."""


# ---------------------------------------------------------------- helpers


def emit(group, name, **fields):
    assert not any(c["group"] == group and c["name"] == name for c in CASES), name
    CASES.append(dict(group=group, name=name, **fields))


def flat(t):
    """Row-major list; repr(float(f32)) reads back as the same f32."""
    return t.detach().contiguous().view(-1).tolist()


def bits(mask):
    values = flat(mask)
    assert all(v in (0.0, 1.0) for v in values)
    return [int(v) for v in values]


def uniform(rng, shape, scale=1.0):
    count = math.prod(shape)
    values = [(2.0 * rng.random() - 1.0) * scale for _ in range(count)]
    return torch.tensor(values, dtype=torch.float32).view(shape)


def dyadic(rng, shape, limit, step):
    """Multiples of `step` with distinct non-zero magnitudes <= limit * step."""
    magnitudes = rng.sample(range(1, limit + 1), math.prod(shape))
    values = [m * step * rng.choice((-1, 1)) for m in magnitudes]
    return torch.tensor(values, dtype=torch.float32).view(shape)


class Holder(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())


def check_l1(*scored):
    """Magnitudes over all given (scores, mask) pairs are clearly distinct."""
    ranked = []
    for scores, mask in scored:
        ranked += [abs(s) for s, m in zip(flat(scores), flat(mask)) if m == 1.0]
    ranked.sort()
    if any(b - a < L1_GAP for a, b in zip(ranked, ranked[1:])):
        raise Retry


def check_ln(scores, mask, n, dim):
    """Norms of the slices that still have an entry are clearly distinct."""
    others = [d for d in range(scores.dim()) if d != dim]
    alive = mask.sum(dim=others) != 0
    norms = sorted(flat(torch.norm(scores.detach(), p=order(n), dim=others)[alive]))
    if any(b - a < LN_GAP * b for a, b in zip(norms, norms[1:])):
        raise Retry


def order(n):
    return float("inf") if n == "inf" else n


def l1(amount):
    return dict(method="l1_unstructured", amount=amount, n=None, dim=None)


def ln(amount, n, dim):
    return dict(method="ln_structured", amount=amount, n=n, dim=dim)


def apply(holder, step, scores=None, check=True):
    """One pruning step by torch; returns the mask after it."""
    current = getattr(holder, "weight_mask", torch.ones_like(holder.weight))
    ranked = holder.weight if scores is None else scores
    if step["method"] == "l1_unstructured":
        if check:
            check_l1((ranked, current))
        prune.l1_unstructured(
            holder, "weight", amount=step["amount"], importance_scores=scores
        )
    else:
        if check:
            check_ln(ranked, current, step["n"], step["dim"])
        prune.ln_structured(
            holder,
            "weight",
            amount=step["amount"],
            n=order(step["n"]),
            dim=step["dim"],
            importance_scores=scores,
        )
    return holder.weight_mask.clone()


def drawn(group, name, body):
    """Run body(rng), which returns the case's fields, until its scores are apart."""
    for attempt in itertools.count():
        try:
            fields = body(random.Random(f"{group}/{name}/{attempt}"))
        except Retry:
            continue
        emit(group, name, **fields)
        return


def tag(value):
    """Part of a case name: i3 is a count, f0.5 a fraction."""
    return f"i{value}" if isinstance(value, int) else f"f{value}"


def dims(shape):
    return "x".join(map(str, shape))


# ---------------------------------------------------------------- groups


def group_round():
    small = list(range(1, 41))
    large = [99, 101, 250, 999, 1000, 4095, 12345, 1000001]
    fractions = [i / 20 for i in range(21)] + [0.125, 0.333, 1 / 3, 0.375, 0.625, 2 / 3, 0.875, 0.99, 0.999]
    for fraction in fractions:
        for label, units in (("small", small), ("large", large)):
            removed = [prune._compute_nparams_toprune(fraction, u) for u in units]
            emit("round", f"{label}_{fraction!r}", fraction=fraction, units=units, removed=removed)


def group_l1():
    group = "l1_unstructured"
    plans = [
        ((4, 6), [0.0, 0.3, 0.5, 0.9, 1.0, 0, 1, 7, 24]),
        ((5, 7), [0.1, 0.5, 0.7, 10]),  # 3.5 -> 4, 17.5 -> 18, 24.5 -> 24
        ((10,), [0.25, 0.35, 0.45, 0.95, 1, 1.0, 4]),
        ((4, 3, 3, 3), [0.5, 0.8, 0.875, 31]),
        ((3, 2, 5), [0.55, 0.75]),
        ((1, 1), [0.5, 1]),
    ]
    for shape, amounts in plans:
        for amount in amounts:

            def body(rng):
                weight = uniform(rng, shape)
                mask = apply(Holder(weight), l1(amount))
                return dict(shape=list(shape), weight=flat(weight), amount=amount, mask=bits(mask))

            drawn(group, f"{dims(shape)}_{tag(amount)}", body)
    # ties: only the number removed is defined
    tied = {
        "ties_constant": (torch.full((4, 6), 0.5), 0.3),
        "ties_zero": (torch.zeros(5, 7), 0.5),
        "ties_signs": (torch.tensor([[0.5, -0.5, 0.25, -0.25], [0.25, 0.5, -0.5, -0.25]]), 3),
        "ties_levels": (torch.tensor([1.0, 2.0, 2.0, -2.0, 3.0, -1.0, 2.0, 3.0, 0.0, 0.0]), 0.45),
    }
    for name, (weight, amount) in tied.items():
        mask = apply(Holder(weight), l1(amount), check=False)
        emit(group, name, shape=list(weight.shape), weight=flat(weight), amount=amount,
             ties=True, removed=bits(mask).count(0))


def group_ln():
    group = "ln_structured"
    plans = []
    for n in (1, 2, 0.5, 3, "inf"):
        plans += [
            ((4, 6), 0.5, n, 0),
            ((4, 6), 2, n, 1),
            ((5, 7), 0.5, n, 0),  # 2.5 -> 2
            ((5, 7), 0.5, n, 1),  # 3.5 -> 4
            ((4, 3, 3, 3), 0.25, n, 0),
            ((4, 3, 3, 3), 1, n, 1),
        ]
    plans += [
        ((4, 6), 0.0, 2, 0),
        ((4, 6), 0, 1, 1),
        ((4, 6), 1.0, 2, 0),
        ((4, 6), 1, 2, 0),
        ((4, 6), 6, 1, 1),
        ((4, 3, 3, 3), 0.34, 2, 2),
        ((4, 3, 3, 3), 2, 1, 3),
        ((6, 2, 5), 0.4, 2, 2),
        ((9, 3), 0.5, 2, 0),  # 4.5 -> 4
        ((3, 9), 0.7, 1, 1),
    ]
    for shape, amount, n, dim in plans:

        def body(rng):
            weight = uniform(rng, shape)
            mask = apply(Holder(weight), ln(amount, n, dim))
            return dict(shape=list(shape), weight=flat(weight), amount=amount, n=n, dim=dim, mask=bits(mask))

        drawn(group, f"{dims(shape)}_{tag(amount)}_n{n}_dim{dim}", body)
    tied = {
        "ties_equal_rows": (torch.tensor([[1.0, 2.0, 3.0]] * 5), 0.5, 2, 0),
        "ties_permuted_rows": (torch.tensor([[1.0, 2.0], [2.0, 1.0], [-1.0, 2.0], [4.0, 4.0]]), 2, 1, 0),
        "ties_zero_columns": (torch.zeros(3, 6), 0.5, 2, 1),
        "ties_inf_norm": (torch.tensor([[1.0, -4.0, 2.0], [4.0, 1.0, 0.5], [4.0, 4.0, 4.0]]), 1, "inf", 0),
    }
    for name, (weight, amount, n, dim) in tied.items():
        mask = apply(Holder(weight), ln(amount, n, dim), check=False)
        emit(group, name, shape=list(weight.shape), weight=flat(weight), amount=amount, n=n, dim=dim,
             ties=True, removed=bits(mask).count(0))


def global_step(holders, amount, check=True):
    if check:
        check_l1(*((h.weight, getattr(h, "weight_mask", torch.ones_like(h.weight))) for h in holders))
    prune.global_unstructured(
        [(h, "weight") for h in holders], pruning_method=prune.L1Unstructured, amount=amount
    )
    return [bits(h.weight_mask) for h in holders]


def tensor_list(weights):
    return [dict(shape=list(w.shape), weight=flat(w)) for w in weights]


TWO = [((4, 6), 1.0), ((3, 4), 1.0)]
MIXED = [((5, 7), 0.8), ((4, 2, 3, 3), 1.2), ((10,), 0.5)]
SMALL_FIRST = [((3, 4), 0.01), ((4, 6), 1.0)]


def group_global():
    group = "global_l1"
    plans = [
        ("two", TWO, [0.0, 0.25, 0.5, 0.875, 1.0, 0, 1, 13]),  # 36 entries, .875 -> 31.5 -> 32
        ("mixed", MIXED, [0.3, 0.5, 0.9, 40]),  # 117 entries, .5 -> 58.5 -> 58
        ("emptied", SMALL_FIRST, [0.4, 12]),  # .4 -> 14.4 -> 14: the whole first tensor and 2 more
        ("one", [((4, 6), 1.0)], [0.4]),
    ]
    for label, layout, amounts in plans:
        for amount in amounts:

            def body(rng):
                weights = [uniform(rng, s, scale) for s, scale in layout]
                masks = global_step([Holder(w) for w in weights], amount)
                if label == "emptied" and 1 in masks[0]:
                    raise Retry
                return dict(tensors=tensor_list(weights), amount=amount, masks=masks)

            drawn(group, f"{label}_{tag(amount)}", body)
    weights = [torch.ones(2, 5), torch.full((3, 3), -1.0)]
    masks = global_step([Holder(w) for w in weights], 0.5, check=False)  # 9.5 -> 10
    emit(group, "ties_constant", tensors=tensor_list(weights), amount=0.5, ties=True,
         removed=sum(m.count(0) for m in masks))


def group_repeat_l1():
    group = "repeat_l1"
    plans = [
        ((10,), [0.5, 0.5, 3]),  # 5, 7, 10 removed
        ((10,), [0.25, 0.25]),
        ((10,), [3, 0.5, 0.5]),  # 3.5 -> 4, then 1.5 -> 2
        ((4, 6), [0.5, 0.5]),
        ((4, 6), [0.2, 0.2, 0.2]),
        ((4, 6), [5, 5, 5]),
        ((4, 6), [0.0, 0.5]),
        ((4, 6), [0.5, 0.0]),
        ((4, 6), [20, 1.0]),
        ((5, 7), [0.3, 0.5, 0.5]),
        ((4, 3, 3, 3), [0.5, 0.5]),
        ((4, 3, 3, 3), [0.7, 11, 0.25]),
    ]
    for shape, amounts in plans:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            masks = [bits(apply(holder, l1(a))) for a in amounts]
            return dict(shape=list(shape), weight=flat(weight), amounts=amounts, masks=masks)

        drawn(group, dims(shape) + "_" + "_".join(map(tag, amounts)), body)


def group_repeat_structured():
    group = "repeat_structured"
    plans = [
        ((10, 4), [0.5, 0.5], 2, 0),  # 5, then 2.5 -> 2: 7 rows
        ((10, 4), [0.5, 0.5, 1], 1, 0),
        ((4, 6), [0.5, 0.5], 1, 0),
        ((4, 6), [2, 0.5], 2, 1),
        ((5, 7), [0.5, 0.5], 2, 1),
        ((5, 7), [1, 1], "inf", 0),
        ((4, 3, 3, 3), [1, 1], 2, 0),
        ((4, 3, 3, 3), [0.25, 0.34], 0.5, 0),
        ((4, 3, 3, 3), [1, 0.5], 1, 1),
        ((6, 3), [0.34, 0.5, 2], 3, 0),
        ((4, 6), [0.0, 0.5], 2, 0),
    ]
    for shape, amounts, n, dim in plans:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            masks = [bits(apply(holder, ln(a, n, dim))) for a in amounts]
            return dict(shape=list(shape), weight=flat(weight), amounts=amounts, n=n, dim=dim, masks=masks)

        drawn(group, f"{dims(shape)}_" + "_".join(map(tag, amounts)) + f"_n{n}_dim{dim}", body)


def group_repeat_mixed():
    group = "repeat_mixed"
    plans = [
        ("ln_l1_4x6", (4, 6), [ln(0.25, 2, 0), l1(0.5)]),
        ("ln_l1_4x6_dim1", (4, 6), [ln(2, 1, 1), l1(5)]),
        ("ln_l1_5x7", (5, 7), [ln(0.4, 2, 0), l1(0.5)]),  # 21 left, 10.5 -> 10
        ("ln_l1_conv", (4, 3, 3, 3), [ln(0.5, 2, 0), l1(0.75)]),
        ("ln_l1_conv_dim1", (4, 3, 3, 3), [ln(1, "inf", 1), l1(0.3)]),
        ("ln_l1_l1", (5, 7), [ln(1, 1, 1), l1(0.25), l1(0.5)]),
        ("l1_ln_4x6", (4, 6), [l1(0.5), ln(0.25, 2, 0)]),
        ("l1_ln_5x7_dim1", (5, 7), [l1(0.3), ln(0.5, 1, 1)]),
        ("l1_ln_conv", (4, 3, 3, 3), [l1(0.5), ln(1, 2, 1)]),
        ("l1_ln_half", (4, 6), [l1(0.4), ln(2, 0.5, 0)]),
        ("ln_dim0_dim1", (4, 6), [ln(0.5, 2, 0), ln(0.5, 2, 1)]),
        ("ln_dim1_dim0_conv", (4, 3, 3, 3), [ln(1, 1, 1), ln(0.5, 2, 0)]),
        ("ln_dim0_l1_dim0", (6, 5), [ln(2, 2, 0), l1(0.5), ln(0.5, 1, 0)]),
    ]
    for name, shape, steps in plans:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            masks = [bits(apply(holder, s)) for s in steps]
            return dict(shape=list(shape), weight=flat(weight), steps=steps, masks=masks)

        drawn(group, name, body)

    # an l1 step that empties a whole row: the row is no longer counted by ln
    def body(rng):
        weight = uniform(rng, (5, 4))
        weight[2] *= 0.001
        steps = [l1(0.4), ln(0.5, 2, 0)]  # 4 rows left, 2 removed
        holder = Holder(weight)
        apply(holder, steps[0], check=False)
        if bits(holder.weight_mask[2]) != [0] * 4:
            raise Retry
        holder = Holder(weight)
        masks = [bits(apply(holder, s)) for s in steps]
        return dict(shape=[5, 4], weight=flat(weight), steps=steps, masks=masks)

    drawn(group, "l1_empties_row_then_ln", body)


def group_repeat_global():
    group = "repeat_global"
    plans = [
        ("two", TWO, [0.5, 0.5]),
        ("two_count_first", [((4, 6), 1.0), ((2, 4), 1.0)], [8, 0.5]),  # 32: 8, then 12 more
        ("two_three_steps", TWO, [0.25, 0.25, 0.25]),
        ("mixed", MIXED, [0.3, 0.5]),
        ("mixed_counts", MIXED, [20, 30, 7]),
        ("emptied", SMALL_FIRST, [12, 0.5]),
    ]
    for label, layout, amounts in plans:

        def body(rng):
            weights = [uniform(rng, s, scale) for s, scale in layout]
            holders = [Holder(w) for w in weights]
            masks = [global_step(holders, a) for a in amounts]
            if label == "emptied" and 1 in masks[0][0]:
                raise Retry
            return dict(tensors=tensor_list(weights), amounts=amounts, masks=masks)

        drawn(group, label + "_" + "_".join(map(tag, amounts)), body)


def group_custom_mask():
    for shape, amount in [((4, 6), 0.5), ((4, 6), 0.0), ((5, 7), 9), ((10,), 0.35), ((4, 3, 3, 3), 0.4)]:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            first = bits(apply(holder, l1(amount)))
            given = [int(rng.random() < 0.6) for _ in first]
            prune.custom_from_mask(holder, "weight", mask=torch.tensor(given).view(shape))
            return dict(shape=list(shape), weight=flat(weight), amount=amount,
                        first_mask=first, given=given, mask=bits(holder.weight_mask))

        drawn("custom_mask", f"{dims(shape)}_{tag(amount)}", body)


def group_gradient():
    # Dyadic numbers small enough that every f32 sum and product is exact, so
    # the values do not depend on the order of summation (checked in f64).
    plans = [((4, 6), 3, 0.5, False), ((4, 6), 5, 0.25, True), ((3, 5), 2, 7, True),
             ((2, 8), 4, 0.0, False), ((5, 3), 3, 1.0, True)]
    for (out, inp), batch, amount, with_bias in plans:
        name = f"{out}x{inp}_batch{batch}_{tag(amount)}" + ("_bias" if with_bias else "")

        def body(rng):
            weight = dyadic(rng, (out, inp), 48, 1 / 32)
            bias = dyadic(rng, (out,), 16, 1 / 16) if with_bias else None
            x = torch.tensor([rng.randint(-8, 8) / 4 for _ in range(batch * inp)]).view(batch, inp)

            def run(dtype):
                layer = nn.Linear(inp, out, bias=with_bias)
                with torch.no_grad():
                    layer.weight.copy_(weight)
                    if with_bias:
                        layer.bias.copy_(bias)
                layer = layer.to(dtype)
                prune.l1_unstructured(layer, "weight", amount=amount)
                y = layer(x.to(dtype))
                loss = (y * y).sum()
                loss.backward()
                return layer, y, loss

            layer, y, loss = run(torch.float32)
            exact, y64, loss64 = run(torch.float64)
            pairs = [(layer.weight_orig.grad, exact.weight_orig.grad), (y, y64), (loss, loss64)]
            if with_bias:
                pairs.append((layer.bias.grad, exact.bias.grad))
            assert all(torch.equal(a.double(), b) for a, b in pairs)
            return dict(
                shape=[out, inp], weight=flat(weight), bias=flat(bias) if with_bias else None,
                input_shape=[batch, inp], input=flat(x), amount=amount,
                mask=bits(layer.weight_mask), output=flat(y), loss=float(loss),
                grad=flat(layer.weight_orig.grad),
                bias_grad=flat(layer.bias.grad) if with_bias else None,
            )

        drawn("gradient", name, body)


def group_identity():
    for shape, amount in [((4, 6), 0.5), ((10,), 3), ((4, 3, 3, 3), 0.7)]:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            prune.identity(holder, "weight")
            assert bool((holder.weight_mask == 1).all())
            mask = apply(holder, l1(amount))
            return dict(shape=list(shape), weight=flat(weight), amount=amount, mask=bits(mask))

        drawn("identity", f"{dims(shape)}_{tag(amount)}", body)


def group_importance_scores():
    plans = [
        ((4, 6), l1(0.5)),
        ((4, 6), l1(5)),
        ((10,), l1(0.35)),
        ((4, 3, 3, 3), l1(0.6)),
        ((4, 6), ln(0.5, 2, 0)),
        ((5, 7), ln(3, 1, 1)),
        ((4, 3, 3, 3), ln(0.5, 2, 0)),
        ((4, 3, 3, 3), ln(1, "inf", 1)),
        ((5, 7), ln(0.4, 0.5, 0)),
    ]
    for shape, step in plans:
        name = f"{step['method']}_{dims(shape)}_{tag(step['amount'])}"

        def body(rng):
            weight = uniform(rng, shape)
            scores = uniform(rng, shape, 3.0)  # negative scores too
            mask = bits(apply(Holder(weight), step, scores=scores))
            if mask == bits(apply(Holder(weight), step, check=False)):
                raise Retry  # the scores must matter
            return dict(shape=list(shape), weight=flat(weight), scores=flat(scores), **step, mask=mask)

        drawn("importance_scores", name, body)


def group_remove():
    plans = [
        ("l1_4x6", (4, 6), [l1(0.5)]),
        ("l1_none", (4, 6), [l1(0)]),
        ("l1_1d", (10,), [l1(0.25)]),
        ("ln_5x7", (5, 7), [ln(0.5, 2, 0)]),
        ("l1_l1_4x6", (4, 6), [l1(0.5), l1(0.5)]),
        ("ln_l1_conv", (4, 3, 3, 3), [ln(1, 1, 0), l1(0.5)]),
    ]
    for name, shape, steps in plans:

        def body(rng):
            weight = uniform(rng, shape)
            holder = Holder(weight)
            for step in steps:
                mask = apply(holder, step)
            prune.remove(holder, "weight")
            assert not prune.is_pruned(holder) and isinstance(holder.weight, nn.Parameter)
            return dict(shape=list(shape), weight=flat(weight), steps=steps,
                        mask=bits(mask), value=flat(holder.weight))

        drawn("remove", name, body)


def group_nm():
    plans = [(2, 4, (4, 8)), (2, 4, (5, 12)), (2, 4, (1, 4)), (1, 4, (4, 8)), (1, 4, (3, 16)),
             (4, 8, (4, 8)), (4, 8, (3, 24))]
    for n, m, shape in plans:

        def body(rng):
            weight = uniform(rng, shape)
            check_l1((weight, torch.ones_like(weight)))
            groups = weight.abs().view(-1, m)  # m consecutive inputs of one output
            drop = groups.argsort(dim=-1)[:, : m - n]
            mask = torch.ones_like(groups).scatter_(-1, drop, 0.0).view(shape)
            return dict(shape=list(shape), weight=flat(weight), n=n, m=m, mask=bits(mask))

        drawn("nm", f"{n}_{m}_{dims(shape)}", body)


def group_curve():
    progress = [0.0, 0.01, 0.1, 0.125, 0.25, 1 / 3, 0.5, 0.625, 2 / 3, 0.75, 0.9, 0.99, 1.0]
    ends = [(0.0, 0.5), (0.0, 0.9), (0.0, 0.99), (0.1, 0.8), (0.25, 0.75), (0.5, 0.95), (0.5, 0.5), (0.8, 0.3)]
    curves = {
        "linear": lambda a, b, t: a + (b - a) * t,
        "cubic": lambda a, b, t: b + (a - b) * (1.0 - t) ** 3,
        "exponential": lambda a, b, t: 1.0 - (1.0 - a) * ((1.0 - b) / (1.0 - a)) ** t,
    }
    for kind, curve in curves.items():
        for a, b in ends:
            emit("curve", f"{kind}_{a}_{b}", kind=kind, initial=a, final=b,
                 progress=progress, value=[curve(a, b, t) for t in progress])


def main():
    torch.set_num_threads(1)
    group_round()
    group_l1()
    group_ln()
    group_global()
    group_repeat_l1()
    group_repeat_structured()
    group_repeat_mixed()
    group_repeat_global()
    group_custom_mask()
    group_gradient()
    group_identity()
    group_importance_scores()
    group_remove()
    group_nm()
    group_curve()
    lines = [json.dumps(c, separators=(",", ":"), allow_nan=False) for c in CASES]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_prune.json")
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
