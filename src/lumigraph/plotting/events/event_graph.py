"""One event as a graph of networkx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import torch
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from ...events.batches import feature_names
from .edges import edge_values
from .event_columns import event_bounds, event_rows

__all__ = ["to_networkx"]

#: Fields of a Batch with one row per event.
_EVENT_FIELDS = ("u", "cat", "y", "weight")


def to_networkx(
    batch: Data,
    event: int = 0,
    feats_per_vec: Sequence[str] | None = None,
    edge_weights: ArrayLike | None = None,
) -> nx.DiGraph:
    """Make a networkx graph of an event: its particles with their features, and an edge for every ordered pair.

    Parameters
    ----------
    batch
        A Batch, or the Data of one event.
    event
        Number of the event in the batch.
    feats_per_vec
        Names of the columns of ``x``; not needed for a Batch that knows its names.
    edge_weights
        A number for each of the n(n-1) ordered edges, by receiver, then sender, as `message_strengths` returns: the
        attribute ``weight`` of the edges.

    Returns
    -------
    networkx.DiGraph
        A node has its features by name, and its ``slot`` if the batch has one; an edge goes from the sender to the
        receiver. ``graph.graph`` holds ``u``, ``cat``, ``y`` (lists) and ``weight`` of the event, if they exist.

    Raises
    ------
    ValueError
        If the event does not exist, names are missing or contradict those of the batch, or ``edge_weights`` do not fit.

    Examples
    --------
    >>> from lumigraph import from_jagged
    >>> x, lengths = torch.tensor([[30.0, 0.0], [20.0, 5.0]]), torch.tensor([0, 2])
    >>> batch = from_jagged(x, lengths=lengths, feats_per_vec=["px", "py"])
    >>> graph = to_networkx(batch, 1)
    >>> graph.nodes[1], list(graph.edges)
    ({'px': 20.0, 'py': 5.0, 'slot': 1}, [(0, 1), (1, 0)])
    """
    feats_per_vec = feature_names(batch, feats_per_vec)
    rows = event_rows(batch, event, feats_per_vec).tolist()
    graph = nx.DiGraph(**_event_features(batch, event))
    graph.add_nodes_from((i, dict(zip(feats_per_vec, row, strict=True))) for i, row in enumerate(rows))
    if "slot" in batch and "slot" not in feats_per_vec:
        first, end = event_bounds(batch.ptr.tolist() if "ptr" in batch else [0, len(batch.x)], event)
        for i, slot in enumerate(batch.slot[first:end].tolist()):
            graph.nodes[i]["slot"] = slot
    # CompleteGraph's order: by receiver i, then sender j
    pairs = [(j, i) for i in range(len(rows)) for j in range(len(rows)) if i != j]
    graph.add_edges_from(pairs)
    if edge_weights is not None:
        for pair, value in zip(pairs, edge_values(edge_weights, len(rows)).tolist(), strict=True):
            graph.edges[pair]["weight"] = value
    return graph


def _event_features(batch: Data, event: int) -> dict[str, Any]:
    found = {name: batch[name] for name in _EVENT_FIELDS if name in batch}
    return {name: value[event].tolist() for name, value in found.items() if isinstance(value, torch.Tensor)}
