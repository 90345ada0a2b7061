"""Version A of the head's bench: a plain program, written as one writes it.

A `Dataset` reads each sample from an HDF5 file, a `DataLoader` collates padded batches, a packed `nn.GRU` reads them.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

from itin.itin_head import HeadConfig

BATCH = 64


class PlainDataset(Dataset[tuple[Tensor, ...]]):
    """One read an array and sample."""

    def __init__(self, path: Path, m: int) -> None:
        self.path, self.m = path, m
        self.file: h5py.File | None = None
        with h5py.File(path) as file:
            self.size = len(file["labels"])

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        if self.file is None:
            self.file = h5py.File(self.path)
        begin, end = self.file["offsets"][i : i + 2]
        return (
            torch.from_numpy(self.file["regions"][i, : self.m]).float(),
            torch.from_numpy(self.file["tokens"][begin:end]).float(),
            torch.from_numpy(self.file["context"][i]).float(),
            torch.tensor(self.file["labels"][i]),
        )


def collate(samples: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    regions, tokens, context, labels = zip(*samples, strict=True)
    lengths = torch.tensor([len(one) for one in tokens])
    return (
        torch.stack(regions),
        pad_sequence(tokens, batch_first=True),
        lengths,
        torch.stack(context),
        torch.stack(labels),
    )


class PlainHead(nn.Module):
    """Eqs. 1-19 written down straight away; the names are those of `ITINHead`, so that weights can be exchanged."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        d, k, hidden = config.d, config.k, config.hidden
        self.lam, self.k = config.lam, k
        self.W_r = nn.Linear(config.region_dim, d)
        self.gru = nn.GRU(config.token_dim, d, batch_first=True, bidirectional=True)
        self.W_hat_r = nn.Linear(d, k, bias=False)
        self.W_hat_t = nn.Linear(d, k, bias=False)
        self.W_o = nn.Linear(2 * d, d)
        self.Tran_z = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))
        self.mlp_v = nn.Sequential(nn.Linear(config.context_dim + d, hidden), nn.ReLU())
        self.mlp_s = nn.Sequential(nn.Linear(2 * d, hidden), nn.ReLU())
        self.W_f = nn.Linear(hidden, config.classes)

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, context: Tensor) -> Tensor:
        r = self.W_r(regions)
        packed, _ = self.gru(pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False))
        h, _ = pad_packed_sequence(packed, batch_first=True)
        forward, backward = h.chunk(2, -1)
        w = (forward + backward) / 2
        mask = torch.arange(w.shape[1]) < lengths[:, None]
        A = self.W_hat_r(r) @ self.W_hat_t(w).transpose(1, 2) / self.k**0.5
        u = A.masked_fill(~mask[:, None], float("-inf")).softmax(-1) @ w
        g = torch.sigmoid((r * u).sum(-1, keepdim=True))
        z = torch.relu(self.W_o(g * torch.cat([r, u], -1))) + r
        c = (self.Tran_z(z).softmax(1) * z).sum(1)
        s = w.sum(1) / lengths[:, None]
        f1, f2 = self.mlp_v(torch.cat([context, c], -1)), self.mlp_s(torch.cat([s, c], -1))
        logits: Tensor = self.W_f(self.lam * f1 + (1 - self.lam) * f2)
        return logits


class VersionA:
    def __init__(self, path: Path, config: HeadConfig, m: int, state: dict[str, Tensor]) -> None:
        self.head = PlainHead(config)
        self.head.load_state_dict(state)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=1e-3, weight_decay=1e-5)
        self.loader = DataLoader(PlainDataset(path, m), batch_size=BATCH, shuffle=True, collate_fn=collate)

    def epoch(self) -> None:
        for regions, tokens, lengths, context, labels in self.loader:
            loss = cross_entropy(self.head(regions, tokens, lengths, context), labels)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
