"""The contract: what every public head, body and tail promises, checked on each of them.

A new block inherits all checks by a line in BLOCKS that says what it takes and what it promises.
"""

import copy
import inspect
import io
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only
from torch_geometric.data import Data

import lumigraph.blocks
from lumigraph.blocks import (
    AbsBlock,
    AbsBody,
    AbsConv1dHead,
    AbsHead,
    AbsTail,
    AutoExtractLorentzBoostNet,
    CatEmbedder,
    CatEmbHead,
    ClassRegMulti,
    FullyConnected,
    InteractionNet,
    LorentzBoostNet,
    MultiBlock,
    MultiHead,
    RecurrentHead,
)
from lumigraph.events.adapters import from_rows
from lumigraph.nn import Scaling, Standardise
from lumigraph.testing import check_symmetry

# float64 throughout: only the order of sums may differ; single precision where it is the subject
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
CLOSE_SINGLE = {"rtol": 1e-3, "atol": 1e-3}

SLOTS = 30
VECS = ["met", *(f"jet{i}" for i in range(SLOTS - 1))]
FEATS = ["px", "py", "pz", "E", "btag"]
MISSING = ["met_pz", "met_btag"]  # columns that no table has: they are 0
EVENT_FEATS = ["ht", "aplanarity"]
CAT_FEATS, CAT_SZS = ["channel", "flavour"], [3, 5]
WIDTH = 6  # of the vectors that bodies and tails take

# particles per event: 0, 1, 2 and as many as there are slots; an empty event first, in the middle and last
RAGGED = (0, 2, 1, 0, SLOTS, 0)
FULL = (3, SLOTS, 2, 5, 1)


# ------------------------------------------------------------------------------------------------------- the events


@dataclass(frozen=True)
class Events:
    """The same events for every block, NaN where there is no particle."""

    rows: Tensor  # (B, slots, FEATS)
    mask: Tensor  # (B, slots)
    u: Tensor  # (B, EVENT_FEATS)
    cat: Tensor  # (B, CAT_FEATS)
    vectors: Tensor  # (B, WIDTH)

    def __getitem__(self, which: Any) -> "Events":
        return Events(*(getattr(self, field)[which] for field in self.__dataclass_fields__))

    def to(self, dtype: torch.dtype) -> "Events":
        return replace(self, rows=self.rows.to(dtype), u=self.u.to(dtype), vectors=self.vectors.to(dtype))

    def __len__(self) -> int:
        return len(self.u)


def make_events(multiplicities: Sequence[int] = RAGGED, seed: int = 1, slots: int = SLOTS) -> Events:
    """Events with so many particles, spread over the slots, with physical four-momenta."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    b = len(multiplicities)
    rows = normal(b, slots, len(FEATS))
    rows[:, 0, [2, 4]] = 0.0  # what MISSING says
    rows[:, :, 3] = (rows[:, :, :3].square().sum(-1) + 0.5 + normal(b, slots).square()).sqrt()
    mask = torch.zeros(b, slots, dtype=torch.bool)
    for event, n in enumerate(multiplicities):
        mask[event, torch.randperm(slots, generator=random)[:n]] = True
    rows[~mask] = torch.nan
    cat = torch.stack([torch.randint(size, (b,), generator=random) for size in CAT_SZS], dim=1)
    return Events(rows, mask, normal(b, len(EVENT_FEATS)), cat, normal(b, WIDTH))


# ------------------------------------------------------------------------------------------------------- the blocks


@dataclass(frozen=True)
class Case:
    """One block, and what it promises."""

    make: Callable[..., AbsBlock]
    #: takes particles with so many of FEATS; 0: none
    particle_feats: int = 0
    #: takes event features and categories
    event_feats: bool = False
    #: the flat input is not ordered event features first
    interleaved: bool = False
    #: any number of particles, not only as many as there are slots
    any_multiplicity: bool = False
    #: the particles may stand in any order
    symmetric: bool = False
    #: how many of the first features per particle are taken as they are, whatever set_scaling says
    unscaled: int = 0

    def build(self, **changes: Any) -> AbsBlock:
        """Return the block, generic: no bias is 0, no batch normalisation the identity."""
        names = {"cont_feats": self.cont_feats()} if self.is_head and "cont_feats" not in changes else {}
        block = self.make(**names, **changes)
        with torch.no_grad():
            for p in block.parameters():
                p.add_(0.1 * torch.randn_like(p))
            for module in block.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.running_mean.normal_(std=0.3)
                    module.running_var.uniform_(0.5, 2.0)
        return block.double().eval()

    @property
    def is_head(self) -> bool:
        return bool(self.particle_feats or self.event_feats)

    @property
    def takes_particles(self) -> bool:
        return self.particle_feats > 0

    @property
    def is_slotted(self) -> bool:
        return self.takes_particles and not self.any_multiplicity

    def cont_feats(self, vecs: Sequence[str] = VECS) -> list[str]:
        """Return the names of the continuous columns of a flat input."""
        cells = [f"{v}_{f}" for v in vecs for f in FEATS[: self.particle_feats]]
        cells = [name for name in cells if name not in MISSING]
        event = EVENT_FEATS if self.event_feats else []
        return [cells[0], event[0], *cells[1:], *event[1:]] if self.interleaved else [*event, *cells]

    def forms(self, block: AbsBlock, events: Events, vecs: Sequence[str] = VECS) -> dict[str, Any]:
        """Return the events in every form that the block takes."""
        if not self.is_head:
            return {"vectors": events.vectors}
        column = {f"{v}_{f}": events.rows[:, i, j] for i, v in enumerate(vecs) for j, f in enumerate(FEATS)}
        column |= {name: events.u[:, i] for i, name in enumerate(EVENT_FEATS)}
        codes = list(events.cat.to(events.u.dtype).unbind(1)) if self.event_feats else []
        flat = torch.stack([column[name] for name in self.cont_feats(vecs)] + codes, dim=1)
        pair = (torch.stack([*events.u.unbind(1), *codes], dim=1) if self.event_feats else None, None)
        if self.takes_particles:
            rows = events.rows[:, :, : self.particle_feats]
            row_wise = getattr(block, "matrix_head", block).row_wise
            pair = (pair[0], rows if row_wise else rows.transpose(1, 2))
        return {"flat": flat, "tuple": pair, "list": list(pair), "Batch": self.batch(events)}

    def batch(self, events: Events, rows: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """Return the events as a Batch, with other particles if they are given."""
        rows, mask = (events.rows, events.mask) if rows is None else (rows, mask)
        fields = {"u": events.u, "cat": events.cat} if self.event_feats else {}
        return from_rows(rows[:, :, : self.particle_feats or None], mask=mask, **fields)


P4 = FEATS[:4]


def interaction(agg_method: str, bn: bool, particle_feats: int = 4, **options: Any) -> Case:
    make = partial(
        InteractionNet, vecs=VECS, feats_per_vec=FEATS[:particle_feats], intfunc_depth=2, intfunc_width=6,
        intfunc_out_sz=4, outfunc_depth=2, outfunc_width=5, outfunc_out_sz=3, agg_method=agg_method, bn=bn, act="swish",
        **options,
    )  # fmt: skip
    free = agg_method != "flatten"
    symmetric = free and not options.get("legacy_edges")
    unscaled = 4 if options.get("node_feats") else 0
    return Case(make, particle_feats, any_multiplicity=free, symmetric=symmetric, unscaled=unscaled)


class Convolutions(AbsConv1dHead):
    """All kinds of convolutions that lumigraph has, even kernels and strides among them."""

    def get_layers(self, in_c, act="relu", bn=False, pool=True, **kargs):
        layers = [
            self.get_conv1d_block(in_c, 6, kernel_sz=4, act=act, bn=bn),
            self.get_conv1d_res_block(6, 6, kernel_sz=3, act=act, bn=bn),
            self.get_conv1d_res_block(6, 8, kernel_sz=2, stride=2, act=act, bn=bn),
            self.get_conv1d_resNeXt_block(8, 3, 2, 8, kernel_sz=3, act=act, bn=bn),
        ]
        return nn.Sequential(*layers, *([nn.AdaptiveAvgPool1d(1)] if pool else []))


def convolutions(pool: bool, bn: bool) -> Case:
    make = partial(Convolutions, vecs=VECS, feats_per_vec=P4, act="swish", bn=bn, layer_kargs={"pool": pool})
    return Case(make, 4)


def recurrent(rnn: type[nn.RNNBase], **options: Any) -> Case:
    make = partial(RecurrentHead, vecs=VECS, feats_per_vec=FEATS, depth=2, width=4, rnn=rnn, **options)
    return Case(make, 5, any_multiplicity=not options.get("stateful"))


def lorentz(particle_feats: int, bn: bool, block: type[LorentzBoostNet] = LorentzBoostNet, **options: Any) -> Case:
    make = partial(block, vecs=VECS, feats_per_vec=FEATS[:particle_feats], n_particles=3, bn=bn, **options)
    return Case(make, particle_feats, unscaled=4)


def multi(matrix: Case) -> Case:
    parameters = inspect.signature(matrix.make.func).parameters
    arguments = {name: value for name, value in matrix.make.keywords.items() if name in parameters}
    make = partial(
        MultiHead, matrix_head=matrix.make.func, cat_embedder=CatEmbedder(CAT_FEATS, CAT_SZS), **arguments
    )  # fmt: skip
    return replace(matrix, make=make, event_feats=True, interleaved=True)


def connected(**arguments: Any) -> Case:
    feat_map = {f"f{i}": [i] for i in range(WIDTH)}
    return Case(partial(FullyConnected, WIDTH, feat_map, depth=5, width=7, act="swish", **arguments))


def blocks_of_bodies(**arguments: Any) -> Case:
    feat_map = {f"f{i}": [i] for i in range(WIDTH)}
    parts = [
        partial(FullyConnected, depth=2, width=4, act="swish"),
        partial(FullyConnected, depth=3, width=3, act="swish", res=True, bn=True),
    ]
    names = [["f0", "f3", "f4"], ["f1", "f2", "f5"]]
    return Case(partial(MultiBlock, WIDTH, feat_map, blocks=parts, feats_per_block=names, **arguments))


BLOCKS: dict[str, Case] = {
    "CatEmbHead": Case(partial(CatEmbHead, cat_embedder=CatEmbedder(CAT_FEATS, CAT_SZS)), event_feats=True),
    **{
        f"InteractionNet-{agg}{'-bn' if bn else ''}": interaction(agg, bn)
        for agg in ("sum", "mean", "max", "attention", "flatten")
        for bn in (False, True)
    },
    "InteractionNet-layers-bn": interaction("mean", bn=True, n_layers=3),
    "InteractionNet-legacy-bn": interaction("sum", bn=True, legacy_edges=True),
    "InteractionNet-kinematics": interaction("mean", bn=False, particle_feats=5, node_feats=True, pair_feats=True),
    "InteractionNet-kinematics-bn": interaction("mean", bn=True, node_feats=True, pair_feats=True, n_layers=2),
    "RecurrentHead-RNN": recurrent(nn.RNN),
    "RecurrentHead-LSTM-bidirectional": recurrent(nn.LSTM, bidirectional=True),
    "RecurrentHead-GRU-bidirectional": recurrent(nn.GRU, bidirectional=True),
    "RecurrentHead-GRU-stateful": recurrent(nn.GRU, stateful=True),
    "AbsConv1dHead": convolutions(pool=True, bn=False),
    "AbsConv1dHead-bn": convolutions(pool=True, bn=True),
    "AbsConv1dHead-flat-bn": convolutions(pool=False, bn=True),
    "LorentzBoostNet": lorentz(4, bn=False),
    "LorentzBoostNet-bn": lorentz(4, bn=True),
    "LorentzBoostNet-further": lorentz(5, bn=False),
    "LorentzBoostNet-further-bn": lorentz(5, bn=True),
    "LorentzBoostNet-product": lorentz(4, bn=True, mode="product", n_frames=2),
    "LorentzBoostNet-combinations": lorentz(4, bn=False, mode="combinations", feat_extractor=["E", "m", "pair_cos"]),
    **{
        f"AutoExtractLorentzBoostNet{'-bn' if bn else ''}": lorentz(
            5, bn, AutoExtractLorentzBoostNet, depth=2, width=5, n_singles=2, n_pairs=3
        )
        for bn in (False, True)
    },
    "MultiHead-RecurrentHead": multi(recurrent(nn.LSTM)),
    "MultiHead-AutoExtractLorentzBoostNet": multi(
        lorentz(4, True, AutoExtractLorentzBoostNet, depth=1, width=5, n_singles=2, n_pairs=0)
    ),
    "MultiHead-InteractionNet-sum": multi(interaction("sum", bn=False)),
    "MultiHead-InteractionNet-flatten-bn": multi(interaction("flatten", bn=True, particle_feats=5)),
    "MultiHead-LorentzBoostNet": multi(lorentz(5, bn=True)),
    "FullyConnected": connected(growth_rate=-0.1),
    "FullyConnected-bn": connected(bn=True),
    "FullyConnected-res": connected(res=True),
    "FullyConnected-res-bn": connected(res=True, bn=True),
    "FullyConnected-dense": connected(dense=True, growth_rate=0.2),
    "FullyConnected-dense-bn": connected(dense=True, bn=True),
    "MultiBlock": blocks_of_bodies(),
    "MultiBlock-bottleneck": blocks_of_bodies(bottleneck_sz=2, bottleneck_act="swish"),
    "ClassRegMulti-classification": Case(partial(ClassRegMulti, WIDTH, 2, "classification")),
    "ClassRegMulti-multiclass": Case(partial(ClassRegMulti, WIDTH, 3, "multiclass")),
    "ClassRegMulti-regression": Case(partial(ClassRegMulti, WIDTH, 2, "regression")),
    "ClassRegMulti-regression-range": Case(partial(ClassRegMulti, WIDTH, 2, "regression", y_range=(-1.0, 4.0))),
    "ClassRegMulti-regression-moments": Case(partial(ClassRegMulti, WIDTH, 2, "regression", y_mean=3.0, y_std=2.0)),
}


def every(promise: str | None = None) -> pytest.MarkDecorator:
    """Run a test on every block that makes a promise."""
    chosen = [pytest.param(case, id=name) for name, case in BLOCKS.items() if promise is None or getattr(case, promise)]
    return pytest.mark.parametrize("case", chosen)


def scale(block: AbsBlock, case: Case) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Standardise the inputs of a head with constants that are far from 0 and 1."""
    u = torch.tensor([2.0, -1.0]).double(), torch.tensor([3.0, 0.5]).double()
    n = case.particle_feats
    x = torch.linspace(1.0, 3.0, n).double(), torch.linspace(0.5, 4.0, n).double()
    block.set_scaling(u=u if case.event_feats else None, x=x if n else None)
    return u, x


def transform(block: AbsBlock, case: Case) -> tuple[Scaling, Scaling]:
    """Do to the inputs of a head all that can be done: limits, logarithms, shift, scale and a limit again."""

    def steps(n: int, raw: int) -> Scaling:
        names = [None if i < raw else ("log", "symlog", None)[i % 3] for i in range(n)]
        high = torch.tensor([math.inf if i < raw else 0.5 + i for i in range(n)]).double()
        return Scaling(torch.linspace(-1, 3, n).double(), torch.linspace(0.5, 4, n).double(), None, high, names, 2.0)

    u, x = steps(len(EVENT_FEATS), 0), steps(case.particle_feats, case.unscaled)
    block.set_scaling(u=u if case.event_feats else None, x=x if case.particle_feats else None)
    return u, x


def out_shape(block: AbsBlock) -> tuple[int, ...]:
    """Return the shape of the output for one event."""
    size = block.get_out_size()
    return size if isinstance(size, tuple) else (size,)


def loss(y: Tensor) -> Tensor:
    """Return a number that depends on every output, each with a weight of its own."""
    return (y * torch.linspace(0.5, 2.0, y.numel(), dtype=y.dtype).cos().view_as(y)).sum()


# -------------------------------------------------------------------------------------------------------- the table


def test_every_public_block_is_in_the_table():
    public = [getattr(lumigraph.blocks, name) for name in lumigraph.blocks.__all__]
    promised = [cls for cls in public if inspect.isclass(cls) and issubclass(cls, AbsHead | AbsBody | AbsTail)]
    listed = {type(case.build()) for case in BLOCKS.values()}
    for cls in promised:
        assert any(issubclass(block, cls) if inspect.isabstract(cls) else block is cls for block in listed), cls


# ---------------------------------------------------------------------------------------------------- in and out


@every()
def test_the_output_has_one_row_per_event_and_the_width_that_the_block_says(case):
    block, events = case.build(), make_events()
    assert all(type(size) is int for size in out_shape(block))
    for form, x in case.forms(block, events).items():
        assert block(x).shape == (len(events), *out_shape(block)), form


@every()
def test_no_events_give_no_rows(case):
    block = case.build()
    for form, x in case.forms(block, make_events()[:0]).items():
        assert block(x).shape == (0, *out_shape(block)), form


@every("is_head")
def test_every_form_of_input_gives_the_same_output(case):
    block = case.build()
    outputs = {form: block(x) for form, x in case.forms(block, make_events()).items()}
    for form, y in outputs.items():
        torch.testing.assert_close(y, outputs["Batch"], **CLOSE, msg=lambda text, form=form: f"{form}: {text}")


@every("is_head")
def test_feat_map_names_every_input_and_reaches_every_output(case):
    block = case.build()
    expected = {*case.cont_feats(), *(CAT_FEATS if case.event_feats else [])}
    assert set(block.feat_map) == expected
    assert {i for columns in block.feat_map.values() for i in columns} == set(range(math.prod(out_shape(block))))


@every("is_head")
def test_head_body_and_tail_fit_together(case):
    head = case.build()
    body = FullyConnected(math.prod(out_shape(head)), head.feat_map, depth=2, width=4, act="swish")
    tail = ClassRegMulti(body.get_out_size(), 2, "multiclass")
    model = nn.Sequential(head, nn.Flatten(), body, tail).double().eval()
    events = make_events()
    prediction = model(case.forms(head, events)["Batch"]).exp()
    torch.testing.assert_close(prediction.sum(1), torch.ones(len(events)).double(), **CLOSE)


@every()
def test_the_input_is_left_as_it_was(case):
    block, events = case.build().train(), make_events(FULL)
    x = next(iter(case.forms(block, events).values()))
    before = x.clone()
    block(x)
    assert torch.equal(x, before) or torch.equal(x.nan_to_num(7.0), before.nan_to_num(7.0))


# ---------------------------------------------------------------------------------------------- events are separate


@every()
def test_events_together_give_what_they_give_apart(case):
    block, events = case.build(), make_events()
    for form, x in case.forms(block, events).items():
        together = block(x)
        apart = [block(case.forms(block, events[[i]])[form]) for i in range(len(events))]
        torch.testing.assert_close(together, torch.cat(apart), **CLOSE)
        halves = [block(case.forms(block, events[part])[form]) for part in (slice(0, 3), slice(3, None))]
        torch.testing.assert_close(together, torch.cat(halves), **CLOSE)


@every()
def test_an_event_has_a_gradient_in_its_own_output_only(case):
    block, events = case.build(), make_events()
    for field in ("rows", "u", "vectors"):
        getattr(events, field).requires_grad_()
    used = {"rows": case.takes_particles, "u": case.event_feats, "vectors": not case.is_head}
    for form, x in case.forms(block, events).items():
        y = block(x)
        for event in range(len(events)):
            wanted = [getattr(events, field) for field, is_used in used.items() if is_used]
            for gradient in torch.autograd.grad(loss(y[event]), wanted, retain_graph=True):
                others = torch.arange(len(events)) != event
                assert bool((gradient[others] == 0).all()), form
                assert bool(gradient[event].isfinite().all()), form
                is_particles = gradient.dim() == 3
                if is_particles:
                    assert bool((gradient[event][~events.mask[event]] == 0).all()), form
                if not is_particles or bool(events.mask[event].any()):
                    assert bool((gradient[event] != 0).any()), form


# --------------------------------------------------------------------------------------- padding, order, multiplicity


@every("takes_particles")
@pytest.mark.parametrize("prepare", [None, scale, transform], ids=["raw", "scaled", "transformed"])
def test_what_stands_in_a_masked_place_has_no_influence(case, prepare):
    block, events = case.build(), make_events()
    if prepare is not None:
        prepare(block, case)
    expected = block(case.batch(events))
    for garbage in (0.0, 1e30, torch.inf, torch.nan):
        rows = events.rows.clone()
        rows[~events.mask] = garbage
        assert torch.equal(block(case.batch(events, rows, events.mask)), expected), garbage


@every("takes_particles")
@pytest.mark.parametrize("prepare", [None, scale, transform], ids=["raw", "scaled", "transformed"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_further_padding_slots_have_no_influence(case, prepare, training):
    block, events = case.build(), make_events()
    if prepare is not None:
        prepare(block, case)
    more = torch.cat([events.rows, torch.full_like(events.rows[:, :10], torch.nan)], dim=1)
    mask = torch.cat([events.mask, torch.zeros_like(events.mask[:, :10])], dim=1)
    other = copy.deepcopy(block)
    expected = block.train(training)(case.batch(events))
    # vectorised scaling and logarithms may differ in the last digit by the place of a number, nothing else may
    exact = {"rtol": 0.0, "atol": 0.0} if prepare is None else CLOSE
    torch.testing.assert_close(other.train(training)(case.batch(events, more, mask)), expected, **exact)
    for mine, theirs in zip(block.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **exact)
    if not training:
        pair = case.forms(block, replace(events, rows=more, mask=mask))["tuple"]
        torch.testing.assert_close(block(pair), expected, **exact)


@every("takes_particles")
def test_an_event_without_particles_gives_the_same_whatever_its_company(case):
    block, events = case.build(), make_events()
    y = block(case.batch(replace(events, u=events.u * 0, cat=events.cat * 0)))
    empty = ~events.mask.any(1)
    assert bool(y.isfinite().all())
    torch.testing.assert_close(y[empty], y[empty][:1].expand_as(y[empty]), **CLOSE)


@every("takes_particles")
def test_the_order_of_particles_matters_where_it_should_and_their_surroundings_nowhere(case):
    block, events = case.build(), make_events()
    report = check_symmetry(block, ["permutation", "padding"], inputs=case.batch(events), tolerance=1e-10, trials=1)
    assert report["padding"], report["padding"].explain()
    assert report["permutation"].holds == case.symmetric


@every("symmetric")
def test_the_slots_of_particles_do_not_matter(case):
    block, events = case.build(), make_events()
    order = torch.randperm(SLOTS, generator=torch.Generator().manual_seed(0))
    y = block(case.batch(events, events.rows[:, order], events.mask[:, order]))
    torch.testing.assert_close(y, block(case.batch(events)), **CLOSE)


@every("takes_particles")
def test_the_order_of_rows_does_not_matter_when_they_keep_their_slots(case):
    block, events = case.build(), make_events()
    batch = case.batch(events)
    expected = block(batch)
    shuffled = torch.randperm(batch.x.size(0))
    order = shuffled[batch.batch[shuffled].argsort(stable=True)]
    assert not torch.equal(batch.slot[order], batch.slot)
    batch.x, batch.slot = batch.x[order], batch.slot[order]
    torch.testing.assert_close(block(batch), expected, **CLOSE)


@every("any_multiplicity")
def test_a_head_without_fixed_slots_takes_more_particles_than_it_has_names(case):
    block, events = case.build(), make_events()
    small = case.build(vecs=VECS[:2], cont_feats=case.cont_feats(VECS[:2]))
    small.load_state_dict(block.state_dict())
    torch.testing.assert_close(small(case.batch(events)), block(case.batch(events)), **CLOSE)


@every("is_slotted")
def test_more_particles_than_slots_are_refused(case):
    block, events = case.build(), make_events(FULL)
    more = torch.cat([events.rows, events.rows[:, :1]], dim=1)
    mask = torch.cat([events.mask, torch.zeros_like(events.mask[:, :1])], dim=1)
    more[3, SLOTS], mask[3, SLOTS] = events.rows[1, 0], True
    with pytest.raises(ValueError, match=f"event 3: there is a particle in slot {SLOTS}, but there are {SLOTS} slots"):
        block(case.batch(events, more, mask))


# ---------------------------------------------------------------------------------------------------------- numbers


@every()
def test_the_output_has_the_precision_of_the_block(case):
    single, events = case.build().float(), make_events()
    double = copy.deepcopy(single).double()
    for tensor in (*double.parameters(), *double.buffers()):
        assert tensor.dtype == torch.float64 or not tensor.is_floating_point()
    lower = case.forms(single, events.to(torch.float32))
    for form, x in case.forms(double, events).items():
        y, z = double(x), single(lower[form])
        assert (y.dtype, z.dtype) == (torch.float64, torch.float32), form
        torch.testing.assert_close(z.double(), y, **CLOSE_SINGLE)


@every()
def test_double_precision_is_kept_on_the_way(case):
    block, events = case.build(), make_events()
    x = next(iter(case.forms(block, events).values()))
    used = {"rows": case.takes_particles, "u": case.event_feats, "vectors": not case.is_head}
    for field in (name for name, is_used in used.items() if is_used):
        # less than single precision can tell apart
        shifted = replace(events, **{field: getattr(events, field) * (1 + 1e-11)})
        changed = block(next(iter(case.forms(block, shifted).values()))) != block(x)
        assert bool(changed[events.mask.any(1) if field == "rows" else slice(None)].any(1).all()), field


@every()
def test_strides_do_not_matter(case):
    def turned(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.transpose(0, -1).contiguous().transpose(0, -1) if x.dim() > 1 else x
        if isinstance(x, tuple | list):
            return type(x)(turned(part) for part in x)
        return None if x is None else x.clone().apply(turned)

    block, events = case.build(), make_events()
    for form, x in case.forms(block, events).items():
        y = turned(x)
        inner = {"Batch": lambda y: y.x, "flat": lambda y: y, "vectors": lambda y: y}.get(form)
        if inner is not None:
            assert not inner(y).is_contiguous(), form
        torch.testing.assert_close(block(y), block(x), **CLOSE)


@every()
def test_the_same_input_gives_the_same_bits(case):
    block, events = case.build(), make_events()
    for form, x in case.forms(block, events).items():
        assert torch.equal(block(x), block(x)), form


@every("is_head")
def test_scaling_is_the_same_in_every_form_of_input(case):
    block, events = case.build(), make_events()
    plain = copy.deepcopy(block)
    (u_mean, u_std), (x_mean, x_std) = scale(block, case)
    rows, n = events.rows.clone(), case.unscaled
    scaled = (rows[..., : case.particle_feats] - x_mean) / x_std
    rows[..., n : case.particle_feats] = scaled[..., n:]
    by_hand = plain(case.batch(replace(events, u=(events.u - u_mean) / u_std), rows, events.mask))
    if case.event_feats or case.particle_feats > n:
        assert not torch.allclose(by_hand, plain(case.batch(events)))
    for x in case.forms(block, events).values():
        torch.testing.assert_close(block(x), by_hand, **CLOSE)


@every("is_head")
def test_transforms_and_limits_are_the_same_in_every_form_of_input(case):
    block, events = case.build(), make_events()
    plain, n = copy.deepcopy(block), case.unscaled
    rows, scaled = events.rows.clone(), {}
    for name, scaling, values in zip("ux", transform(block, case), (events.u, rows), strict=True):
        layer = Standardise(len(scaling.mean)).double()
        layer.set(*scaling)
        scaled[name] = layer(values[..., : len(scaling.mean)])
    rows[..., n : case.particle_feats] = scaled["x"][..., n:]
    by_hand = plain(case.batch(replace(events, u=scaled["u"]), rows, events.mask))
    for x in case.forms(block, events).values():
        torch.testing.assert_close(block(x), by_hand, **CLOSE)


# --------------------------------------------------------------------------------------------- parameters and state


@every()
def test_freeze_freezes_everything_and_unfreeze_resumes_it(case):
    block = case.build(freeze=True)
    assert not any(p.requires_grad for p in block.parameters())
    assert sum(p.numel() for p in block.parameters()) > 0
    block.unfreeze_layers()
    assert all(p.requires_grad for p in block.parameters())
    block.freeze_layers()
    assert not any(p.requires_grad for p in block.parameters())


@every()
def test_parameters_are_counted(case):
    block = case.build()
    everything = sum(p.numel() for p in block.parameters())
    assert block.get_param_count() == block.get_param_count(trainable=False) == everything
    first = next(block.parameters()).requires_grad_(False)
    assert block.get_param_count() == everything - first.numel()
    assert block.get_param_count(trainable=False) == everything
    block.freeze_layers()
    assert block.get_param_count() == 0
    assert block.get_param_count(trainable=False) == everything


@every()
def test_a_saved_state_makes_a_fresh_block_the_same(case):
    block, events = case.build(), make_events()
    if case.is_head:
        transform(block, case)
    file = io.BytesIO()
    torch.save(block.state_dict(), file)
    file.seek(0)
    fresh = case.build()
    x = next(iter(case.forms(block, events).values()))
    assert not torch.equal(fresh(x), block(x))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(x), block(x))


@every()
def test_everything_moves_to_another_device(case):
    block = case.build()
    if case.is_head:
        transform(block, case)
    before = {name: tensor.shape for name, tensor in (*block.named_parameters(), *block.named_buffers())}
    moved = block.to("meta")
    tensors = dict([*moved.named_parameters(), *moved.named_buffers()])
    assert {name: tensor.shape for name, tensor in tensors.items()} == before
    assert all(tensor.is_meta for tensor in tensors.values())
    for module in moved.modules():  # and no tensor stands beside parameters and buffers, where it would stay behind
        assert all(value.is_meta for value in tree_flatten(vars(module))[0] if isinstance(value, Tensor))


@every()
@pytest.mark.parametrize(
    "make_copy", [copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_equal_and_independent(case, make_copy):
    block, events = case.build(), make_events()
    x = next(iter(case.forms(block, events).values()))
    expected = block(x)
    other = make_copy(block)
    assert torch.equal(other(x), expected)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.5)
    assert not torch.equal(other(x), expected)
    assert torch.equal(block(x), expected)


# ------------------------------------------------------------------------------------------------------------ misuse


def refused(call: Callable[[], Any], mention: str | None = None) -> bool:
    """Whether a call ends in an error that lumigraph itself raises, and that mentions something."""
    with pytest.raises((TypeError, ValueError), match=mention) as caught:
        call()
    return "lumigraph" in str(caught.traceback[-1].path)


@every()
def test_what_is_no_input_is_refused_in_words(case, plain_python):
    block, events = case.build().float(), make_events().to(torch.float32)
    forms = case.forms(block, events)
    x = forms["flat" if case.is_head else "vectors"]
    inputs = [None, 3, "x", {}, [], (), (x,), (None, None), x.numpy(), x[0], x[0, 0], x[None], x[:, :-1], x.double()]
    inputs += [torch.cat([x, x], dim=1), x.to(torch.complex64), Data(), Data(x=torch.zeros(3))]
    if case.is_head:
        batch = forms["Batch"]
        inputs += [batch.clone().apply(lambda t: t.double() if t.is_floating_point() else t)]
    if case.takes_particles:
        for field, value in (("ptr", batch.ptr + 1), ("ptr", batch.ptr.flip(0)), ("slot", batch.slot - 9), ("x", None)):
            changed = batch.clone()
            changed[field] = value
            inputs.append(changed)
        changed = batch.clone()
        changed.x[1, 0] = torch.nan
        inputs.append(changed)
        flat, matrix = forms["tuple"]
        inputs += [
            (flat, matrix[0]),
            (flat, matrix[:, :, :, None]),
            (flat, matrix[:, 1:, :-1]),
            (flat, matrix.double()),
        ]
    for bad in inputs:
        assert refused(lambda bad=bad: block(bad)), bad


@every("is_head")
def test_integers_and_lower_precision_are_taken_in_the_precision_of_the_block(case):
    block, events = case.build(), make_events(FULL).to(torch.float32)
    for form, x in case.forms(block, events).items():
        y, z = block(x), case.build().float().bfloat16()
        assert y.dtype == torch.float64, form
        assert refused(lambda z=z, x=x: z(x), "float32"), form


@every()
def test_numbers_that_are_none_are_named(case, plain_python):
    signature = inspect.signature(case.make.func)
    bound = signature.bind_partial(*case.make.args).arguments
    for name in (n for n, p in signature.parameters.items() if p.annotation is int and n not in bound):
        for bad in (-1, None, "3", 1.5, [2]):
            assert refused(lambda name=name, bad=bad: case.build(**{name: bad}), f"{name} must be"), name


@every()
def test_options_that_are_none_are_named(case, plain_python):
    bad = {"do": 1.5, "do_cat": 1.5, "agg_method": None, "cat_embedder": 3, "vecs": 5, "feats_per_vec": [1]}
    bad |= {"objective": "class", "y_range": "wide", "feat_map": [0]}
    signature = inspect.signature(case.make.func)
    known = {*signature.parameters, *case.make.keywords} - {*signature.bind_partial(*case.make.args).arguments}
    for name in known & bad.keys():
        assert refused(lambda name=name: case.build(**{name: bad[name]}), name), name


# ---------------------------------------------------------------------------------------------------------- training


@every()
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_every_parameter_has_a_finite_gradient(case, training):
    block, events = case.build().train(training), make_events(FULL * 3)
    assert all(set(column.tolist()) == set(range(size)) for column, size in zip(events.cat.t(), CAT_SZS, strict=True))
    for form, x in case.forms(block, events).items():
        block.zero_grad()
        loss(block(x)).backward()
        for name, p in block.named_parameters():
            assert p.grad is not None, (form, name)
            assert bool(p.grad.isfinite().all()), (form, name)
            assert bool((p.grad != 0).any()), (form, name)


@every()
@pytest.mark.parametrize(
    "multiplicities",
    [(0, 0, 0), (0,), (1,), (2,), (SLOTS,), (1, 1), (0, 1), ()],
    ids=lambda n: "-".join(map(str, n)) or "none",
)
def test_training_on_degenerate_batches_stays_finite(case, multiplicities):
    block = case.build().train()
    for x in case.forms(block, make_events(multiplicities)).values():
        block.zero_grad()
        y = block(x)
        loss(y).backward()
        assert bool(y.isfinite().all())
        assert all(bool(p.grad.isfinite().all()) for p in block.parameters() if p.grad is not None)
    assert all(bool(b.isfinite().all()) for b in block.buffers())
    x = next(iter(case.forms(block, make_events()).values()))
    assert bool(block.eval()(x).isfinite().all())


# --------------------------------------------------------------------------------------------------- captured graphs


def small(case: Case) -> tuple[AbsBlock, dict[str, Any]]:
    """Return a block with few slots, and events for it as plain tensors."""
    vecs = VECS[:4]
    names = {"vecs": vecs, "cont_feats": case.cont_feats(vecs)} if case.takes_particles else {}
    events = make_events((0, 2, 4, 1, 3, 0), slots=len(vecs))
    block = case.build(**names)
    forms = case.forms(block, events, vecs)
    return block, {form: x for form, x in forms.items() if form in ("flat", "tuple", "vectors")}


@every()
def test_it_compiles_to_one_graph(case, plain_python):
    """In training where this is not the same as evaluation, which the next test captures of each block."""
    block, forms = small(case)
    training = any(isinstance(module, nn.BatchNorm1d) for module in block.modules())
    x = next(iter(forms.values()))
    eager, other = (copy.deepcopy(block).train(training) for _ in range(2))
    expected, y = eager(x), torch.compile(other, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(y, expected, **CLOSE)
    for mine, theirs in zip(gradients(other, y), gradients(eager, expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)
    for mine, theirs in zip(other.buffers(), eager.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)


def gradients(block: AbsBlock, y: Tensor) -> list[Tensor]:
    """Return the gradients of all parameters, 0 where none is used."""
    found = torch.autograd.grad(loss(y), list(block.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, block.parameters(), strict=True)]


@every()
def test_it_exports_for_any_number_of_events(case, plain_python):
    block, forms = small(case)
    for form, x in forms.items():
        shapes = tree_map_only(Tensor, lambda _: {0: torch.export.Dim.DYNAMIC}, x)
        exported = torch.export.export(block, (x,), dynamic_shapes=(shapes,)).module()
        for part in (slice(None), slice(0, 2), slice(2, None)):
            again = tree_map_only(Tensor, lambda t, part=part: t[part], x)
            torch.testing.assert_close(exported(again), block(again), msg=form, **CLOSE)
