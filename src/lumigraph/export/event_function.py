"""A model as a function of plain tensors, from the columns of the data to predictions."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .interface import heads_of

__all__ = ["JaggedEvents", "PaddedEvents"]


class PaddedEvents(nn.Module):
    """Head, body and tail as one function of padded events; events that the model refuses give NaN.

    A captured graph cannot raise errors that depend on values. An event with a NaN, with a category beyond its
    embedding, with more particles than slots, or with a four-momentum that the head refuses, gives NaN instead.

    Parameters
    ----------
    model
        Head, body and tail; a copy is kept on the CPU in evaluation mode.
    objective
        Kind of prediction: a ``multiclass`` model gives probabilities here, as `lumigraph.Model.predict` does.
    """

    def __init__(self, model: nn.Sequential, objective: str) -> None:
        super().__init__()
        copied = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        self.flat_head, self.matrix_head = heads_of(copied[0])
        self.body, self.tail = copied[1], copied[2]
        self.objective = objective

    def forward(
        self,
        rows: Tensor | None = None,
        mask: Tensor | None = None,
        u: Tensor | None = None,
        cat: Tensor | None = None,
    ) -> Tensor:
        """Return the predictions, (events, outputs); leave out inputs that the model does not have.

        Parameters
        ----------
        rows, mask
            Features of the particles (events, slots, features), and which slots hold a particle (events, slots).
        u, cat
            Continuous features of the events, and their categories.
        """
        if rows is None or mask is None:
            return self._predicted([], [], u, cat)
        most = None if self.matrix_head is None else self.matrix_head.max_particles
        # append an empty slot, so that there is at least one; or all slots if their number is fixed
        extra = 1 if most is None else most
        rows = torch.cat([rows, rows.new_zeros(rows.size(0), extra, rows.size(2))], dim=1)
        mask = torch.cat([mask, mask.new_zeros(mask.size(0), extra)], dim=1)
        if most is None:
            return self._of_particles(rows, mask, [], u, cat)
        return self._of_particles(rows[:, :most], mask[:, :most], [_any(mask[:, most:])], u, cat)

    def _of_particles(
        self, rows: Tensor, mask: Tensor, refused: list[Tensor], u: Tensor | None, cat: Tensor | None
    ) -> Tensor:
        head = self.matrix_head
        if head is None:
            raise TypeError("the model has no head for particles: leave out rows and mask, or values and lengths")
        rows = torch.where(mask.unsqueeze(-1), rows, torch.zeros_like(rows))
        refused = [*refused, _any(head.refused(rows, mask))]
        return self._predicted(refused, [head.embed(rows, mask)], u, cat)

    def _predicted(self, refused: list[Tensor], vectors: list[Tensor], u: Tensor | None, cat: Tensor | None) -> Tensor:
        """Concatenate event features and vectors of particles, and compute the predictions."""
        head = self.flat_head
        if head is not None:
            like = next(t for t in (u, cat, *vectors) if t is not None)
            u = head.scale.mean.new_zeros(like.size(0), 0) if u is None else u
            cat = torch.zeros_like(u[:, :0], dtype=torch.long) if cat is None else cat
            u = u if head.input_mask is None else u.index_select(1, head.input_mask)
            most = cat.new_tensor(head.cat_embedder.cat_szs) - 1
            known = torch.minimum(cat.clamp(min=0), most)
            refused = [*refused, _any(u.isnan()), _any(known != cat)]
            vectors = [head.embed(u, known), *vectors]
        found = self.tail(self.body(torch.cat(vectors, dim=1)))
        found = found.exp() if self.objective == "multiclass" else found
        nothing = _any(torch.stack(refused, dim=1)).unsqueeze(1)
        return torch.where(nothing, torch.full_like(found, torch.nan), found)


def _any(rows: Tensor) -> Tensor:
    """Return which rows of a matrix hold a True; none without columns, unlike a maximum in ONNX."""
    return rows.sum(1) > 0


class JaggedEvents(nn.Module):
    """The same for concatenated particles.

    Parameters
    ----------
    padded
        A function of rows and mask, and of event features and categories if there are any.
    """

    def __init__(self, padded: nn.Module) -> None:
        super().__init__()
        self.padded = padded

    def forward(self, values: Tensor, lengths: Tensor, u: Tensor | None = None, cat: Tensor | None = None) -> Tensor:
        """Return the predictions, (events, outputs).

        Parameters
        ----------
        values, lengths
            Features of the particles (particles, features), event after event, and their number in each (events,).
        u, cat
            Continuous features of the events, and their categories.
        """
        # as many slots as the largest event needs; at least two, as torch captures a graph for more than one
        slots: Any = torch.cat([lengths, lengths.new_full((1,), 2)]).max().item()
        torch._check(slots >= 2)
        slot = torch.arange(slots, device=lengths.device)
        mask = slot < lengths.unsqueeze(1)
        first = (lengths.cumsum(0) - lengths).unsqueeze(1)
        # append a particle of zeros for empty slots
        padded = torch.cat([values, values.new_zeros(1, values.size(1))])
        rows = padded[torch.where(mask, first + slot, values.size(0))]
        event = {name: value for name, value in (("u", u), ("cat", cat)) if value is not None}
        return self.padded(rows=rows, mask=mask, **event)
