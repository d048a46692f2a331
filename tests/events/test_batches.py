import copy
import io
import pickle

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from lumigraph import EventDataset, EventSchema, from_columns, from_flat, from_jagged, from_rows
from lumigraph.events.batches import NamedData, feature_names, names_of
from lumigraph.events.names import Names

NAMES = Names(["px", "py"], event_feats=["ht"], cat_feats=["channel"], targets=["label", "mass"])
FIELDS = {"x", "slot", "batch", "ptr", "u", "cat", "y", "weight"}


def jagged(feats_per_vec=("px", "py"), event_feats=("ht",), **changes):
    """Three events of 2, 0 and 1 particles with all fields, and their names."""
    fields = {
        "u": torch.ones(3, 1),
        "cat": torch.zeros(3, 1, dtype=torch.long),
        "y": torch.arange(6.0).view(3, 2),
        "weight": torch.ones(3),
        "cat_feats": ["channel"],
        "targets": ["label", "mass"],
    }
    values = torch.arange(6.0).view(3, 2)
    options = fields | {"feats_per_vec": feats_per_vec, "event_feats": event_feats} | changes
    return from_jagged(values, lengths=torch.tensor([2, 0, 1]), **options)


def saved(batch):
    file = io.BytesIO()
    torch.save(batch, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class TestWhoKnowsNames:
    def test_from_flat(self):
        x = torch.tensor([[1.0, 2.0, 3.0]])
        batch = from_flat(x, cont_feats=["a_px", "a_pz", "b_px"], vecs=["a", "b"], feats_per_vec=["px", "pz"])
        assert batch.names == Names(["px", "pz"], vecs=["a", "b"])

    @pytest.mark.parametrize("made", [from_rows, from_columns])
    def test_from_rows_and_columns(self, made):
        assert made(torch.ones(1, 2, 2), feats_per_vec=["px", "py"]).names == Names(["px", "py"])

    def test_from_jagged(self):
        assert jagged().names == NAMES

    @pytest.mark.parametrize("objects", [{"vecs": ("a", "b")}, {"collections": ("a", "b")}], ids=str)
    def test_a_data_set(self, objects):
        schema = EventSchema(["px"], **objects, event_feats=["ht"], cat_feats=["channel"], targets=["label"])
        cells = [3.0] if "vecs" in objects else [[3.0, 4.0]]
        columns = {"a_px": cells, "b_px": cells, "ht": [1.0], "channel": [0], "label": [1.0]}
        events = EventDataset.from_columns(columns, schema)
        expected = Names(["px"], **objects, event_feats=["ht"], cat_feats=["channel"], targets=["label"])
        assert events.batch().names == events[0].names == expected
        for batch in events.loader(1):
            assert batch.names == expected

    def test_nobody_was_told(self):
        assert from_jagged(torch.ones(1, 2), lengths=torch.tensor([1])).names == Names()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"feats_per_vec": ["px"]}, r"feats_per_vec must name the 2 columns of x, got 1 names: \('px',\)"),
            ({"event_feats": ["ht", "met"]}, "event_feats must name the 1 columns of u, got 2 names"),
            ({"cat_feats": ["a", "b"]}, "cat_feats must name the 1 columns of cat"),
            ({"targets": ["label"]}, "targets must name the 2 columns of y"),
            ({"feats_per_vec": ["px", "px"]}, "feats_per_vec must be a list of different names"),
            ({"targets": "label"}, "targets must be a list of different names, got 'label'"),
        ],
    )
    def test_names_that_fit_nothing(self, change, message):
        with pytest.raises(ValueError, match=message):
            jagged(**change)

    def test_an_unknown_field(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
            jagged(weights=torch.ones(3))


class TestNamesStay:
    def test_in_each_event(self):
        batch = jagged()
        events = [batch[1], *batch[0:2], *batch[[2]], *batch.index_select(torch.tensor([0])), *batch.to_data_list()]
        assert [event.names for event in events] == [NAMES] * 8

    @pytest.mark.parametrize(
        "carried",
        [
            copy.copy,
            copy.deepcopy,
            lambda batch: batch.clone(),
            lambda batch: batch.to("cpu"),
            lambda batch: batch.contiguous(),
            lambda batch: pickle.loads(pickle.dumps(batch)),
            saved,
            lambda batch: Batch.from_data_list(batch.to_data_list()),
            lambda batch: Batch.from_data_list([Batch.from_data_list(batch[:2]), batch])[0],
            lambda batch: next(iter(DataLoader(batch.to_data_list(), batch_size=3))),
            lambda batch: type(batch[0]).from_dict(batch[0].to_dict()),
        ],
    )
    def test_in_what_is_made_of_a_batch(self, carried):
        found = carried(jagged())
        assert found.names == NAMES
        assert (found[0] if isinstance(found, Batch) else found).names == NAMES

    def test_in_worker_processes(self):
        loader = DataLoader(jagged().to_data_list() * 2, batch_size=2, num_workers=2)
        assert [batch.names for batch in loader] == [NAMES] * 3

    def test_a_batch_of_other_events_with_the_same_names(self):
        mixed = Batch.from_data_list([jagged()[0], jagged()[2]])
        assert mixed.names == NAMES
        assert mixed.x.tolist() == [[0, 1], [2, 3], [4, 5]]

    @pytest.mark.parametrize("make", [Batch.from_data_list, lambda events: list(DataLoader(events, batch_size=2))])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"feats_per_vec": ["px", "pz"]}, r"same feats_per_vec, event 0 has \('px', 'py'\) .* pz instead of py"),
            ({"feats_per_vec": ["py", "px"]}, "the same names in another order"),
            ({"event_feats": ["met"]}, r"same event_feats, .* event 1 has \('met',\): met instead of ht"),
            ({"targets": ["label", "pt"]}, "pt instead of mass"),
        ],
    )
    def test_other_names_are_an_error(self, change, message, make):
        with pytest.raises(ValueError, match=message):
            make([jagged()[0], jagged(**change)[0]])

    @pytest.mark.parametrize("order", [1, -1])
    def test_what_some_event_does_not_name_has_no_name(self, order):
        without = jagged(feats_per_vec=())[0]
        mixed = Batch.from_data_list([jagged()[0], without][::order])
        assert mixed.names == Names(event_feats=["ht"], cat_feats=["channel"], targets=["label", "mass"])


class TestNamesAreNotAField:
    def test_the_fields_are_the_documented_ones(self):
        batch = jagged()
        for found in (batch, Batch.from_data_list(batch.to_data_list()), pickle.loads(pickle.dumps(batch))):
            assert set(found.keys()) == set(dict(found)) == FIELDS
            assert "names" not in found
            assert "names" not in repr(found)
        assert set(batch[0].keys()) == FIELDS - {"batch", "ptr"}

    def test_slices_are_those_of_pyg(self):
        batch = jagged()
        collated = Batch.from_data_list(batch.to_data_list())
        assert batch._slice_dict.keys() == collated._slice_dict.keys()
        assert all(torch.equal(batch._slice_dict[key], collated._slice_dict[key]) for key in batch._slice_dict)

    def test_other_data_of_pyg_stay_as_they_are(self):
        assert type(Batch.from_data_list([Data(x=torch.ones(1, 1))])).__name__ == "DataBatch"

    def test_they_can_be_set(self):
        event = NamedData(x=torch.ones(1, 2))
        assert event.names == Names()
        event.names = Names(["pt", "eta"])
        assert feature_names(event) == ("pt", "eta")
        with pytest.raises(TypeError, match=r"names of a Batch must be Names, got \['pt'\]"):
            event.names = ["pt"]

    def test_a_field_that_got_another_width_has_no_names_any_more(self):
        batch = jagged()
        batch.x = torch.cat([batch.x, batch.x], dim=1)
        assert names_of(batch) == Names(event_feats=["ht"], cat_feats=["channel"], targets=["label", "mass"])
        assert names_of(Data(x=torch.ones(1, 2), names=["a", "b"])) == Names()  # a field of somebody else


class TestFeatureNames:
    def test_given_or_known(self):
        batch = jagged()
        assert tuple(feature_names(batch)) == tuple(feature_names(batch, ["px", "py"])) == ("px", "py")
        assert feature_names(Data(x=batch.x), ["a", "b"]) == ["a", "b"]

    def test_neither(self):
        with pytest.raises(
            ValueError, match="the batch must know the names of its features, got none: give feats_per_vec"
        ):
            feature_names(Data(x=torch.ones(1, 2)))

    def test_names_that_contradict(self):
        with pytest.raises(
            ValueError, match=r"must be that of the batch, \('px', 'py'\), got \('px', 'pz'\) \(pz instead of py\)"
        ):
            feature_names(jagged(), ["px", "pz"])
