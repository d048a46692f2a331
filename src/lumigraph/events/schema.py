"""What an event is made of: the columns that are read, and the fields of the Batch they become."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral
from typing import Any

from .errors import SchemaError, near

__all__ = ["BATCH_FIELDS", "EventSchema", "cell_names", "different_names"]

#: Every field of a Batch, for B events with N particles in all.
BATCH_FIELDS: dict[str, str] = {
    "x": "(N, F) particle features",
    "slot": "(N,) place of the particle in its event, from 0; where objects are named, the index of its name in vecs",
    "u": "(B, G) continuous event features",
    "cat": "(B, C) integer categories of the event",
    "y": "(B, T) targets",
    "weight": "(B,) event weights",
    "batch": "(N,) number of the event that the particle belongs to",
    "ptr": "(B+1,) the particles of event b are the rows ptr[b] to ptr[b+1]",
}

_NAME_FIELDS = ("feats_per_vec", "vecs", "collections", "event_feats", "cat_feats", "targets", "ids")
_EXPRESSION_FIELDS = ("derived", "object_selection")


def different_names(field: str, value: Any) -> list[str]:
    """Return a list of names, or raise a SchemaError unless the value is a list of different strings."""
    names: list[Any] = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [None]
    if any(not isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise SchemaError(f"{field} must be a list of different names, got {value!r}")
    return names


def _as_names(field_: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SchemaError(f"{field_} must be a list of names, got {value!r}; write {field_}: [name, ...]")
    for name in value:
        if not isinstance(name, str) or not name:
            raise SchemaError(f"{field_} must hold non-empty names, got {name!r}")
    repeated = sorted({name for name in value if list(value).count(name) > 1})
    if repeated:
        raise SchemaError(f"{field_} must hold each name once, got {repeated[0]!r} twice")
    return tuple(value)


def _as_expressions(field_: str, value: Any) -> dict[str, str]:
    value = {} if value is None else value
    if not isinstance(value, Mapping):
        raise SchemaError(
            f"{field_} must map names to expressions, got {value!r}; write {field_}: {{name: expression}}"
        )
    for name, text in value.items():
        if not isinstance(name, str) or not name or not isinstance(text, str):
            raise SchemaError(f"{field_} must map names to expressions in quotes, got {name!r}: {text!r}")
    return dict(value)


@dataclass(frozen=True)
class EventSchema:
    """Say which columns of a table are particles, event features, categories, targets and weight.

    The column of a feature of an object is called ``{object}_{feature}``, as in ``Jet_px``. Objects come in one of
    two ways. *Named* objects (``vecs``) have one number per event in each column, and their slot is their place in
    ``vecs``. *Collections* have a list per event in each column, with any number of objects. Several collections (also
    a single object such as MET) are merged into one list of particles, in the order given.

    Parameters
    ----------
    feats_per_vec
        Features per particle: the F columns of ``x``. A feature that an object does not have is 0.
    vecs
        Named objects; not together with ``collections``.
    collections
        Collections of objects; not together with ``vecs``.
    event_feats
        Continuous features of the event: the G columns of ``u``.
    cat_feats
        Categories of the event, integers from 0: the C columns of ``cat``.
    targets
        Targets: the T columns of ``y``.
    weight
        Column of event weights; without one every event weighs 1.
    ids
        Columns that identify an event; predictions are written beside them.
    derived
        New columns by name, each an expression of columns or of earlier new ones, such as
        ``{"ht": "sum(Jet_pt)", "Jet_dphi": "delta_phi(Jet_phi, MET_phi)"}``; computed from all that a file holds,
        before any selection. See `lumigraph.data.Expression` for the syntax.
    object_selection
        Conditions by object, such as ``{"Jet": "Jet_pt > 30 and abs(Jet_eta) < 2.5"}``: objects that fail their
        condition are absent.
    event_selection
        Condition on the event, such as ``"nJet >= 4"``: events that fail it are left out. It sees the selected objects
        only, and ``n{collection}`` is their number.
    max_particles
        With ``collections``: keep this many particles of an event, the first ones, and drop the others. Heads with a
        fixed number of slots (``LorentzBoostNet``, ``agg_method='flatten'``) have this number of slots.

    Raises
    ------
    SchemaError
        If names are repeated or collide, or the arguments contradict each other.

    Examples
    --------
    >>> schema = EventSchema(collections=("MET", "Jet"), feats_per_vec=("px", "py", "pz", "E"), event_feats=("ht",))
    >>> schema.slot_names
    ('particle',)
    >>> EventSchema(vecs=("jet0", "met"), feats_per_vec=("px", "py"), event_feats=("ht",)).cont_feats
    ('ht', 'jet0_px', 'jet0_py', 'met_px', 'met_py')
    """

    feats_per_vec: Sequence[str] = ()
    vecs: Sequence[str] = ()
    collections: Sequence[str] = ()
    event_feats: Sequence[str] = ()
    cat_feats: Sequence[str] = ()
    targets: Sequence[str] = ()
    weight: str | None = None
    ids: Sequence[str] = ()
    max_particles: int | None = None
    derived: Mapping[str, str] = field(default_factory=dict, hash=False)
    object_selection: Mapping[str, str] = field(default_factory=dict, hash=False)
    event_selection: str | None = None

    def __post_init__(self) -> None:
        for name in _NAME_FIELDS:
            object.__setattr__(self, name, _as_names(name, getattr(self, name)))
        for name in _EXPRESSION_FIELDS:
            object.__setattr__(self, name, _as_expressions(name, getattr(self, name)))
        for name in self.object_selection:
            if name not in self.objects:
                raise SchemaError(f"object_selection must name objects, got {name!r}: {near(name, self.objects)}")
        if not isinstance(self.event_selection, str | None):
            raise SchemaError(f"event_selection must be an expression in quotes, got {self.event_selection!r}")
        if self.vecs and self.collections:
            raise SchemaError("give vecs (one object a name) or collections (lists of objects), not both")
        if bool(self.objects) != bool(self.feats_per_vec):
            raise SchemaError(
                f"feats_per_vec ({len(self.feats_per_vec)} names) and vecs or collections ({len(self.objects)} names) "
                "go together: give both or neither"
            )
        if not isinstance(self.weight, str | None) or self.weight == "":
            raise SchemaError(f"weight must be the name of one column, got {self.weight!r}")
        most = self.max_particles
        whole = isinstance(most, Integral) and not isinstance(most, bool)
        if most is not None and (not whole or most < 1 or not self.collections):
            raise SchemaError(
                f"max_particles must be a whole number of at least 1, and go with collections only, got {most!r}"
            )
        cells = {*cell_names(self.objects, self.feats_per_vec), *cell_names(self.slot_names, self.feats_per_vec)}
        for name in self.event_feats:
            if name in cells:
                raise SchemaError(
                    f"event_feats names {name!r}, which is also the column of an object's feature: rename one of them"
                )

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects or collections, whichever the schema has."""
        return tuple(self.vecs or self.collections)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The ``vecs`` of a head for these events: one name per slot.

        Collections without ``max_particles`` have no fixed number of slots: the single name ``particle`` then stands
        for every particle, and the head must take any multiplicity.
        """
        if not self.collections:
            return tuple(self.vecs)
        if self.max_particles is None:
            return ("particle",)
        return tuple(f"particle{i}" for i in range(self.max_particles))

    @property
    def cont_feats(self) -> tuple[str, ...]:
        """Names of all continuous inputs of a model: event features, then the cells of each slot."""
        return tuple(self.event_feats) + tuple(cell_names(self.slot_names, self.feats_per_vec))

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain lists, strings and numbers."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in plain.items() if k not in (*_EXPRESSION_FIELDS, "event_selection") or v}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EventSchema":
        """Build a schema from plain lists, strings and numbers, such as a configuration file holds.

        Raises
        ------
        SchemaError
            If a key is unknown, or its value is not what the field takes.
        """
        if not isinstance(values, Mapping):
            raise SchemaError(f"a schema must map its entries to their values, got {values!r}")
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise SchemaError(f"the schema has no entry {key!r}: {near(key, known)}")
        return cls(**values)


def cell_names(vecs: Sequence[str], feats_per_vec: Sequence[str]) -> list[str]:
    """Return the names ``{vec}_{feat}``, object by object.

    Raises
    ------
    SchemaError
        If two cells would have the same name.

    Examples
    --------
    >>> cell_names(["jet", "met"], ["px", "py"])
    ['jet_px', 'jet_py', 'met_px', 'met_py']
    """
    owners: dict[str, tuple[str, str]] = {}
    for vec in different_names("vecs", vecs):
        for feat in different_names("feats_per_vec", feats_per_vec):
            name = f"{vec}_{feat}"
            if name in owners:
                raise SchemaError(
                    f"{owners[name]} and {(vec, feat)} both read the column {name!r}: rename one object or feature"
                )
            owners[name] = (vec, feat)
    return list(owners)
