"""What every head for particles does with its inputs."""

import pytest
import torch

from lumigraph.blocks import AbsMatrixHead, CatEmbedder, InteractionNet, LorentzBoostNet
from lumigraph.events.adapters import from_flat, from_rows

VECS = ["jet", "lepton", "met"]
FEATS = ["px", "py", "pz"]
CELLS = [f"{v}_{f}" for v in VECS for f in FEATS if (v, f) != ("met", "pz")]
SIZES = {
    "intfunc_depth": 2, "intfunc_width": 6, "intfunc_out_sz": 4, "outfunc_depth": 2, "outfunc_width": 5,
    "outfunc_out_sz": 3,
}  # fmt: skip


def interaction_net(agg_method="sum", **changes):
    arguments = {"cont_feats": CELLS, "vecs": VECS, "feats_per_vec": FEATS, **SIZES, "act": "tanh", **changes}
    return InteractionNet(agg_method=agg_method, **arguments)


# ------------------------------------------------------------------------------------------------------ the base class


class Rows(AbsMatrixHead):
    """A head of a user: it hands on the sum of each feature."""

    row_wise = True

    def get_out_size(self):
        return self.n_fpv

    max_particles = None

    def embed(self, rows, mask):
        return (rows * mask.unsqueeze(-1)).sum(1)


class Columns(Rows):
    row_wise = False


class TestAbsMatrixHead:
    def test_sizes_and_names(self):
        head = Rows(CELLS, VECS, FEATS)
        assert (head.vecs, head.feats_per_vec, head.cont_feats) == (VECS, FEATS, CELLS)
        assert (head.n_v, head.n_fpv, head.n_cont_in) == (3, 3, 8)
        assert (head.n_cat_in, head.n_matrix_in, head.cat_feats, head.matrix_feats) == (0, 0, [], [])

    def test_the_matrix_of_a_tuple_is_as_row_wise_says(self):
        matrix = torch.randn(2, 4, 3)
        by_row, by_column = Rows(CELLS, VECS, FEATS), Columns(CELLS, VECS, FEATS)
        assert torch.equal(by_row((None, matrix)), by_column((None, matrix.transpose(1, 2))))
        torch.testing.assert_close(by_row((None, matrix)), matrix.sum(1))

    def test_columns_are_found_by_name_and_what_does_not_exist_is_zero(self):
        order = torch.randperm(len(CELLS))
        head = Rows([CELLS[i] for i in order], VECS, FEATS)
        x = torch.randn(4, len(CELLS))
        column = dict(zip(CELLS, x.t(), strict=True))
        expected = [
            column["jet_px"] + column["lepton_px"] + column["met_px"],
            column["jet_py"] + column["lepton_py"] + column["met_py"],
            column["jet_pz"] + column["lepton_pz"],
        ]
        torch.testing.assert_close(head(x[:, order]), torch.stack(expected, dim=1))

    def test_a_list_is_as_good_as_a_tuple(self):
        head, flat, matrix = Rows(CELLS, VECS, FEATS), torch.zeros(2, 1), torch.randn(2, 3, 3)
        assert torch.equal(head([flat, matrix]), head((flat, matrix)))

    def test_a_builder_may_offer_no_categories(self):
        for none in (None, CatEmbedder([], [])):
            assert Rows(CELLS, VECS, FEATS, cat_embedder=none).n_cat_in == 0


class TestAbsMatrixHeadRefuses:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"vecs": ["jet", "leptn", "met"]}, r"column 'lepton_px' belongs to no object.*leptn_px"),
            ({"feats_per_vec": ["px", "py", "p_z"]}, r"column 'jet_pz' belongs to no object.*jet_p_z"),
            ({"cont_feats": ["Jet_px", *CELLS[1:]]}, r"column 'Jet_px' belongs to no object.*did you mean .*jet_px"),
            ({"cont_feats": CELLS[:6]}, r"object 'met' has none of its columns met_\{px, py, pz\}"),
            ({"feats_per_vec": [*FEATS, "E"]}, r"no object has the feature 'E': none of its columns \{vec\}_E"),
            ({"cont_feats": [*CELLS, "ht"]}, "column 'ht' belongs to no object.*MultiHead"),
            ({"cont_feats": [*CELLS, "ht", "met"]}, r"column 'ht' belongs to no object.*nor do \['met'\].*MultiHead"),
            ({"cont_feats": [*CELLS, "jet_px"]}, "cont_feats must be a list of different names"),
            ({"vecs": []}, "belongs to no object"),
            ({"cont_feats": [], "vecs": []}, "vecs and feats_per_vec must not be empty"),
            (
                {"cont_feats": ["a_b_px", "a_px"], "vecs": ["a", "a_b"], "feats_per_vec": ["b_px", "px"]},
                r"\('a', 'b_px'\) and \('a_b', 'px'\) both read the column 'a_b_px'",
            ),
            ({"cat_embedder": CatEmbedder(["flavour"], [3])}, r"nothing would use the categories \['flavour'\].*Multi"),
        ],
    )
    @pytest.mark.parametrize("head", [Rows, interaction_net], ids=["base", "InteractionNet"])
    def test_names_that_fit_nothing(self, head, changes, message):
        with pytest.raises(ValueError, match=message):
            head(**{"cont_feats": CELLS, "vecs": VECS, "feats_per_vec": FEATS, **changes})

    def test_an_unknown_keyword(self):
        with pytest.raises(
            TypeError, match="InteractionNet has no argument 'intfunc_dept': did you mean intfunc_depth"
        ):
            interaction_net(intfunc_dept=2)
        with pytest.raises(TypeError, match="LorentzBoostNet has no argument 'n_particle': did you mean n_particles"):
            LorentzBoostNet(["a_px"], ["a"], ["px"], n_particles=2, n_particle=6)

    @pytest.mark.parametrize(
        ("head", "layout"),
        [(Rows, r"\(events, slots, features\)"), (Columns, r"\(events, features, slots\)")],
        ids=["row-wise", "column-wise"],
    )
    def test_a_matrix_without_axis_of_events(self, head, layout):
        message = rf"the matrix must have the shape {layout}, got \(3, 3\); for a single event add a first axis"
        with pytest.raises(ValueError, match=message):
            head(CELLS, VECS, FEATS)((None, torch.zeros(3, 3)))

    def test_a_matrix_of_the_other_layout(self):
        with pytest.raises(ValueError, match=r"must be \(events, slots, features\) with the 3 features .* \(2, 3, 4\)"):
            Rows(CELLS, VECS, FEATS)((None, torch.zeros(2, 3, 4)))
        with pytest.raises(ValueError, match=r"must be \(events, features, slots\) with the 3 features .* \(2, 4, 3\)"):
            Columns(CELLS, VECS, FEATS)((None, torch.zeros(2, 4, 3)))

    @pytest.mark.parametrize("width", [7, 9])
    def test_a_flat_input_of_another_width(self, width):
        with pytest.raises(ValueError, match=rf"x must have the shape \(events, 8\).* got \(2, {width}\)"):
            Rows(CELLS, VECS, FEATS)(torch.zeros(2, width))

    def test_a_batch_with_other_features(self):
        with pytest.raises(ValueError, match="the batch has 4 features per particle, the head expects 3"):
            Rows(CELLS, VECS, FEATS)(from_rows(torch.zeros(2, 3, 4)))

    @pytest.mark.parametrize(
        ("feats", "message"),
        [
            (["px", "pz", "py"], r"the batch must have the features .* of the head, got .*: the same names in another"),
            (["px", "py", "E"], "E instead of pz"),
            (["px", "py", "pz", "E"], "also E"),
            (["px", "py"], "without pz"),
        ],
    )
    def test_a_batch_with_other_names(self, feats, message):
        head, matrix = Rows(CELLS, VECS, FEATS), torch.ones(2, 3, len(feats))
        with pytest.raises(ValueError, match=message):
            head(from_rows(matrix, feats_per_vec=feats))
        with pytest.raises(ValueError, match=message):
            head(from_rows(matrix, feats_per_vec=feats)[1])

    def test_a_batch_with_the_same_names_or_without(self):
        head, matrix = Rows(CELLS, VECS, FEATS), torch.rand(2, 3, 3)
        assert torch.equal(head(from_rows(matrix, feats_per_vec=FEATS)), head(from_rows(matrix)))

    def test_slots_that_other_objects_are_in(self):
        flat = torch.rand(2, 8)
        batch = from_flat(flat, cont_feats=CELLS, vecs=VECS, feats_per_vec=FEATS)
        others = ["jet", "met", "lepton"]
        with pytest.raises(ValueError, match="slot 1 of the batch must be the 'met' of the head, got 'lepton'"):
            interaction_net("flatten", vecs=others)(batch)
        assert interaction_net("flatten")(batch).shape == interaction_net(vecs=others, agg_method="flatten")(flat).shape
        assert len(interaction_net("sum", vecs=others)(batch)) == 2  # which has no slots

    @pytest.mark.parametrize("parts", [(), (None,), (None, torch.zeros(1, 4, 3), None)])
    def test_a_tuple_of_other_parts(self, parts):
        with pytest.raises(ValueError, match=rf"must be \(flat, matrix\), got {len(parts)} parts"):
            Rows(CELLS, VECS, FEATS)(parts)

    def test_a_tuple_without_a_matrix(self, plain_python):
        with pytest.raises(TypeError, match=r"the matrix must be a tensor \(events, slots, features\), got NoneType"):
            Rows(CELLS, VECS, FEATS)((torch.zeros(2, 8), None))

    @pytest.mark.parametrize("form", ["flat", "matrix"])
    def test_a_particle_that_is_there_in_part(self, form):
        matrix = torch.zeros(2, 3, 3)
        matrix[1, 1, 0] = torch.nan
        x = matrix.flatten(1)[:, :8] if form == "flat" else (None, matrix)
        with pytest.raises(ValueError, match=r"event 1: .*(lepton_px|feature 0 of the particle in slot 1) is NaN"):
            Rows(CELLS, VECS, FEATS)(x)
