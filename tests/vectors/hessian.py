#!/usr/bin/env python3
"""Known answers for the product of the Hessian with the gradient, by two passes of automatic differentiation in double precision.

Regenerate (no arguments; writes hessian.json beside this file):  python3 tests/vectors/hessian.py   (jax 0.10, CPU)

Networks with kinks: two layers of ReLU, and convolutions with ReLU and maxima. The slope of ReLU at a negative input is 0, and a maximum passes its
slope on to the entry that is the largest, in torch as in JAX, and second derivatives keep both; no input of a ReLU here is zero and no two
entries of a maximum are equal. The loss of a batch is its mean cross-entropy, that of the model the mean over its batches. Weights and
batches are exact in single precision. Layouts are torch's: Linear [out, in], Conv [out, in, height, width].
"""

import json
import os
import random

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


def drawn(rng, shape, scale):
    """Multiples of 1/4096, none of them zero."""
    values = [rng.choice((-1, 1)) * rng.randint(1, max(2, round(4096 * scale))) / 4096 for _ in range(int(np.prod(shape)))]
    return np.array(values).reshape(shape)


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def conv(p, name, x):
    y = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "VALID")
    return y + p[f"{name}.bias"][:, None, None]


def pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def mlp(p, x):
    x = jax.nn.relu(linear(p, "fc1", x))
    return linear(p, "fc3", jax.nn.relu(linear(p, "fc2", x)))


def cnn(p, x):
    x = pool(jax.nn.relu(conv(p, "conv1", x)))
    x = pool(jax.nn.relu(conv(p, "conv2", x)))
    return linear(p, "head", x.reshape(len(x), -1))


def flat(values):
    return [float(f"{v:.12g}") for v in np.asarray(values).reshape(-1)]


def case(name, forward, layers, inputs, count):
    rng = random.Random(name)
    p = {}
    for layer, shape in layers.items():
        scale = (3 / np.prod(shape[1:])) ** 0.5
        p[f"{layer}.weight"], p[f"{layer}.bias"] = drawn(rng, shape, scale), drawn(rng, shape[:1], 0.5)
    classes = list(layers.values())[-1][0]
    batches = []
    for _ in range(count):
        labels = [rng.randrange(classes) for _ in range(inputs[0])]
        batches.append((drawn(rng, inputs, 1.0), np.eye(classes)[labels]))

    def loss(p):
        each = [-(jax.nn.log_softmax(forward(p, x)) * y).sum(axis=1).mean() for x, y in batches]
        return sum(each) / len(each)

    p = {k: jnp.asarray(v) for k, v in p.items()}
    g = jax.grad(loss)(p)
    backward = jax.grad(lambda p: sum((a * b).sum() for a, b in zip(jax.grad(loss)(p).values(), g.values())))(p)
    forward_over_reverse = jax.jvp(jax.grad(loss), (p,), (g,))[1]
    for k in p:
        assert np.allclose(backward[k], forward_over_reverse[k], rtol=1e-9, atol=1e-12), k
    return dict(
        model=name, inputs=inputs, outputs=classes,
        parameters={k: dict(shape=list(v.shape), values=np.asarray(v).reshape(-1).tolist()) for k, v in p.items()},
        batches=[dict(x=x.reshape(-1).tolist(), y=y.reshape(-1).tolist()) for x, y in batches],
        hessian_gradient={k: flat(v) for k, v in backward.items()},
    )


def main():
    cases = [
        case("mlp", mlp, dict(fc1=[24, 12], fc2=[16, 24], fc3=[5, 16]), [8, 12], 3),
        case("cnn", cnn, dict(conv1=[4, 1, 3, 3], conv2=[6, 4, 3, 3], head=[4, 24]), [4, 1, 14, 14], 2),
    ]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hessian.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
