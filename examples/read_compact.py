"""Reads a compact model, as `save_compact` writes it, with NumPy alone: python3 read_compact.py FILE [OUT.npz]"""
import json, struct, sys
import numpy as np

def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head, types = json.loads(raw[8 : 8 + n]), {"F32": "<f4", "F16": "<f2", "U8": "u1", "U16": "<u2", "U32": "<u4", "I32": "<i4", "I64": "<i8", "BOOL": "?"}
    info = json.loads(head.pop("__metadata__")["pruning.compact"])["tensors"]
    part = {k: np.frombuffer(raw[8 + n :][slice(*v["data_offsets"])], types[v["dtype"]]).reshape(v["shape"]) for k, v in head.items()}
    model = {k: v for k, v in part.items() if k.rpartition(".")[0] not in info}
    for name, t in info.items():
        get, kind = lambda what: part[f"{name}.{what}"], t["format"]
        values, w = get("values"), np.zeros((t["rows"], t["cols"]), get("values").dtype)
        if kind == "coo":
            w[get("rows"), get("columns")] = values
        elif kind in ("csr16", "csr32"):
            w[np.repeat(np.arange(t["rows"]), np.diff(get("starts"))), get("columns")] = values
        elif kind == "bitmap":
            w[np.unpackbits(get("bits").astype("<u2").view("u1"), axis=1, bitorder="little")[:, : t["cols"]] == 1] = values
        elif "packed" in kind:
            (N, m), bits = (kind["packed"]["n"], kind["packed"]["m"]), int(kind["packed"]["m"] - 1).bit_length()
            stream = np.unpackbits(get("positions").astype("<u4").view("u1"), axis=1, bitorder="little")[:, : values.shape[1] * bits]
            at = stream.reshape(t["rows"], -1, bits) @ (1 << np.arange(bits))
            g, k = np.arange(values.shape[1]) // N, kind["packed"].get("kernel", 1)
            np.put_along_axis(w, (g // k * m + at) * k + g % k, values, 1)
        else:
            height, width = kind["blocks"]["height"], kind["blocks"]["width"]
            line = np.repeat(np.arange(t["rows"] // height), np.diff(get("starts")))
            w.reshape(t["rows"] // height, height, t["cols"] // width, width).transpose(0, 2, 1, 3)[line, get("columns")] = values
        model[name] = (w.reshape(t["rows"], t["shape"][0], -1).swapaxes(0, 1) if t["transposed"] else w).reshape(t["shape"])
    return model

if __name__ == "__main__":
    model = read(sys.argv[1])
    for name in sorted(model):
        print(f"{name} {model[name].shape} {model[name].dtype} {np.mean(model[name] == 0):.4f} zeros")
    if len(sys.argv) > 2:
        np.savez(sys.argv[2], **model)
