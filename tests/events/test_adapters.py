import copy
import pickle
import re
from functools import partial

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from lumigraph.events.adapters import (
    from_columns,
    from_flat,
    from_jagged,
    from_rows,
    to_columns,
    to_flat,
    to_jagged,
    to_rows,
)
from lumigraph.events.batches import make_batch, particles_of
from lumigraph.events.errors import SchemaError

NAN, INF = float("nan"), float("inf")
FIELDS = ("x", "slot", "batch", "ptr", "u", "cat", "y", "weight")

LENGTHS = st.lists(st.sampled_from([0, 1, 2, 3, 7]), max_size=6)
DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 2**16)


@st.composite
def masks(draw):
    """Which slots of which events are taken: holes anywhere, empty events anywhere, or no events."""
    slots = draw(st.integers(0, 4))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=slots, max_size=slots), max_size=5))
    return torch.tensor(rows, dtype=torch.bool).view(len(rows), slots)


def random(*shape, dtype=torch.float64, seed=0, contiguous=True):
    x = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return x if contiguous else torch.stack([x, x], dim=-1)[..., 0]


def event_fields(num_events):
    return {
        "u": random(num_events, 2, seed=1),
        "cat": torch.arange(2 * num_events).view(num_events, 2),
        "y": random(num_events, 1, seed=2),
        "weight": random(num_events, seed=3).abs(),
    }


def assert_same(found, expected):
    assert torch.equal(found, expected), (found, expected)
    assert found.dtype == expected.dtype


def assert_same_events(found, expected):
    assert found.num_graphs == expected.num_graphs
    assert set(found.keys()) == set(expected.keys())
    for field in found.keys():  # noqa: SIM118 (a Batch is no dict)
        assert_same(found[field], expected[field])


def by_hand(events, slots, fields=None):
    """Let PyG itself collate one Data per event."""
    fields = fields or {}
    return Batch.from_data_list(
        [
            Data(x=x, slot=slot, **{name: value[i : i + 1] for name, value in fields.items()})
            for i, (x, slot) in enumerate(zip(events, slots, strict=True))
        ]
    )


class TestLayouts:
    """One set of events: two particles, none, one behind a hole, three, none."""

    NAMES = {
        "cont_feats": ["c_E", "a_px", "b_px", "c_px", "a_E", "b_E"],
        "vecs": ["a", "b", "c"],
        "feats_per_vec": ["px", "E"],
    }
    X = [[[1.0, 10.0], [2.0, 20.0]], [], [[3.0, 30.0]], [[4.0, 40.0], [5.0, 50.0], [6.0, 60.0]], []]
    SLOT = [[0, 1], [], [1], [0, 1, 2], []]

    @pytest.fixture
    def expected(self):
        events = [torch.tensor(x, dtype=torch.float64).view(-1, 2) for x in self.X]
        slots = [torch.tensor(slot, dtype=torch.long) for slot in self.SLOT]
        return by_hand(events, slots, event_fields(5))

    @pytest.fixture
    def rows(self):
        """Matrix and mask, with what must never be looked at where there is no particle."""
        matrix = torch.full((5, 3, 2), NAN, dtype=torch.float64)
        matrix[1], matrix[4, 0] = INF, torch.tensor([NAN, 1.0])
        mask = torch.zeros(5, 3, dtype=torch.bool)
        for event, (x, slot) in enumerate(zip(self.X, self.SLOT, strict=True)):
            for row, place in zip(x, slot, strict=True):
                matrix[event, place], mask[event, place] = torch.tensor(row), True
        return matrix, mask

    @pytest.fixture
    def flat(self, rows):
        matrix = rows[0].masked_fill(~rows[1].unsqueeze(-1), NAN)
        columns = [f"{v}_{f}" for v in self.NAMES["vecs"] for f in self.NAMES["feats_per_vec"]]
        return matrix.flatten(1)[:, [columns.index(name) for name in self.NAMES["cont_feats"]]]

    def test_flat(self, flat, expected):
        assert_same_events(from_flat(flat, **self.NAMES, **event_fields(5)), expected)

    def test_rows(self, rows, expected):
        assert_same_events(from_rows(rows[0], mask=rows[1], **event_fields(5)), expected)

    def test_columns(self, rows, expected):
        columns = rows[0].transpose(1, 2)
        assert_same_events(from_columns(columns, mask=rows[1], **event_fields(5)), expected)
        assert_same_events(from_columns(columns.contiguous(), mask=rows[1], **event_fields(5)), expected)

    def test_rows_that_are_nan_without_a_mask(self, rows, expected):
        matrix = rows[0].masked_fill(~rows[1].unsqueeze(-1), NAN)
        assert_same_events(from_rows(matrix, **event_fields(5)), expected)

    def test_jagged(self, expected):
        # a list has no holes: the particle behind the hole is the first
        values, lengths = to_jagged(expected)
        assert lengths.tolist() == [2, 0, 1, 3, 0]
        expected.slot = torch.tensor([0, 1, 0, 0, 1, 2])
        assert_same_events(from_jagged(values, lengths=lengths, **event_fields(5)), expected)
        offsets = torch.tensor([0, 2, 2, 3, 6, 6], dtype=torch.int32)
        assert_same_events(from_jagged(values, offsets=offsets, **event_fields(5)), expected)

    def test_lengths_and_mask_are_two_ways_of_saying_the_same(self):
        matrix, lengths = random(4, 3, 2), torch.tensor([2, 0, 3, 0])
        mask = torch.arange(3) < lengths.unsqueeze(1)
        assert_same_events(from_rows(matrix, lengths=lengths), from_rows(matrix, mask=mask))
        assert_same_events(from_columns(matrix.mT, lengths=lengths), from_rows(matrix, mask=mask))

    def test_and_back(self, flat, rows, expected):
        assert_same(to_rows(expected)[1], rows[1])
        assert_same(to_rows(expected)[0], rows[0].masked_fill(~rows[1].unsqueeze(-1), 0))
        assert_same(to_columns(expected)[0], to_rows(expected)[0].mT)
        torch.testing.assert_close(to_flat(expected, **self.NAMES), flat, rtol=0, atol=0, equal_nan=True)


class TestRoundTrips:
    @given(LENGTHS, st.integers(1, 3), DTYPES, SEEDS, st.booleans())
    def test_jagged(self, lengths, num_features, dtype, seed, contiguous):
        values = random(sum(lengths), num_features, dtype=dtype, seed=seed, contiguous=contiguous)
        lengths = torch.tensor(lengths, dtype=torch.long)
        batch = from_jagged(values, lengths=lengths)
        found = to_jagged(batch)
        assert_same(found[0], values)
        assert_same(found[1], lengths)
        assert batch.num_graphs == len(lengths)
        assert_same_events(from_jagged(values, offsets=batch.ptr), batch)

    @given(
        masks(), st.integers(1, 3), DTYPES, SEEDS, st.booleans(), st.sampled_from([0.0, NAN, INF]), st.integers(0, 2)
    )
    def test_rows_and_columns(self, mask, num_features, dtype, seed, contiguous, garbage, more):
        matrix = random(*mask.shape, num_features, dtype=dtype, seed=seed, contiguous=contiguous)
        clean = torch.where(mask.unsqueeze(-1), matrix, torch.zeros((), dtype=dtype))
        matrix = torch.where(mask.unsqueeze(-1), matrix, torch.full((), garbage, dtype=dtype))
        batch = from_rows(matrix, mask=mask)
        assert batch.num_graphs == len(mask)
        pad = (0, more)
        wider = torch.nn.functional.pad
        found, found_mask = to_rows(batch, mask.size(1) + more)
        assert_same(found, wider(clean, (0, 0, *pad)))
        assert_same(found_mask, wider(mask, pad))
        columns, column_mask = to_columns(from_columns(matrix.mT, mask=mask), mask.size(1) + more)
        assert_same(columns, wider(clean.mT, pad))
        assert_same(column_mask, wider(mask, pad))

    @given(masks(), SEEDS, DTYPES, st.randoms(use_true_random=False))
    def test_flat(self, mask, seed, dtype, shuffle):
        vecs = [f"v{i}" for i in range(mask.size(1))]
        names = {"vecs": vecs, "feats_per_vec": ["px", "py", "pz"]}
        columns = [f"{v}_{f}" for v in vecs for f in names["feats_per_vec"] if not (f == "pz" and v in ("v0", "v2"))]
        shuffle.shuffle(columns)
        x = random(len(mask), len(columns), dtype=dtype, seed=seed)
        taken = mask[:, [vecs.index(c.split("_")[0]) for c in columns]].view(len(mask), len(columns))
        x = torch.where(taken, x, torch.full((), NAN, dtype=dtype))
        batch = from_flat(x, cont_feats=columns, **names)
        assert_same(to_rows(batch, mask.size(1))[1], mask)
        back = to_flat(batch, cont_feats=columns, **names)
        torch.testing.assert_close(back, x, rtol=0, atol=0, equal_nan=True)

    @given(masks())
    def test_through_a_list_of_events(self, mask):
        batch = from_rows(random(*mask.shape, 2), mask=mask, **event_fields(len(mask)))
        events = batch.to_data_list()
        assert len(events) == batch.num_graphs
        if events:
            assert_same_events(Batch.from_data_list(events), batch)
            assert_same_events(Batch.from_data_list(batch[list(range(len(mask)))]), batch)

    @given(masks())
    def test_made_in_one_go_or_collated_by_pyg(self, mask):
        assume(len(mask) > 0)  # PyG cannot collate nothing
        matrix = random(*mask.shape, 2)
        fields = event_fields(len(mask))
        events = [row[taken] for row, taken in zip(matrix, mask, strict=True)]
        slots = [taken.nonzero().flatten() for taken in mask]
        assert_same_events(from_rows(matrix, mask=mask, **fields), by_hand(events, slots, fields))


class TestAbsence:
    NAMES = {"vecs": ["met", "jet"], "feats_per_vec": ["px", "py", "pz", "E"]}
    COLUMNS = ["met_px", "met_py", "jet_px", "jet_py", "jet_pz", "jet_E"]

    def test_a_met_without_pz_and_energy_has_zeros_there(self):
        batch = from_flat(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]), cont_feats=self.COLUMNS, **self.NAMES)
        assert batch.x.tolist() == [[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 5.0, 6.0]]

    def test_an_object_of_nan_is_no_node(self):
        x = torch.tensor([[NAN, NAN, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, *[NAN] * 4], [NAN] * 6])
        batch = from_flat(x, cont_feats=self.COLUMNS, **self.NAMES)
        assert batch.x.tolist() == [[3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 0.0, 0.0]]
        assert (batch.slot.tolist(), batch.ptr.tolist()) == ([1, 0], [0, 1, 2, 2])

    def test_zeros_are_a_particle(self):
        batch = from_flat(torch.zeros(1, 6), cont_feats=self.COLUMNS, **self.NAMES)
        assert batch.num_nodes == 2

    def test_partly_nan_names_event_and_column(self):
        x = torch.zeros(4, 6)
        x[3, 4] = NAN
        with pytest.raises(ValueError, match="event 3: column jet_pz is NaN but other columns of 'jet' are not"):
            from_flat(x, cont_feats=self.COLUMNS, **self.NAMES)

    def test_partly_nan_in_a_jagged_list(self):
        values = torch.tensor([[1.0, 1.0], [NAN, NAN], [2.0, NAN]])
        with pytest.raises(ValueError, match="event 2: feature 1 of the particle in slot 0 is NaN"):
            from_jagged(values, lengths=torch.tensor([2, 0, 1]))

    def test_all_nan_in_a_jagged_list_is_absent_and_keeps_the_slots_behind_it(self):
        values = torch.tensor([[1.0], [NAN], [3.0]])
        batch = from_jagged(values, lengths=torch.tensor([0, 3, 0]))
        assert (batch.x.flatten().tolist(), batch.slot.tolist(), batch.ptr.tolist()) == (
            [1.0, 3.0],
            [0, 2],
            [0, 0, 2, 2],
        )

    def test_infinity_is_a_value(self):
        assert from_rows(torch.full((1, 1, 2), INF)).x.tolist() == [[INF, INF]]

    def test_holes_keep_the_slots_behind_them(self):
        mask = torch.tensor([[False, True, False, True], [True, False, False, False]])
        batch = from_rows(random(2, 4, 3), mask=mask)
        assert batch.slot.tolist() == [1, 3, 0]

    def test_what_is_masked_gets_no_gradient(self):
        matrix = torch.tensor([[[1.0], [NAN], [INF], [2.0]]], requires_grad=True)
        mask = torch.tensor([[True, False, False, True]])
        to_rows(from_rows(matrix, mask=mask))[0].square().sum().backward()
        assert matrix.grad.flatten().tolist() == [2.0, 0.0, 0.0, 4.0]


class TestGradients:
    @pytest.mark.parametrize("layout", ["rows", "columns", "jagged", "flat"])
    def test_flow_there_and_back(self, layout):
        names = {"cont_feats": ["a_px", "a_py", "b_px"], "vecs": ["a", "b"], "feats_per_vec": ["px", "py"]}
        through = {
            "rows": lambda x: to_rows(from_rows(x, lengths=torch.tensor([1, 0, 2])))[0],
            "columns": lambda x: to_columns(from_columns(x, lengths=torch.tensor([1, 0, 2])))[0],
            "jagged": lambda x: to_jagged(from_jagged(x, lengths=torch.tensor([1, 0, 2])))[0],
            "flat": lambda x: to_flat(from_flat(x, **names), **names),
        }[layout]
        shape = {"rows": (3, 2, 2), "columns": (3, 2, 2), "jagged": (3, 2), "flat": (3, 3)}[layout]
        assert torch.autograd.gradcheck(through, [random(*shape).requires_grad_()])

    def test_flow_past_absent_objects(self):
        names = {"cont_feats": ["a_px", "b_px"], "vecs": ["a", "b"], "feats_per_vec": ["px"]}
        x = torch.tensor([[3.0, NAN], [NAN, 5.0]], requires_grad=True)
        from_flat(x, **names).x.square().sum().backward()
        assert x.grad.tolist() == [[6.0, 0.0], [0.0, 10.0]]


class TestEventFields:
    def test_one_column_may_be_a_vector(self):
        batch = from_rows(random(3, 1, 1), u=random(3), cat=torch.tensor([0, 1, 2]), y=random(3), weight=random(3))
        assert (batch.u.shape, batch.cat.shape, batch.y.shape, batch.weight.shape) == ((3, 1), (3, 1), (3, 1), (3,))

    def test_categories_of_any_integer_type_become_long(self):
        batch = from_rows(random(2, 1, 1), cat=torch.tensor([1, 2], dtype=torch.int16))
        assert batch.cat.dtype == torch.long

    def test_fields_not_given_are_not_there(self):
        assert set(from_rows(random(2, 1, 1)).keys()) == {"x", "slot", "batch", "ptr"}

    @pytest.mark.parametrize("make", ["flat", "rows", "columns", "jagged"])
    def test_every_maker_takes_them(self, make):
        names = {"cont_feats": ["a_px"], "vecs": ["a"], "feats_per_vec": ["px"]}
        maker = {
            "flat": lambda **fields: from_flat(random(3, 1), **names, **fields),
            "rows": lambda **fields: from_rows(random(3, 1, 1), **fields),
            "columns": lambda **fields: from_columns(random(3, 1, 1), **fields),
            "jagged": lambda **fields: from_jagged(random(3, 1), lengths=torch.tensor([1, 0, 2]), **fields),
        }[make]
        fields = event_fields(3)
        for name, value in fields.items():
            assert_same(maker(**fields)[name], value)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"u": torch.zeros(2, 1)}, r"u must have the shape (3, columns), got (2, 1)"),
            ({"cat": torch.zeros(4, dtype=torch.long)}, r"cat must have the shape (3, columns), got (4, 1)"),
            ({"y": torch.zeros(3, 1, 1)}, r"y must have the shape (3, columns), got (3, 1, 1)"),
            ({"y": torch.tensor(0.0)}, r"y must have the shape (3, columns), got ()"),
            ({"weight": torch.ones(3, 1)}, r"weight must have the shape (3,), got (3, 1)"),
            ({"weight": torch.ones(2)}, r"weight must have the shape (3,), got (2,)"),
            ({"cat": torch.zeros(3)}, r"cat must be integers (codes from 0), got torch.float32: convert with .long()"),
        ],
    )
    def test_that_do_not_fit(self, fields, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            from_rows(random(3, 1, 1), **fields)

    def test_events_without_particle_features(self):
        fields = event_fields(3)
        batch = make_batch(None, **fields)
        assert batch.num_graphs == 3
        assert_same(batch[1].u, fields["u"][1:2])
        assert len(batch.to_data_list()) == 3

    def test_events_without_particle_features_must_agree(self):
        with pytest.raises(ValueError, match=re.escape("y must have the shape (3, columns), got (2, 1)")):
            make_batch(None, u=torch.zeros(3, 1), y=torch.zeros(2))
        with pytest.raises(ValueError, match=re.escape("weight must have the shape (0,), got ()")):
            make_batch(None, weight=torch.tensor(1.0))


class TestABatchIsPygs:
    @pytest.fixture
    def batch(self):
        return from_jagged(random(6, 2), lengths=torch.tensor([0, 2, 0, 3, 1, 0]), **event_fields(6))

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0], [0, 2], [2, 0], [2, 0, 0, 1], [1, 0, 0]])
    def test_counts_empty_events_wherever_they_stand(self, lengths):
        batch = from_jagged(random(sum(lengths), 2), lengths=torch.tensor(lengths, dtype=torch.long))
        assert batch.num_graphs == len(lengths)
        assert len(batch.to_data_list()) == len(lengths)
        assert [event.num_nodes for event in batch.to_data_list()] == lengths

    def test_an_event_by_its_number(self, batch):
        fields, first = event_fields(6), [0, 0, 2, 2, 5, 6, 6]
        for i in range(6):
            assert_same(batch[i].x, batch.x[first[i] : first[i + 1]])
            assert batch[i].slot.tolist() == list(range(first[i + 1] - first[i]))
            for name, value in fields.items():
                assert_same(batch[i][name], value[i : i + 1])

    @pytest.mark.parametrize(
        "index", [[3, 1, 1], slice(1, 4), torch.tensor([5, 0]), torch.tensor([True, False, True, True, False, False])]
    )
    def test_a_selection_of_events(self, batch, index):
        numbers = torch.arange(6)[index].tolist()
        for event, number in zip(batch.index_select(index), numbers, strict=True):
            assert_same(event.x, batch[number].x)
            assert_same(event.y, event_fields(6)["y"][number : number + 1])

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, Data.clone, lambda b: pickle.loads(pickle.dumps(b))]
    )
    def test_a_copy_can_do_the_same(self, batch, duplicate):
        twin = duplicate(batch)
        assert_same_events(twin, batch)
        assert_same(twin[3].x, batch[3].x)

    def test_to_a_dtype_and_device_keeps_the_events(self, batch):
        moved = batch.to("cpu").apply(lambda t: t.float() if t.is_floating_point() else t)
        assert moved.num_graphs == 6
        assert moved[3].x.dtype == torch.float32

    def test_slots_are_not_shifted_when_events_are_collated(self, batch):
        again = Batch.from_data_list([batch[3], batch[1]])
        assert again.slot.tolist() == [0, 1, 2, 0, 1]

    def test_through_pygs_loader(self, batch):
        loaded = list(DataLoader(batch.to_data_list(), batch_size=4))
        assert [part.num_graphs for part in loaded] == [4, 2]
        assert_same(torch.cat([to_jagged(part)[1] for part in loaded]), to_jagged(batch)[1])
        assert_same(torch.cat([to_jagged(part)[0] for part in loaded]), batch.x)

    def test_without_slot_particles_are_counted_in_each_event(self):
        events = [random(n, 2, seed=n) for n in (0, 2, 3, 0)]
        batch = Batch.from_data_list([Data(x=x) for x in events])
        matrix, mask = to_rows(batch)
        assert mask.tolist() == [[False] * 3, [True, True, False], [True] * 3, [False] * 3]
        assert_same(matrix[mask], torch.cat(events))
        assert to_jagged(batch)[1].tolist() == [0, 2, 3, 0]
        assert particles_of(batch).slot.tolist() == [0, 1, 0, 1, 2]

    def test_one_event_is_a_batch_of_one(self, batch):
        matrix, mask = to_rows(batch[3], 4)
        assert (matrix.shape, mask.tolist()) == ((1, 4, 2), [[True, True, True, False]])
        assert_same(matrix[mask], batch[3].x)
        assert_same(to_jagged(Data(x=random(3, 2)))[1], torch.tensor([3]))


class TestSlots:
    def test_as_many_as_needed(self):
        batch = from_rows(random(2, 5, 1), mask=torch.tensor([[True, False, True, False, False], [False] * 5]))
        assert to_rows(batch)[0].shape == (2, 3, 1)
        assert to_columns(batch)[0].shape == (2, 1, 3)

    @pytest.mark.parametrize("lengths", [[], [0, 0]])
    def test_no_particle_needs_none(self, lengths):
        matrix, mask = to_rows(from_jagged(random(0, 2), lengths=torch.tensor(lengths, dtype=torch.long)))
        assert (matrix.shape, mask.shape) == ((len(lengths), 0, 2), (len(lengths), 0))

    def test_order_of_the_particles_in_memory_does_not_matter(self):
        x, slot, ptr = torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([2, 0, 1]), torch.tensor([0, 3])
        batch = Batch.from_data_list([Data(x=x, slot=slot)])
        assert_same(batch.ptr, ptr)
        assert to_rows(batch)[0].flatten().tolist() == [1.0, 2.0, 3.0]

    def test_columns_come_back_contiguous(self):
        assert to_columns(from_rows(random(2, 3, 4)))[0].is_contiguous()

    @pytest.mark.parametrize("back", [to_rows, to_columns])
    def test_a_particle_beyond_the_last_names_its_event(self, back):
        batch = from_jagged(random(5, 1), lengths=torch.tensor([1, 0, 3, 1]))
        assert back(batch, 3)[1].shape == (4, 3)
        with pytest.raises(ValueError, match="event 2: there is a particle in slot 2, but there are 2 slots"):
            back(batch, 2)

    def test_a_particle_beyond_the_last_name(self):
        batch = from_jagged(random(3, 1), lengths=torch.tensor([0, 3]))
        names = {"cont_feats": ["a_px", "b_px"], "vecs": ["a", "b"], "feats_per_vec": ["px"]}
        with pytest.raises(ValueError, match="event 1: there is a particle in slot 2"):
            to_flat(batch, **names)


class TestErrors:
    NAMES = {"cont_feats": ["a_px", "b_px"], "vecs": ["a", "b"], "feats_per_vec": ["px"]}

    def test_misspelt_columns(self):
        with pytest.raises(SchemaError, match=r"'a_pxx' belongs to no object: .*did you mean a_px"):
            from_flat(torch.zeros(1, 2), cont_feats=["a_pxx", "b_px"], vecs=["a", "b"], feats_per_vec=["px"])
        with pytest.raises(SchemaError, match="object 'c' has none of its columns"):
            to_flat(from_rows(torch.zeros(1, 1, 1)), cont_feats=["a_px"], vecs=["a", "c"], feats_per_vec=["px"])

    def test_colliding_names(self):
        with pytest.raises(SchemaError, match="both read the column 'a_b_c'"):
            from_flat(torch.zeros(1, 1), cont_feats=["a_b_c"], vecs=["a", "a_b"], feats_per_vec=["b_c", "c"])

    def test_flat_table_of_another_width(self):
        with pytest.raises(ValueError, match=re.escape("(events, 2), one column per name in cont_feats, got (1, 3)")):
            from_flat(torch.zeros(1, 3), **self.NAMES)

    def test_features_that_are_not_named(self):
        with pytest.raises(ValueError, match=r"feats_per_vec must name the 2 features of batch\.x, got 1 names"):
            to_flat(from_rows(torch.zeros(1, 1, 2)), **self.NAMES)

    @pytest.mark.parametrize(("make", "axes"), [(from_rows, "slots, features"), (from_columns, "features, slots")])
    def test_one_event_without_the_events_axis(self, make, axes):
        expected = f"shape (events, {axes}), got (2, 3); for a single event add a first axis of length 1"
        with pytest.raises(ValueError, match=re.escape(expected)):
            make(torch.zeros(2, 3))

    def test_mask_of_another_shape(self):
        mask = torch.ones(2, 4, dtype=torch.bool)
        assert from_columns(torch.zeros(2, 3, 4), mask=mask).num_nodes == 8
        with pytest.raises(ValueError, match=re.escape("mask must be boolean with the shape (2, 3)")):
            from_rows(torch.zeros(2, 3, 4), mask=mask)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "exactly one of lengths .* and offsets .* must be given, got neither"),
            ({"lengths": torch.tensor([3]), "offsets": torch.tensor([0, 3])}, "must be given, got both"),
            ({"lengths": torch.tensor([2])}, "lengths must describe the 3 particles"),
            ({"lengths": torch.tensor([2, 2])}, "lengths must describe the 3 particles"),
            ({"lengths": torch.tensor([4, -1])}, "lengths must be .*integers of at least 0"),
            ({"lengths": torch.tensor([3.0])}, "lengths must be .*integers"),
            ({"lengths": torch.tensor([[3]])}, r"lengths must be .*got shape \(1, 1\)"),
            ({"offsets": torch.tensor([0, 2])}, "offsets must describe the 3 particles"),
            ({"offsets": torch.tensor([1, 3])}, "offsets must describe the 3 particles"),
            ({"offsets": torch.tensor([0, 3, 2, 3])}, "offsets must describe .* without gap or overlap"),
            ({"offsets": torch.tensor([], dtype=torch.long)}, "offsets must describe"),
        ],
    )
    def test_lengths_and_offsets_that_do_not_fit(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            from_jagged(torch.zeros(3, 2), **arguments)

    def test_particles_without_features_axis(self):
        with pytest.raises(ValueError, match=re.escape("values must have the shape (particles, features), got (3,)")):
            from_jagged(torch.zeros(3), lengths=torch.tensor([3]))

    def test_batch_without_particle_features(self):
        with pytest.raises(ValueError, match=r"must have particle features x \(particles, features\), got none"):
            to_rows(make_batch(None, u=torch.zeros(2, 1)))
        with pytest.raises(ValueError, match=r"got a Tensor of the shape \(3,\)"):
            to_jagged(Data(x=torch.zeros(3)))

    def test_batch_whose_offsets_do_not_fit(self):
        batch = from_jagged(torch.zeros(3, 1), lengths=torch.tensor([3]))
        batch.x = torch.zeros(2, 1)
        with pytest.raises(ValueError, match="ptr of the batch must rise from 0 to 2, the number of particles in x"):
            to_rows(batch)

    @pytest.mark.parametrize("ptr", [[1, 3], [0, 4, 3], [0, 2], [], [[0, 3]], [0.0, 3.0]])
    @pytest.mark.parametrize("back", [to_rows, to_columns, to_jagged])
    def test_offsets_that_are_none(self, back, ptr):
        with pytest.raises(ValueError, match="ptr of the batch must rise from 0 to 3"):
            back(Data(x=torch.zeros(3, 1), ptr=torch.tensor(ptr)))

    @pytest.mark.parametrize("slot", [[-1, 0], [0], [0.0, 1.0], [[0], [1]], [True, False]])
    def test_slots_that_are_none(self, slot):
        with pytest.raises(ValueError, match="slot of the batch must be 2 integers of at least 0, one per particle"):
            to_rows(Data(x=torch.zeros(2, 1), slot=torch.tensor(slot)))

    def test_two_particles_in_one_place(self):
        with pytest.raises(ValueError, match="two particles of an event are in the same slot"):
            to_rows(Data(x=torch.zeros(2, 1), slot=torch.tensor([1, 1])))

    def test_a_batch_without_offsets(self):
        with pytest.raises(ValueError, match="the batch must have the field ptr beside batch, got none"):
            to_rows(Data(x=torch.zeros(3, 1), batch=torch.tensor([0, 0, 1])))

    def test_what_is_no_batch(self, plain_python):
        with pytest.raises(TypeError, match="events must be a Batch, or the Data of one event, got Tensor"):
            to_rows(torch.zeros(2, 3, 1))

    @pytest.mark.parametrize("value", [None, "x", [None], [[1.0], [1.0, 2.0]]])
    def test_what_is_no_tensor(self, value, plain_python):
        for argument, make in (("matrix", from_rows), ("values", partial(from_jagged, lengths=torch.tensor([1])))):
            with pytest.raises(TypeError, match=f"{argument} must be a tensor or an array of numbers"):
                make(value)
        if value is not None:
            for field in ("u", "cat", "y", "weight", "lengths"):
                with pytest.raises(TypeError, match=f"{field} must be a tensor or an array of numbers"):
                    from_rows(torch.zeros(1, 1, 1), **{field: value})

    def test_complex_numbers(self):
        with pytest.raises(TypeError, match=r"features must be real numbers, got torch\.complex64"):
            from_rows(torch.zeros(1, 1, 1, dtype=torch.complex64))


class TestDtype:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_follows_the_input(self, dtype):
        x = torch.ones(2, 3, 1, dtype=dtype)
        assert from_rows(x).x.dtype == to_rows(from_rows(x))[0].dtype == dtype

    def test_integers_become_floats(self):
        assert from_rows(torch.ones(1, 1, 1, dtype=torch.int32)).x.dtype == torch.get_default_dtype()
        assert from_jagged(torch.ones(1, 1, dtype=torch.int64), lengths=torch.tensor([1])).x.dtype == torch.float32
        names = {"cont_feats": ["a_px"], "vecs": ["a"], "feats_per_vec": ["px"]}
        assert from_flat(torch.ones(1, 1, dtype=torch.uint8), **names).x.dtype == torch.float32
