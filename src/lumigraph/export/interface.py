"""Inputs and outputs of an exported model: names, shapes and meaning of its tensors."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from ..blocks import AbsMatrixHead, CatEmbHead, MultiHead
from ..events.batches import particles_of
from ..events.errors import near
from ..events.graph import ptr_to_slot
from ..events.particles import rows_of_particles
from ..model.builder import ModelBuilder
from ..model.prediction import named_scores
from ..version import __version__

__all__ = ["Form", "Interface", "heads_of"]

#: Layout of particles: ``padded``, a matrix with a mask; ``jagged``, those of all events concatenated, with their
#: number per event.
Form = Literal["padded", "jagged"]

_UNITS = "energies, momenta and masses in GeV (c = 1), angles in radians, four-momenta (px, py, pz, E), as in training"
_FEATURES = (
    "particles are those of vecs or collections of the schema, in this order, of collections the first max_particles; "
    "a feature is the column {object}_{feature} of the data, or 0 if an object does not have it; those of px, py, pz, "
    "E, pt, eta, phi, mass not in the data are computed from the others (without eta or pz in the transverse plane, "
    "without mass and E massless); log_pt, log_E: natural logarithm, cut off below 0.001 GeV; is_{object}: 1 for that "
    "object; kind: its number in the schema"
)
_REFUSED = "an event that the model refuses (NaN, unknown category, too many particles, E < |p|) has the output NaN"


def heads_of(head: nn.Module) -> tuple[CatEmbHead | None, AbsMatrixHead | None]:
    """Return the head for event features and the head for particles, each None if missing.

    Raises
    ------
    TypeError
        If a head cannot be exported because it has no `embed` for plain tensors.
    """
    parts = (head.flat_head, head.matrix_head) if isinstance(head, MultiHead) else (head,)
    events = [part for part in parts if isinstance(part, CatEmbHead)]
    particles = [part for part in parts if isinstance(part, AbsMatrixHead)]
    for part in parts:
        if not isinstance(part, CatEmbHead | AbsMatrixHead):
            raise TypeError(
                f"{type(part).__name__} cannot be exported: it has no embed for plain tensors: inherit from "
                "AbsMatrixHead or CatEmbHead"
            )
    return (events[0] if events else None), (particles[0] if particles else None)


@dataclass(frozen=True)
class Interface:
    """Names, shapes and meaning of inputs and outputs.

    Parameters
    ----------
    form
        Layout of particles.
    particle_feats, slots
        Features per particle; names of the slots, a single name for any number of slots. Empty without particles.
    max_particles
        Largest number of particles of an event, None for no limit.
    event_feats
        Continuous features of the event.
    categories
        Cardinality of each category, by name.
    outputs
        Names of the outputs, as in `lumigraph.Model.score_columns`.
    objective
        Kind of prediction.
    dtype
        Precision of features and outputs.
    schema
        Columns that the model reads from files, as plain data.
    """

    form: Form
    particle_feats: tuple[str, ...]
    slots: tuple[str, ...]
    max_particles: int | None
    event_feats: tuple[str, ...]
    categories: dict[str, int]
    outputs: tuple[str, ...]
    objective: str
    dtype: torch.dtype
    schema: dict[str, Any] | None

    @classmethod
    def of(cls, module: nn.Sequential, description: ModelBuilder, form: Form) -> "Interface":
        """Return the interface of head, body and tail."""
        if form not in get_args(Form):
            raise ValueError(f"form must be 'padded' or 'jagged', got {form!r}: {near(form, get_args(Form))}")
        events, particles = heads_of(module[0])
        event_feats: list[str] = []
        if events is not None:
            event_feats = events.cont_feats if events.input_mask is None else description.input_feats
        names = named_scores(torch.empty(0, description.n_out).numpy(), description.objective, description.targets)
        floating = (t.dtype for t in module.parameters() if t.is_floating_point())
        return cls(
            form=form,
            particle_feats=() if particles is None else tuple(particles.feats_per_vec),
            slots=() if particles is None else tuple(particles.vecs),
            max_particles=None if particles is None else particles.max_particles,
            event_feats=tuple(event_feats),
            categories={} if events is None else {n: size for n, size, _ in events.cat_embedder},
            outputs=tuple(names),
            objective=description.objective,
            dtype=next(floating, torch.get_default_dtype()),
            schema=None if description.schema is None else description.schema.to_dict(),
        )

    @property
    def inputs(self) -> dict[str, tuple[str | int, ...]]:
        """Shape of each input by name, in order; a name in a shape stands for any size."""
        shapes: dict[str, tuple[str | int, ...]] = {}
        if self.particle_feats and self.form == "padded":
            shapes = {"rows": ("events", "slots", len(self.particle_feats)), "mask": ("events", "slots")}
        elif self.particle_feats:
            shapes = {"values": ("particles", len(self.particle_feats)), "lengths": ("events",)}
        if self.event_feats:
            shapes["u"] = ("events", len(self.event_feats))
        if self.categories:
            shapes["cat"] = ("events", len(self.categories))
        return shapes

    @property
    def output(self) -> str:
        """Name of the output tensor: that of its column, ``scores`` if there are several."""
        return self.outputs[0] if len(self.outputs) == 1 else "scores"

    def of_batch(self, batch: Batch, num_slots: int | None = None) -> dict[str, Tensor]:
        """Return the inputs for the events of a Batch; for ``padded``, in a given number of slots if it is set.

        Raises
        ------
        ValueError
            If ``jagged`` would lose the slots of particles, which the head uses.
        """
        found: dict[str, Tensor] = {}
        if self.particle_feats:
            particles = particles_of(batch)
            if self.form == "padded":
                rows, found["mask"] = rows_of_particles(particles, num_slots)
                found = {"rows": rows.to(self.dtype), **found}
            else:
                if self.max_particles is not None and not torch.equal(particles.slot, ptr_to_slot(particles.ptr)):
                    raise ValueError(
                        "form='jagged' puts the particles of an event into its first slots, but some events have empty "
                        "slots before or between their particles: use form='padded'"
                    )
                found = {"values": particles.x.to(self.dtype), "lengths": particles.ptr.diff()}
        if self.event_feats:
            found["u"] = batch.u.to(self.dtype)
        if self.categories:
            found["cat"] = batch.cat
        return found

    def describe(self) -> dict[str, Any]:
        """Return the interface as plain data for an exported file, so that its reader needs nothing else."""
        columns = {
            "rows": self.particle_feats, "values": self.particle_feats, "u": self.event_feats,
            "cat": tuple(self.categories),
        }  # fmt: skip
        kinds = {"mask": "bool", "lengths": "int64", "cat": "int64"}
        precision = str(self.dtype).removeprefix("torch.")
        inputs = {
            name: {
                "shape": list(shape),
                "dtype": kinds.get(name, precision),
                **({"columns": list(columns[name])} if name in columns else {}),
            }
            for name, shape in self.inputs.items()
        }
        return {
            "lumigraph": __version__,
            "objective": self.objective,
            "form": self.form,
            "inputs": inputs,
            "slots": list(self.slots),
            "max_particles": self.max_particles,
            "categories": self.categories,
            "output": {"name": self.output, "shape": ["events", len(self.outputs)], "columns": list(self.outputs)},
            "units": _UNITS,
            "features": _FEATURES,
            "refused": _REFUSED,
            "schema": self.schema,
        }
