import re

import pytest
import torch

from lumigraph.events.errors import SchemaError
from lumigraph.events.particles import (
    CellMap,
    Particles,
    Rows,
    check_matrix,
    check_slots,
    drop_absent,
    fit_slots,
    floating,
    integers,
    pack,
    particles_from_rows,
    rows_of_matrix,
    rows_of_particles,
)

NAN = float("nan")
NAMES = {
    "cont_feats": ["met_px", "jet_E", "jet_px", "met_E"],
    "vecs": ["jet", "met"],
    "feats_per_vec": ["px", "pz", "E"],
}


class TestCellMap:
    def test_columns_are_found_by_name(self):
        cells = CellMap(**NAMES)
        assert cells.lookup == [2, -1, 1, 0, -1, 3]

    def test_column_that_does_not_exist_is_zero(self):
        found = pack(CellMap(**NAMES).rows(torch.tensor([[1.0, 2.0, 3.0, 4.0]])))
        assert found.x.tolist() == [[3.0, 0.0, 2.0], [1.0, 0.0, 4.0]]
        assert (found.slot.tolist(), found.ptr.tolist()) == ([0, 1], [0, 2])

    def test_all_nan_is_absent_though_a_column_does_not_exist(self):
        found = pack(CellMap(**NAMES).rows(torch.tensor([[NAN, 2.0, 3.0, NAN], [NAN] * 4, [1.0, NAN, NAN, 4.0]])))
        assert found.x.tolist() == [[3.0, 0.0, 2.0], [1.0, 0.0, 4.0]]
        assert (found.slot.tolist(), found.ptr.tolist()) == ([0, 1], [0, 1, 1, 2])

    def test_order_of_the_columns_does_not_matter(self):
        x = torch.randn(5, 4)
        order = [3, 1, 0, 2]
        shuffled = CellMap(**{**NAMES, "cont_feats": [NAMES["cont_feats"][i] for i in order]})
        assert torch.equal(pack(shuffled.rows(x[:, order])).x, pack(CellMap(**NAMES).rows(x)).x)

    def test_partly_nan_names_event_and_column(self):
        x = torch.zeros(3, 4)
        x[2, 1] = NAN
        with pytest.raises(ValueError, match=r"event 2: column jet_E is NaN but other columns of 'jet' are not"):
            CellMap(**NAMES).rows(x)

    def test_callers_lists_are_left_alone(self):
        names = {k: list(v) for k, v in NAMES.items()}
        CellMap(**names).cont_feats.append("more")
        assert names == NAMES

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"cont_feats": ["jet_px", "met_px", "jet_pxx"]}, r"'jet_pxx' belongs to no object: .*did you mean jet_px"),
            (
                {"cont_feats": ["jet_px", "met_px", "ht"]},
                "column 'ht' belongs to no object: .*argument u, or a MultiHead",
            ),
            ({"vecs": ["jet", "met", "tau"]}, r"object 'tau' has none of its columns tau_\{px, pz, E\} in cont_feats"),
            ({"vecs": ["jet", "Met", "met"]}, "object 'Met' has none .*did you mean met_px"),
            ({"vecs": ["jet", "met", "jet"]}, "vecs must be a list of different names"),
            ({"cont_feats": ["jet_px", "jet_px", "met_px"]}, "cont_feats must be a list of different names"),
            ({"feats_per_vec": "px"}, "feats_per_vec must be a list of different names, got 'px'"),
            ({"feats_per_vec": []}, "belongs to no object"),
            ({"vecs": ["jet", "jet_a"], "feats_per_vec": ["a_b", "b"]}, "both read the column 'jet_a_b'"),
        ],
    )
    def test_names_that_do_not_fit(self, change, message):
        with pytest.raises(SchemaError, match=message):
            CellMap(**{**NAMES, **change})

    @pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4)])
    def test_table_of_another_shape(self, shape):
        with pytest.raises(
            ValueError, match=re.escape(f"shape (events, 4), one column per name in cont_feats, got {shape}")
        ):
            CellMap(**NAMES).rows(torch.zeros(shape))


class TestRows:
    def test_without_mask_nan_rows_are_absent(self):
        matrix = torch.tensor([[[1.0, 2.0], [NAN, NAN]], [[NAN, NAN], [0.0, 0.0]]])
        found = particles_from_rows(matrix)
        assert found.x.tolist() == [[1.0, 2.0], [0.0, 0.0]]
        assert (found.slot.tolist(), found.ptr.tolist()) == ([0, 1], [0, 1, 2])

    @pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2), (2, 3, 0), (0, 0, 0)])
    def test_matrices_without_events_slots_or_features(self, shape):
        found = particles_from_rows(torch.zeros(shape))
        assert found.x.shape == (shape[0] * shape[1], shape[2])
        assert found.ptr.tolist() == [i * shape[1] for i in range(shape[0] + 1)]

    def test_rows_partly_nan_are_an_error_without_mask(self):
        with pytest.raises(ValueError, match="event 1: feature 1 of the particle in slot 0 is NaN"):
            particles_from_rows(torch.tensor([[[1.0, 2.0]], [[1.0, NAN]]]))

    def test_nan_where_the_mask_says_particle_is_an_error(self):
        matrix = torch.full((2, 3, 2), NAN)
        mask = torch.tensor([[False, False, False], [False, False, True]])
        with pytest.raises(ValueError, match="event 1: feature 0 of the particle in slot 2 is NaN"):
            particles_from_rows(matrix, mask)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"mask": torch.ones(2, 3)},
                r"mask must be boolean with the shape \(2, 3\).*got torch.float32 and \(2, 3\)",
            ),
            ({"mask": torch.ones(3, 2, dtype=torch.bool)}, r"mask must be boolean .*got torch.bool and \(3, 2\)"),
            (
                {"mask": torch.ones(2, 3, dtype=torch.bool), "lengths": torch.tensor([1, 1])},
                "mask or lengths, not both",
            ),
            ({"lengths": torch.tensor([1, 4])}, "2 numbers of particles from 0 to 3 .*got 2 up to 4"),
            ({"lengths": torch.tensor([1])}, "2 numbers of particles .*got 1 up to 1"),
            ({"lengths": torch.tensor([], dtype=torch.long)}, "2 numbers of particles .*got 0"),
            ({"lengths": torch.tensor([1, -1])}, "lengths must be .*integers of at least 0"),
            ({"lengths": torch.tensor([1.0, 2.0])}, "lengths must be .*integers of at least 0, .*torch.float32"),
        ],
    )
    def test_mask_or_lengths_that_do_not_fit(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            particles_from_rows(torch.zeros(2, 3, 4), **arguments)


class TestPieces:
    def test_drop_absent_keeps_empty_events(self):
        x = torch.tensor([[NAN], [1.0], [NAN]])
        found = drop_absent(Particles(x, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1, 3, 3, 3])))
        assert (found.x.tolist(), found.slot.tolist(), found.ptr.tolist()) == ([[1.0]], [0], [0, 0, 0, 1, 1, 1])

    @pytest.mark.parametrize(("row", "event"), [(0, 1), (1, 1), (2, 4)])
    def test_check_slots_names_the_event(self, row, event):
        slot = torch.zeros(3, dtype=torch.long)
        slot[row] = 2
        check_slots(slot, torch.tensor([0, 0, 2, 2, 2, 3]), 3)
        with pytest.raises(
            ValueError, match=rf"event {event}: there is a particle in slot 2, but there are 2 slots \(0 to 1\)"
        ):
            check_slots(slot, torch.tensor([0, 0, 2, 2, 2, 3]), 2)

    def test_check_matrix(self):
        check_matrix(torch.zeros(1, 2, 3), "(a, b, c)")
        with pytest.raises(ValueError, match=r"shape \(a, b, c\), got \(2, 3\); for a single event add a first axis"):
            check_matrix(torch.zeros(2, 3), "(a, b, c)")
        with pytest.raises(ValueError, match=r"got \(1, 1, 1, 1\)$"):
            check_matrix(torch.zeros(1, 1, 1, 1), "(a, b, c)")

    def test_floating(self):
        assert floating(torch.tensor([1])).dtype == torch.get_default_dtype()
        for dtype in (torch.float16, torch.float32, torch.float64):
            x = torch.zeros(1, dtype=dtype)
            assert floating(x) is x

    @pytest.mark.parametrize("value", [torch.tensor(1), torch.tensor([1.0]), torch.tensor([True]), torch.tensor([-1])])
    def test_integers_names_what_is_none(self, value):
        assert integers("counts", torch.tensor([0, 2])).tolist() == [0, 2]
        with pytest.raises(ValueError, match=r"^counts must be a one-dimensional tensor of integers of at least 0"):
            integers("counts", value)


class TestPadding:
    ROWS = torch.tensor([[[1.0, 2.0], [NAN, NAN], [5.0, 6.0]], [[NAN, NAN]] * 3])

    def test_a_row_of_nan_is_absent_and_filled_with_zeros(self):
        found = rows_of_matrix(self.ROWS)
        assert found.mask.tolist() == [[True, False, True], [False] * 3]
        assert found.rows.tolist() == [[[1, 2], [0, 0], [5, 6]], [[0, 0]] * 3]

    def test_packing_and_back(self):
        rows, mask = rows_of_particles(pack(rows_of_matrix(self.ROWS)), 3)
        assert torch.equal(rows, self.ROWS.nan_to_num(0.0))
        assert torch.equal(mask, ~self.ROWS.isnan().all(-1))

    def test_as_many_slots_as_are_needed(self):
        x, slot, ptr = torch.ones(1, 2), torch.tensor([4]), torch.tensor([0, 0, 1])
        assert rows_of_particles(Particles(x, slot, ptr)).rows.shape == (2, 5, 2)
        assert rows_of_particles(Particles(x[:0], slot[:0], torch.tensor([0]))).rows.shape == (0, 0, 2)

    @pytest.mark.parametrize("slots", [1, 3, 5])
    def test_fitting_to_slots(self, slots):
        found = rows_of_matrix(self.ROWS[:, :1] if slots == 1 else self.ROWS)
        rows, mask = fit_slots(found, slots)
        assert rows.shape == (2, slots, 2)
        assert torch.equal(pack(Rows(rows, mask)).x, pack(found).x)

    def test_a_particle_beyond_the_slots_is_named(self):
        with pytest.raises(ValueError, match="event 0: there is a particle in slot 2, but there are 2 slots"):
            fit_slots(rows_of_matrix(self.ROWS), 2)

    def test_a_partial_nan_is_named(self):
        broken = self.ROWS.clone()
        broken[0, 2, 1] = NAN
        with pytest.raises(ValueError, match="event 0: feature 1 of the particle in slot 2 is NaN"):
            rows_of_matrix(broken)
