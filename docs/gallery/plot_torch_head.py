"""
A head for a PyTorch model
==========================

A small network learns images of digits under ``fastsoftmax.torch.CrossEntropyLoss``, which takes the place of
PyTorch's. Its last layer is a softmax regression on what the layers before it make of an image: after the
training it is fitted to its optimum, once, in place of many more epochs.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastsoftmax.torch
from fastsoftmax import SoftmaxRegression

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
parts = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
X_read, X_unread = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
y_read, y_unread = (torch.tensor(part) for part in parts[2:])

body = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU())
head = torch.nn.Linear(48, 10)
loss = fastsoftmax.torch.CrossEntropyLoss()
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1, momentum=0.9)
curve = []
for _ in range(8):
    for batch in torch.randperm(len(X_read)).split(64):
        optimizer.zero_grad()
        loss(head(body(X_read[batch])), y_read[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        curve.append(float(loss(head(body(X_read)), y_read)))

# %%
# Tensors are taken as they are. C is that of a weight decay of 1e-4: 1 / (n · decay).
with torch.no_grad():
    features, held_out = body(X_read), body(X_unread)
    learnt = float((head(held_out).argmax(1) == y_unread).float().mean())
probe = SoftmaxRegression(C=1 / (len(y_read) * 1e-4)).fit(features, y_read)
with torch.no_grad():
    head.weight.copy_(torch.as_tensor(probe.coef_))
    head.bias.copy_(torch.as_tensor(probe.intercept_))
    exact = float(loss(head(features), y_read))
    fitted = float((head(held_out).argmax(1) == y_unread).float().mean())
print(f"held-out accuracy: {learnt:.1%} as learnt, {fitted:.1%} with the last layer at its optimum")
print(f"{probe.solver_}: {probe.n_iter_[0]} steps, gap {probe.duality_gap_:.1e}")

# %%
# The loss of the images that were learnt, by epoch, and what the last layer alone could still do.
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.semilogy(range(1, 9), curve, "o-", color="#3b6ea5", label="training")
axes.axhline(exact, color="#c1543c", linestyle="--", label="the last layer at its optimum")
axes.set(xlabel="epoch", ylabel="mean cross-entropy")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
