#!/usr/bin/env python3
"""Makes model.safetensors and model.pt: trains a small network on MNIST with NumPy, and writes it as PyTorch would.

The network as PyTorch code, whose `state_dict` has these names:

    features = Sequential(Conv2d(1, 8, 5, stride=2), BatchNorm2d(8), ReLU(), Conv2d(8, 16, 3, stride=2), ReLU())
    classifier = Sequential(Flatten(), Linear(400, 32), ReLU(), Linear(32, 10))

Writing the two files takes the standard library alone: a safetensors file is a header in JSON and the bytes of the tensors; a `.pt` file is
a zip archive with a pickle that names the tensors, and a file of bytes for each. The training draws from a fixed seed, but its last bits
depend on the processor and on NumPy.
"""

import gzip
import json
import pathlib
import struct
import zipfile

HERE = pathlib.Path(__file__).parent
MNIST = HERE.parent / "mnist"
MEAN, STD = 0.1307, 0.3081
SIDE = 28


def train():
    import numpy as np

    random = np.random.default_rng(1)
    read = lambda name, skip: np.frombuffer(gzip.open(MNIST / f"{name}.gz").read(), np.uint8)[skip:]
    scale = lambda pixels: ((pixels.reshape(-1, 1, SIDE, SIDE) / 255.0 - MEAN) / STD).astype(np.float32)
    images, labels = scale(read("train-images-idx3-ubyte", 16)), read("train-labels-idx1-ubyte", 8)
    tests, answers = scale(read("t10k-images-idx3-ubyte", 16)), read("t10k-labels-idx1-ubyte", 8)

    def normal(*shape):
        return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    zeros = lambda n: np.zeros(n, np.float32)
    p = {
        "features.0.weight": normal(8, 1, 5, 5), "features.0.bias": zeros(8),
        "features.1.weight": np.ones(8, np.float32), "features.1.bias": zeros(8),
        "features.3.weight": normal(16, 8, 3, 3), "features.3.bias": zeros(16),
        "classifier.1.weight": normal(32, 400), "classifier.1.bias": zeros(32),
        "classifier.3.weight": normal(10, 32), "classifier.3.bias": zeros(10),
    }
    mean, var, steps = zeros(8), np.ones(8, np.float32), 0

    def patches(x, k):
        """Windows of k x k, two apart, as [n, height, width, channels * k * k]."""
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::2, ::2]
        n, c, h, w = windows.shape[:4]
        return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * k * k)

    def forward(x, batch_stats):
        a = patches(x, 5)
        u = a @ p["features.0.weight"].reshape(8, -1).T + p["features.0.bias"]
        m, v = (u.mean((0, 1, 2)), u.var((0, 1, 2))) if batch_stats else (mean, var)
        s = 1 / np.sqrt(v + 1e-5)
        hat = (u - m) * s
        y = np.maximum(hat * p["features.1.weight"] + p["features.1.bias"], 0)
        b = patches(y.transpose(0, 3, 1, 2), 3)
        z = np.maximum(b @ p["features.3.weight"].reshape(16, -1).T + p["features.3.bias"], 0)
        flat = z.transpose(0, 3, 1, 2).reshape(len(x), -1)
        h = np.maximum(flat @ p["classifier.1.weight"].T + p["classifier.1.bias"], 0)
        return h @ p["classifier.3.weight"].T + p["classifier.3.bias"], (a, m, v, s, hat, y, b, z, flat, h)

    def backward(logits, seen, target):
        a, _, _, s, hat, y, b, z, flat, h = seen
        n = len(target)
        e = np.exp(logits - logits.max(1, keepdims=True))
        e = e / e.sum(1, keepdims=True)
        e[np.arange(n), target] -= 1
        e /= n
        g = {"classifier.3.weight": e.T @ h, "classifier.3.bias": e.sum(0)}
        e = e @ p["classifier.3.weight"] * (h > 0)
        g |= {"classifier.1.weight": e.T @ flat, "classifier.1.bias": e.sum(0)}
        e = (e @ p["classifier.1.weight"]).reshape(n, 16, 5, 5).transpose(0, 2, 3, 1) * (z > 0)
        rows = e.reshape(-1, 16)
        g |= {"features.3.weight": (rows.T @ b.reshape(len(rows), -1)).reshape(16, 8, 3, 3), "features.3.bias": rows.sum(0)}
        windows = (rows @ p["features.3.weight"].reshape(16, -1)).reshape(n, 5, 5, 8, 3, 3)
        e = np.zeros_like(y)
        for i in range(3):
            for j in range(3):
                e[:, i:i + 9:2, j:j + 9:2] += windows[..., i, j]
        e *= y > 0
        g |= {"features.1.weight": (e * hat).sum((0, 1, 2)), "features.1.bias": e.sum((0, 1, 2))}
        e = e * p["features.1.weight"]
        e = s * (e - e.mean((0, 1, 2)) - hat * (e * hat).mean((0, 1, 2)))
        rows = e.reshape(-1, 8)
        return g | {"features.0.weight": (rows.T @ a.reshape(len(rows), -1)).reshape(8, 1, 5, 5), "features.0.bias": rows.sum(0)}

    moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in p.items()}
    epochs, size = 4, 64
    total = epochs * (len(images) // size)
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            chosen = order[start:start + size]
            logits, seen = forward(images[chosen], True)
            count = seen[4].size // 8
            mean = 0.9 * mean + 0.1 * seen[1]
            var = 0.9 * var + 0.1 * seen[2] * count / (count - 1)
            rate, steps = 2e-3 * (1 - steps / total), steps + 1
            for name, gradient in backward(logits, seen, labels[chosen]).items():
                m, v = moments[name]
                m += 0.1 * (gradient - m)
                v += 0.001 * (gradient**2 - v)
                p[name] -= rate * (m / (1 - 0.9**steps)) / (np.sqrt(v / (1 - 0.999**steps)) + 1e-8)
    error = 100 * np.mean(forward(tests, False)[0].argmax(1) != answers)
    print(f"test error {error:.2f} %")

    tensors = {}
    for name, value in p.items():
        tensors[name] = ("F32", list(value.shape), value.astype("<f4").tobytes())
        if name == "features.1.bias":
            tensors["features.1.running_mean"] = ("F32", [8], mean.astype("<f4").tobytes())
            tensors["features.1.running_var"] = ("F32", [8], var.astype("<f4").tobytes())
            tensors["features.1.num_batches_tracked"] = ("I64", [], struct.pack("<q", steps))
    return tensors


def write_safetensors(file, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def write_pt(file, tensors):
    """A state dict as `torch.save` writes it: an archive of a pickle, and the bytes of each storage."""
    text = lambda s: b"X" + struct.pack("<I", len(s.encode())) + s.encode()
    number = lambda n: b"J" + struct.pack("<i", n)
    whole = lambda *parts: b"(" + b"".join(parts) + b"t"
    glob = lambda module, name: f"c{module}\n{name}\n".encode()
    ordered = glob("collections", "OrderedDict") + b")R"

    def tensor(place, kind, shape, data):
        storage, width = {"F32": ("FloatStorage", 4), "I64": ("LongStorage", 8)}[kind]
        strides = [1] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * shape[axis]
        name = whole(text("storage"), glob("torch", storage), text(str(place)), text("cpu"), number(len(data) // width)) + b"Q"
        sizes = [whole(*map(number, axis)) for axis in (shape, strides)]
        return glob("torch._utils", "_rebuild_tensor_v2") + whole(name, number(0), *sizes, b"\x89", ordered) + b"R"

    items = b"".join(text(name) + tensor(place, *t) for place, (name, t) in enumerate(tensors.items()))
    pickled = b"\x80\x02" + ordered + b"(" + items + b"u."
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        add = lambda name, data: archive.writestr(zipfile.ZipInfo(f"model/{name}"), data)
        add("data.pkl", pickled)
        add("byteorder", "little")
        for place, (_, _, data) in enumerate(tensors.values()):
            add(f"data/{place}", data)
        add("version", "3\n")


made = train()
write_safetensors(HERE / "model.safetensors", made)
write_pt(HERE / "model.pt", made)
