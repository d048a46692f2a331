"""The head that joins one for event features and one for particles."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph.blocks import AbsHead, CatEmbedder, CatEmbHead, InteractionNet, LorentzBoostNet, MultiHead
from lumigraph.data import EventDataset
from lumigraph.events.schema import EventSchema

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
CATEGORIES = CatEmbedder(["channel", "flavour"], [3, 5])


@pytest.fixture
def x():
    """Five events: ht, met, channel, flavour."""
    codes = torch.tensor([[0, 4], [1, 3], [2, 2], [0, 1], [1, 0]])
    return torch.cat([torch.randn(5, 2), codes], dim=1)


def train_fy():
    schema = EventSchema(event_feats=("ht", "met"), cat_feats=("channel", "flavour"))
    random = np.random.default_rng(0)
    columns = {"ht": random.normal(size=50), "met": random.normal(size=50)}
    codes = {"channel": np.arange(50) % 3, "flavour": np.arange(50) % 5}
    return EventDataset.from_columns({**columns, **codes}, schema)


# ---------------------------------------------------------------------------------------------------------- MultiHead

VECS, FEATS = ["jet", "lepton"], ["px", "py"]
CELLS = ["jet_px", "jet_py", "lepton_px"]  # there is no lepton_py
SIZES = {
    "intfunc_depth": 2, "intfunc_width": 4, "intfunc_out_sz": 3, "outfunc_depth": 2, "outfunc_width": 5,
    "outfunc_out_sz": 4, "agg_method": "sum", "act": "tanh",
}  # fmt: skip
PARTIAL = partial(InteractionNet, vecs=VECS, feats_per_vec=FEATS, **SIZES)
MIXED = ["jet_py", "ht", "lepton_px", "jet_px", "met"]


class OwnOutputs(AbsHead):
    """A head for particles each feature of which has two outputs of its own."""

    def __init__(self, cont_feats, vecs, feats_per_vec, lookup_init, cat_embedder=None):
        super().__init__(cont_feats)
        self.feat_map = {name: [i, i + len(cont_feats)] for i, name in enumerate(cont_feats)}

    def get_out_size(self):
        return 2 * len(self.cont_feats)

    def forward(self, x):
        return torch.cat([x, -x], dim=1)


class TestMultiHead:
    @pytest.fixture
    def x(self):
        """Five events: MIXED, channel, flavour."""
        codes = torch.tensor([[0, 4], [1, 3], [2, 2], [0, 1], [1, 0]])
        return torch.cat([torch.randn(5, 5), codes], dim=1).double()

    def test_the_output_is_that_of_the_flat_head_and_then_that_of_the_matrix_head(self, x):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES).double()
        flat = CatEmbHead(["ht", "met"], cat_embedder=CATEGORIES).double()
        matrix = PARTIAL(["jet_py", "lepton_px", "jet_px"]).double()
        flat.load_state_dict(head.flat_head.state_dict())
        matrix.load_state_dict(head.matrix_head.state_dict())
        expected = torch.cat([flat(x[:, [1, 4, 5, 6]]), matrix(x[:, [0, 2, 3]])], dim=1)
        torch.testing.assert_close(head(x), expected, **CLOSE)
        assert head.get_out_size() == flat.get_out_size() + matrix.get_out_size() == 7 + 4

    def test_names_and_sizes(self):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES)
        assert head.cont_feats == ["ht", "met"]
        assert head.matrix_feats == ["jet_py", "lepton_px", "jet_px"]
        assert head.cat_feats == ["channel", "flavour"]
        assert (head.n_cont_in, head.n_matrix_in, head.n_cat_in) == (2, 3, 2)
        assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"flat_head", "matrix_head"}

    def test_feat_map_shifts_the_outputs_of_the_matrix_head(self):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES)
        particles = [7, 8, 9, 10]
        assert head.feat_map == {
            "ht": [0],
            "met": [1],
            "channel": [2, 3],
            "flavour": [4, 5, 6],
            **dict.fromkeys(["jet_py", "lepton_px", "jet_px"], particles),
        }

    def test_feat_map_shifts_features_with_outputs_of_their_own(self):
        head = MultiHead(MIXED, partial(OwnOutputs, vecs=VECS, feats_per_vec=FEATS))
        x = torch.randn(1, 5)
        y = head(x)
        own = {"ht": [0], "met": [1], "jet_py": [2, 5], "lepton_px": [3, 6], "jet_px": [4, 7]}
        assert head.feat_map == own
        for i, name in enumerate(MIXED):
            changed = x.clone()
            changed[0, i] += 1
            assert (head(changed) != y).nonzero()[:, 1].tolist() == own[name]

    def test_a_class_a_partial_and_a_callable_build_the_same(self, x):
        def build(cont_feats, lookup_init, vecs, feats_per_vec):
            return InteractionNet(cont_feats, vecs, feats_per_vec, lookup_init=lookup_init, **SIZES)

        def build_of_anything(cont_feats, **arguments):
            return InteractionNet(cont_feats, **SIZES, **arguments)

        names = {"vecs": VECS, "feats_per_vec": FEATS}
        heads = [
            MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES),
            MultiHead(MIXED, InteractionNet, cat_embedder=CATEGORIES, **names, **SIZES),
            MultiHead(MIXED, partial(InteractionNet, **SIZES), cat_embedder=CATEGORIES, **names),
            MultiHead(MIXED, build, cat_embedder=CATEGORIES, **names),
            MultiHead(MIXED, build_of_anything, cat_embedder=CATEGORIES, **names),
        ]
        expected = heads[0].double()(x)
        for head in heads[1:]:
            head.load_state_dict(heads[0].state_dict())
            torch.testing.assert_close(head.double()(x), expected, **CLOSE)
            assert head.feat_map == heads[0].feat_map

    def test_arguments_go_to_the_head_that_knows_them(self):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES, do_cont=0.25, do=0.5, bn=True)
        assert (head.flat_head.do_cont.p, head.flat_head.do_cat.p) == (0.25, 0.0)
        kinds = [type(layer).__name__ for layer in head.matrix_head.convs[0].fr[0]]
        assert kinds == ["Linear", "Tanh", "BatchNorm", "Dropout"]

    def test_an_argument_overrides_that_of_a_partial(self):
        head = MultiHead(MIXED, PARTIAL, agg_method="flatten")
        assert head.matrix_head.agg_method == "flatten"
        assert PARTIAL.keywords["agg_method"] == "sum"

    def test_the_flat_head_can_be_chosen(self):
        head = MultiHead(MIXED, PARTIAL, flat_head=partial(CatEmbHead, do_cont=0.25), cat_embedder=CATEGORIES)
        assert head.flat_head.do_cont.p == 0.25

    def test_both_heads_are_drawn_by_lookup_init(self):
        def ones(act, fan_in, fan_out):
            return nn.init.ones_

        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES, lookup_init=ones)
        assert head.flat_head.lookup_init is ones
        weights = [p for name, p in head.matrix_head.named_parameters() if name.endswith("weight")]
        assert len(weights) == 4
        assert all(bool((weight == 1).all()) for weight in weights)

    def test_events_of_particles_alone(self):
        head = MultiHead(CELLS, PARTIAL)
        alone = PARTIAL(CELLS)
        alone.load_state_dict(head.matrix_head.state_dict())
        x = torch.randn(4, 3)
        assert torch.equal(head(x), alone(x))

    def test_freeze_reaches_both_heads(self):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES, freeze=True)
        assert head.get_param_count() == 0
        assert head.flat_head.get_param_count(trainable=False) > 0
        assert head.matrix_head.get_param_count(trainable=False) > 0


class TestMultiHeadRefuses:
    @pytest.mark.parametrize(
        ("matrix_head", "missing"),
        [
            (InteractionNet, "vecs and feats_per_vec"),
            (partial(InteractionNet, **SIZES), "vecs and feats_per_vec"),
            (partial(InteractionNet, vecs=VECS, **SIZES), "feats_per_vec"),
            (lambda cont_feats, **arguments: InteractionNet(cont_feats, **arguments), "vecs and feats_per_vec"),
        ],
    )
    def test_a_matrix_head_without_particles(self, matrix_head, missing):
        with pytest.raises(ValueError, match=f"matrix_head must have {missing}, to tell particles"):
            MultiHead(MIXED, matrix_head)

    def test_positional_arguments_that_take_the_place_of_others(self):
        with pytest.raises(TypeError, match="cont_feats"):
            MultiHead(MIXED, partial(InteractionNet, VECS, VECS, FEATS, **SIZES))

    def test_a_keyword_that_neither_head_knows(self):
        with pytest.raises(TypeError, match=r"neither CatEmbHead nor InteractionNet has an argument 'do_contt'"):
            MultiHead(MIXED, PARTIAL, do_contt=0.1)
        with pytest.raises(TypeError, match=r"neither CatEmbHead nor .* has an argument 'intfunc_dept'.*intfunc_depth"):
            MultiHead(MIXED, InteractionNet, vecs=VECS, feats_per_vec=FEATS, intfunc_dept=2)

    def test_a_keyword_of_a_partial_that_its_head_does_not_know(self):
        with pytest.raises(TypeError, match="InteractionNet has no argument 'intfunc_dept'"):
            MultiHead(MIXED, partial(InteractionNet, vecs=VECS, feats_per_vec=FEATS, intfunc_dept=2))

    def test_a_keyword_of_the_matrix_head_that_the_other_matrix_head_lacks(self):
        lbn = partial(LorentzBoostNet, vecs=["jet"], feats_per_vec=["px", "py", "pz", "E"], n_particles=2)
        with pytest.raises(TypeError, match="neither CatEmbHead nor LorentzBoostNet has an argument 'intfunc_depth'"):
            MultiHead(["jet_px", "ht"], lbn, intfunc_depth=2)

    @pytest.mark.parametrize("width", [6, 8])
    def test_another_width(self, width):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES)
        with pytest.raises(ValueError, match=rf"5 continuous columns and 2 categories, got \(1, {width}\)"):
            head(torch.zeros(1, width))

    def test_an_object_that_no_column_belongs_to(self):
        with pytest.raises(ValueError, match=r"object 'leptn' has none of its columns.*"):
            MultiHead(MIXED, PARTIAL, vecs=["jet", "leptn"])

    def test_a_feature_that_no_object_has(self):
        with pytest.raises(ValueError, match="no object has the feature 'pyy'"):
            MultiHead(MIXED, PARTIAL, feats_per_vec=["px", "pyy"])

    def test_parts_of_different_events(self):
        head = MultiHead(MIXED, PARTIAL, cat_embedder=CATEGORIES)
        matrix = torch.zeros(3, len(FEATS), len(VECS))
        with pytest.raises(ValueError, match="the flat part must have 3 events, as the particles have, got 4"):
            head((torch.zeros(4, 2 + len(head.flat_lookup) - 0), matrix))

    def test_what_are_no_heads(self, plain_python):
        for name in ("matrix_head", "flat_head"):
            for bad in (None, "InteractionNet", MultiHead(MIXED, PARTIAL)):
                with pytest.raises(TypeError, match=f"{name} must be a class of heads, or a partial of one"):
                    MultiHead(**{"cont_feats": MIXED, "matrix_head": PARTIAL, name: bad})
        with pytest.raises(TypeError, match="the arguments of CatEmbHead do not fit"):
            MultiHead(MIXED, PARTIAL, partial(CatEmbHead, wat=3))

    def test_indexing(self):
        with pytest.raises(TypeError, match="MultiHead is not a sequence of layers"):
            MultiHead(MIXED, PARTIAL)[0]


def test_the_example_of_the_reference_runs_as_it_stands():
    cont_feats, matrix_feats = ["ht", "met"], CELLS
    feats_per_vec, vecs = FEATS, VECS
    inet = partial(
        InteractionNet, intfunc_depth=2, intfunc_width=4, intfunc_out_sz=3, outfunc_depth=2, outfunc_width=5,
        outfunc_out_sz=4, agg_method="flatten", feats_per_vec=feats_per_vec, vecs=vecs, act="swish",
    )  # fmt: skip
    multihead = MultiHead(
        cont_feats=cont_feats + matrix_feats, matrix_head=inet, cat_embedder=CatEmbedder.from_fy(train_fy())
    )
    x = torch.cat([torch.randn(6, 5), torch.tensor([[1.0, 3.0]]).expand(6, 2)], dim=1)
    assert multihead(x).shape == (6, 2 + 2 + 3 + 4 * 2) == (6, multihead.get_out_size())
    matrix = torch.stack([x[:, [2, 4]], torch.stack([x[:, 3], 0 * x[:, 3]], dim=1)], dim=1)
    torch.testing.assert_close(multihead((x[:, [0, 1, 5, 6]], matrix)), multihead(x))


class Doubled(InteractionNet):
    """A head of one's own that hands its options on."""

    def __init__(self, cont_feats, vecs, feats_per_vec, **kargs):
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)


def test_a_head_of_ones_own_may_take_its_options_by_kargs():
    own = partial(Doubled, vecs=VECS, feats_per_vec=FEATS, **SIZES)
    assert MultiHead(MIXED, own).get_out_size() == MultiHead(MIXED, PARTIAL).get_out_size()
    misspelt = {("intfunc_dept" if k == "intfunc_depth" else k): v for k, v in SIZES.items()}
    with pytest.raises(TypeError, match="InteractionNet has no argument 'intfunc_dept': did you mean intfunc_depth"):
        MultiHead(MIXED, partial(InteractionNet, vecs=VECS, feats_per_vec=FEATS, **misspelt))
    with pytest.raises(TypeError, match="has no argument 'bnn': did you mean bn"):
        MultiHead(MIXED, partial(PARTIAL, bnn=True))
