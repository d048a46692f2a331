from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.events.adapters import from_rows
from lumigraph.events.errors import SchemaError, near
from lumigraph.events.schema import BATCH_FIELDS, EventSchema, cell_names

NAMES = st.lists(st.text("abc", min_size=1, max_size=2), unique=True, max_size=3)


class TestBatchFields:
    def test_are_what_a_batch_has(self):
        batch = from_rows(
            torch.zeros(2, 3, 4),
            u=torch.zeros(2, 1),
            cat=torch.zeros(2, 1, dtype=torch.long),
            y=torch.zeros(2, 1),
            weight=torch.ones(2),
        )
        assert set(batch.keys()) == set(BATCH_FIELDS)

    def test_no_name_is_one_that_pyg_shifts(self):
        # PyG adds the number of nodes to any field with such a name when it batches events
        for name in set(BATCH_FIELDS) - {"batch"}:
            assert not any(word in name for word in ("index", "batch", "face"))


class TestNames:
    def test_order_is_object_by_object(self):
        assert cell_names(["b", "a"], ["y", "x"]) == ["b_y", "b_x", "a_y", "a_x"]

    def test_collision_names_both_owners(self):
        with pytest.raises(
            SchemaError, match=r"\('jet', 'b_pt'\) and \('jet_b', 'pt'\) both read .*'jet_b_pt'.*rename"
        ):
            cell_names(["jet", "jet_b"], ["b_pt", "pt"])

    @given(NAMES, NAMES)
    def test_without_collision_every_cell_has_its_name(self, vecs, feats):
        assert cell_names(vecs, feats) == [f"{v}_{f}" for v in vecs for f in feats]

    @pytest.mark.parametrize("name", ["Jet_pxx", "jet_px", "JET_PX", "Jetpx"])
    def test_near_a_misspelt_name(self, name):
        assert near(name, ["event", "Jet_px", "weight"]) == "did you mean Jet_px?"

    def test_near_shows_all_where_none_is_close(self):
        assert near("q", ["a", "b", "a"]) == "there are: a, b"
        assert near("q", []) == "there are none"

    def test_near_shows_no_more_than_twenty(self):
        hint = near("q", [f"name{i}" for i in range(30)])
        assert "name19" in hint
        assert "name20" not in hint
        assert hint.endswith(", ...")


class TestSchema:
    NAMED = EventSchema(
        vecs=("jet", "met"), feats_per_vec=("px", "py"), event_feats=("ht",), cat_feats=("channel",),
        targets=("is_signal",), weight="w", ids=("run", "event"),
    )  # fmt: skip
    LISTS = EventSchema(collections=("MET", "Jet"), feats_per_vec=("px",), max_particles=3)

    def test_named_objects(self):
        assert self.NAMED.objects == self.NAMED.slot_names == ("jet", "met")
        assert self.NAMED.cont_feats == ("ht", "jet_px", "jet_py", "met_px", "met_py")

    def test_collections_with_a_largest_number(self):
        assert self.LISTS.objects == ("MET", "Jet")
        assert self.LISTS.slot_names == ("particle0", "particle1", "particle2")
        assert self.LISTS.cont_feats == ("particle0_px", "particle1_px", "particle2_px")

    def test_collections_of_any_length(self):
        schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "py"), event_feats=("ht",))
        assert schema.slot_names == ("particle",)
        assert schema.cont_feats == ("ht", "particle_px", "particle_py")

    def test_events_without_particles(self):
        schema = EventSchema(event_feats=("ht",))
        assert (schema.objects, schema.slot_names, schema.cont_feats) == ((), (), ("ht",))

    @pytest.mark.parametrize("schema", [NAMED, LISTS, EventSchema()])
    def test_to_dict_and_back(self, schema):
        plain = schema.to_dict()
        assert EventSchema.from_dict(plain) == schema
        assert all(isinstance(v, list | str | int | None) for v in plain.values())

    def test_to_dict_holds_the_names(self):
        assert self.NAMED.to_dict()["vecs"] == ["jet", "met"]
        assert self.LISTS.to_dict()["max_particles"] == 3

    def test_cannot_be_changed(self):
        with pytest.raises(FrozenInstanceError):
            self.NAMED.vecs = ("a",)
        assert hash(self.NAMED) == hash(EventSchema.from_dict(self.NAMED.to_dict()))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"vecs": ["a"], "collections": ["b"], "feats_per_vec": ["px"]}, "vecs .* or collections .*, not both"),
            ({"vecs": ["a"]}, r"feats_per_vec \(0 names\) and vecs or collections \(1 names\) go together"),
            ({"feats_per_vec": ["px"]}, r"feats_per_vec \(1 names\) and vecs or collections \(0 names\) go together"),
            ({"event_feats": "ht"}, r"event_feats must be a list of names, got 'ht'; write event_feats: \[name, ...\]"),
            ({"event_feats": {"ht"}}, "event_feats must be a list of names"),
            ({"ids": 3}, "ids must be a list of names, got 3"),
            ({"targets": ["y", 3]}, "targets must hold non-empty names, got 3"),
            ({"cat_feats": [""]}, "cat_feats must hold non-empty names, got ''"),
            ({"event_feats": ["ht", "met", "ht"]}, "event_feats must hold each name once, got 'ht' twice"),
            ({"vecs": ["jet", "jet"], "feats_per_vec": ["px"]}, "vecs must hold each name once, got 'jet' twice"),
            ({"vecs": ["a", "a_b"], "feats_per_vec": ["b_c", "c"]}, "both read the column 'a_b_c'"),
            (
                {"vecs": ["jet"], "feats_per_vec": ["px"], "event_feats": ["jet_px"]},
                "event_feats names 'jet_px', .*rename",
            ),
            (
                {"collections": ["jet"], "feats_per_vec": ["px"], "event_feats": ["jet_px"]},
                "event_feats names 'jet_px', .*rename",
            ),
            (
                {"collections": ["jet"], "feats_per_vec": ["px"], "event_feats": ["particle_px"]},
                "event_feats names 'particle_px', .*rename",
            ),
            (
                {"collections": ["jet"], "feats_per_vec": ["px"], "max_particles": 0},
                "max_particles must be a whole number of at least 1, .* got 0",
            ),
            ({"vecs": ["jet"], "feats_per_vec": ["px"], "max_particles": 2}, "go with collections only, got 2"),
            ({"max_particles": 2}, "go with collections only, got 2"),
            ({"event_feat": ["ht"]}, "no entry 'event_feat': did you mean event_feats"),
        ],
    )
    def test_what_contradicts_itself_is_an_error(self, values, message, plain_python):
        with pytest.raises(SchemaError, match=message):
            EventSchema.from_dict(values)

    def test_its_error_is_a_value_error(self):
        assert issubclass(SchemaError, ValueError)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"weight": ["w"]}, r"weight must be the name of one column, got \['w'\]"),
        ({"weight": 5}, "weight must be the name of one column, got 5"),
        ({"max_particles": "3"}, "max_particles must be a whole number of at least 1, .* got '3'"),
        ({"max_particles": 2.5}, "max_particles must be a whole number .* got 2.5"),
        ({"max_particles": True}, "max_particles must be a whole number .* got True"),
        (["ht"], r"a schema must map its entries to their values, got \['ht'\]"),
        (None, "a schema must map its entries to their values, got None"),
    ],
)
def test_an_entry_of_a_configuration_of_the_wrong_kind(entries, message, plain_python):
    if isinstance(entries, dict):
        entries = {"collections": ["Jet"], "feats_per_vec": ["px"], **entries}
    with pytest.raises(SchemaError, match=message):
        EventSchema.from_dict(entries)
