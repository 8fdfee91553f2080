"""Makes small files in the two formats that `torch.save` has written since 2017, without torch: tiny_zip.pt and tiny_legacy.pt."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

# What the pickles name. Only the names end up in the files.
torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def rebuild(*_):
    raise NotImplementedError


rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2"
utils._rebuild_tensor_v2 = rebuild
for name in ("FloatStorage", "HalfStorage", "LongStorage"):
    setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))


class Storage:
    def __init__(self, key, kind, fmt, values):
        self.key, self.kind, self.len = key, kind, len(values)
        self.bytes = struct.pack(f"<{len(values)}{fmt}", *values)


class Tensor:
    def __init__(self, storage, shape, stride, offset=0):
        self.args = (storage, offset, shape, stride, False, OrderedDict())

    def __reduce__(self):
        return rebuild, self.args


weight = Storage("0", torch.FloatStorage, "f", [float(i) - 2.5 for i in range(6)])
half = Storage("1", torch.HalfStorage, "e", [0.5, -0.25, 8.0, 1.0])
count = Storage("2", torch.LongStorage, "q", [7])
STORAGES = [weight, half, count]
STATE = {
    "state_dict": OrderedDict(
        [
            ("fc.weight", Tensor(weight, (3, 2), (2, 1))),
            # A view of the same storage, with its axes swapped.
            ("turned", Tensor(weight, (2, 3), (1, 2))),
            ("fc.bias", Tensor(weight, (3,), (1,), 3)),
            ("half.weight", Tensor(half, (2, 2), (2, 1))),
            ("norm.num_batches_tracked", Tensor(count, (), ())),
        ]
    )
}


def pickled(value, legacy):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", value.kind, value.key, "cpu", value.len) + ((None,) if legacy else ())

    out = io.BytesIO()
    Pickler(out, protocol=2).dump(value)
    return out.getvalue()


here = Path(__file__).parent
with zipfile.ZipFile(here / "tiny_zip.pt", "w", zipfile.ZIP_STORED) as archive:

    def add(name, data):
        archive.writestr(zipfile.ZipInfo(f"tiny/{name}", (1980, 1, 1, 0, 0, 0)), data)

    add("data.pkl", pickled(STATE, False))
    add("byteorder", b"little")
    for storage in STORAGES:
        add(f"data/{storage.key}", storage.bytes)
    add("version", b"3\n")

with open(here / "tiny_legacy.pt", "wb") as file:
    sizes = {"short": 2, "int": 4, "long": 4}
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}):
        pickle.dump(value, file, protocol=2)
    file.write(pickled(STATE, True))
    pickle.dump([storage.key for storage in STORAGES], file, protocol=2)
    for storage in STORAGES:
        file.write(struct.pack("<q", storage.len) + storage.bytes)
