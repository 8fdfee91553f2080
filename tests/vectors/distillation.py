#!/usr/bin/env python3
"""Known answers for the distillation loss, from torch.

Regenerate (no arguments; writes distillation.json beside this file):  /usr/bin/python3 tests/vectors/distillation.py

T^2 * kl_div(student / T, teacher / T), batchmean, and cross entropy, in f64, with the gradient for the student's logits. Logits are
exact f32 values.
"""

import json
import os

import torch
import torch.nn.functional as F

torch.manual_seed(0)
cases = []
for batch, classes, temperature, alpha in [(1, 2, 1.0, 1.0), (4, 10, 4.0, 0.9), (3, 5, 0.5, 0.0), (8, 3, 20.0, 0.5)]:
    student, teacher = (4 * torch.randn(2, batch, classes)).double()
    labels = torch.randint(classes, (batch,))
    student.requires_grad_()
    scaled = [F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher)]
    soft = temperature**2 * F.kl_div(*scaled, log_target=True, reduction="batchmean")
    loss = alpha * soft + (1 - alpha) * F.cross_entropy(student, labels)
    loss.backward()
    cases.append({
        "batch": batch, "classes": classes, "temperature": temperature, "alpha": alpha,
        "student": student.flatten().tolist(), "teacher": teacher.flatten().tolist(), "labels": labels.tolist(),
        "soft": float("%.12g" % soft.item()), "loss": float("%.12g" % loss.item()),
        "gradient": [float("%.12g" % g) for g in student.grad.flatten().tolist()],
    })

with open(os.path.splitext(os.path.abspath(__file__))[0] + ".json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
