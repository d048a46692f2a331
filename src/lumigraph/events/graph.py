"""The complete graph of each event: all ordered pairs of different particles, without a list of edges."""

from contextlib import suppress
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["CompleteGraph", "complete_pairs", "lengths_to_ptr", "ptr_to_batch", "ptr_to_slot", "ring_pairs"]


def lengths_to_ptr(lengths: Int[Tensor, " events"]) -> Int[Tensor, " events_plus_1"]:
    """Return the offsets of events with these numbers of particles.

    Examples
    --------
    >>> lengths_to_ptr(torch.tensor([2, 0, 3]))
    tensor([0, 2, 2, 5])
    """
    return torch.nn.functional.pad(lengths.long().cumsum(0), (1, 0))


def ptr_to_batch(ptr: Int[Tensor, " events_plus_1"], num_nodes: int | None = None) -> Int[Tensor, " particles"]:
    """Return the event of each particle.

    Raises
    ------
    ValueError
        If ``num_nodes`` is given and is not the number of particles; checked on the CPU only.

    Examples
    --------
    >>> ptr_to_batch(torch.tensor([0, 2, 2, 5]))
    tensor([0, 0, 2, 2, 2])
    """
    if num_nodes is not None and ptr.device.type == "cpu" and not torch.compiler.is_compiling():
        found = int(ptr[-1]) - int(ptr[0])
        if found != num_nodes:  # torch would write past the end
            raise ValueError(f"ptr must have offsets for {num_nodes} particles, got offsets for {found}")
    events = torch.arange(ptr.numel() - 1, device=ptr.device)
    return _repeat(events, ptr, num_nodes)


def ptr_to_slot(ptr: Int[Tensor, " events_plus_1"]) -> Int[Tensor, " particles"]:
    """Return the place of each particle in its event, counted from 0.

    Examples
    --------
    >>> ptr_to_slot(torch.tensor([0, 2, 2, 5]))
    tensor([0, 1, 0, 1, 2])
    """
    first = _repeat(ptr[:-1], ptr, None)
    if first.device.type == "cpu":
        slot = np.arange(first.numel())
        slot -= first.numpy()  # in place: allocating another array would double the time
        return torch.from_numpy(slot)
    return torch.arange(first.numel(), device=ptr.device) - first


def _repeat(values: Tensor, ptr: Tensor, total: int | None) -> Tensor:
    """Return the value of its event for each particle."""
    if type(ptr) is Tensor and ptr.device.type == "cpu" and not torch.compiler.is_compiling():
        with suppress(RuntimeError):  # tensors of torch.func transforms have no NumPy array
            offsets = ptr.numpy()
            # NumPy takes a third of torch's time
            return torch.from_numpy(np.repeat(values.numpy(), offsets[1:] - offsets[:-1]))
    return values.repeat_interleave(ptr.diff(), output_size=total)


def _holds_integers(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


class CompleteGraph:
    """All ordered pairs of different particles of each event, without a list of them.

    Parameters
    ----------
    ptr
        Offsets of the events, (B+1,): event b has the particles ptr[b] to ptr[b+1].

    Raises
    ------
    ValueError
        If ``ptr`` is not a one-dimensional integer tensor that starts at 0 and never falls.

    Examples
    --------
    >>> graph = CompleteGraph.from_lengths(torch.tensor([3, 0, 1]))
    >>> graph
    CompleteGraph(num_graphs=3, num_nodes=4, num_edges=6)
    >>> graph.edge_index()
    tensor([[1, 2, 0, 2, 0, 1],
            [0, 0, 1, 1, 2, 2]])
    """

    def __init__(self, ptr: Tensor) -> None:
        if ptr.dim() != 1 or ptr.numel() == 0 or not _holds_integers(ptr):
            raise ValueError(
                f"ptr must be a one-dimensional integer tensor of B+1 offsets, got shape {tuple(ptr.shape)} and "
                f"{ptr.dtype}; from particles per event use CompleteGraph.from_lengths"
            )
        ptr = ptr.long().contiguous()  # before the check: differences of unsigned integers are never negative
        if int(ptr[0]) != 0 or bool((ptr.diff() < 0).any()):
            raise ValueError(f"ptr must start at 0 and never fall, got {ptr[:8].tolist()}...")
        self.ptr = ptr

    @classmethod
    def from_lengths(cls, lengths: Tensor) -> "CompleteGraph":
        """Build the graph from the number of particles of each event, (B,)."""
        if lengths.dim() != 1 or not _holds_integers(lengths) or bool((lengths < 0).any()):
            raise ValueError(
                f"lengths must be a one-dimensional tensor of integers of at least 0, got shape {tuple(lengths.shape)} "
                f"and {lengths.dtype}"
            )
        return cls(lengths_to_ptr(lengths))

    @cached_property
    def lengths(self) -> Int[Tensor, " events"]:
        """Particles per event, (B,)."""
        return self.ptr.diff()

    @cached_property
    def batch(self) -> Int[Tensor, " particles"]:
        """Event of each particle, (N,)."""
        return ptr_to_batch(self.ptr)

    @property
    def num_graphs(self) -> int:
        """Number of events, empty ones included."""
        return self.ptr.numel() - 1

    @cached_property
    def num_nodes(self) -> int:
        """Number of particles in all events."""
        return int(self.ptr[-1])

    @cached_property
    def num_edges(self) -> int:
        """Number of ordered pairs, the sum of n(n-1) over events."""
        n = self.lengths
        return int(n.dot(n - 1))

    def edge_index(self) -> Int[Tensor, "2 edges"]:
        """Return the list of pairs: senders in row 0, receivers in row 1, ordered by receiver, then sender."""
        batch = self.batch
        degree = (self.lengths - 1)[batch]
        receiver = torch.arange(batch.numel(), device=self.ptr.device).repeat_interleave(degree)
        first = lengths_to_ptr(degree)[:-1]
        k = torch.arange(receiver.numel(), device=self.ptr.device) - first[receiver]
        sender = self.ptr[:-1][batch][receiver] + k
        return torch.stack([sender + (sender >= receiver).long(), receiver])

    def by_multiplicity(self) -> tuple[Int[Tensor, " particles"] | None, list[tuple[int, int, int]]]:
        """Sort the events by their number of particles.

        Returns
        -------
        order
            The particles, sorted by the multiplicity of their event; None if they are sorted already.
        groups
            For each multiplicity n: the first particle in that order, the number of events, and n.

        Examples
        --------
        >>> CompleteGraph.from_lengths(torch.tensor([3, 0, 1, 3])).by_multiplicity()
        (tensor([3, 0, 1, 2, 4, 5, 6]), [(0, 1, 0), (0, 1, 1), (1, 2, 3)])
        """
        return self._by_multiplicity

    @cached_property
    def _by_multiplicity(self) -> tuple[Tensor | None, list[tuple[int, int, int]]]:
        lengths, events = self.lengths.sort(stable=True)
        n, count = lengths.unique_consecutive(return_counts=True)
        first = lengths_to_ptr(n * count)[:-1]
        groups = list(zip(first.tolist(), count.tolist(), n.tolist(), strict=True))
        if bool((events.diff() >= 0).all()):
            return None, groups
        shift = (self.ptr[:-1][events] - lengths_to_ptr(lengths)[:-1]).repeat_interleave(lengths)
        return shift + torch.arange(shift.numel(), device=shift.device), groups

    def to(self, device: torch.device | str) -> "CompleteGraph":
        """Return the graph with its offsets on another device."""
        moved = object.__new__(CompleteGraph)
        moved.ptr = self.ptr.to(device)
        return moved

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_graphs={self.num_graphs}, num_nodes={self.num_nodes}, "
            f"num_edges={self.num_edges})"
        )


def complete_pairs(mask: Bool[Tensor, "events slots"]) -> Int[Tensor, "events slots slots"]:
    """Return the complete graph of padded events: 1 where receiver i (axis 1) hears sender j (axis 2), else 0.

    Examples
    --------
    >>> complete_pairs(torch.tensor([[True, False, True]])).tolist()
    [[[0, 0, 1], [0, 0, 0], [1, 0, 0]]]
    """
    itself = torch.eye(mask.size(1), dtype=torch.bool, device=mask.device)
    return (mask.unsqueeze(2) & mask.unsqueeze(1) & ~itself).long()


def ring_pairs(mask: Bool[Tensor, "events slots"]) -> Int[Tensor, "events slots slots"]:
    """Return LUMIN's edges of padded events: how often receiver i (axis 1) hears sender j (axis 2).

    Each particle hears the next one of its event n-1 times, and the last one hears the first: as many edges as the
    complete graph has. With these edges a model of LUMIN up to 0.9.1 reproduces its published results.

    Examples
    --------
    >>> ring_pairs(torch.tensor([[True, False, True, True]])).tolist()
    [[[0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 2], [2, 0, 0, 0]]]
    """
    n = mask.sum(1).view(-1, 1, 1)
    rank = mask.cumsum(1) - 1
    follows = rank.unsqueeze(1) == (rank.unsqueeze(2) + 1) % n.clamp(min=1)
    return complete_pairs(mask) * follows * (n - 1)
