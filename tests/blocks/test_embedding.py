from pathlib import Path

import pytest

from lumigraph.blocks import CatEmbedder
from lumigraph.data import EventDataset
from lumigraph.events.schema import EventSchema


@pytest.mark.parametrize(("cardinality", "width"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (99, 50), (140, 50)])
def test_the_default_width_is_half_the_cardinality_rounded_up_and_at_most_fifty(cardinality, width):
    assert CatEmbedder(["flavour"], [cardinality]).emb_szs == [width]


def test_the_largest_default_width_can_be_chosen():
    assert CatEmbedder(["a", "b"], [140, 5], max_emb_sz=7).emb_szs == [7, 3]


def test_given_widths_are_used_as_they_are():
    assert CatEmbedder(["a", "b"], [140, 5], emb_szs=[80, 1], max_emb_sz=7).emb_szs == [80, 1]


def test_attributes():
    embedder = CatEmbedder(["a", "b"], [3, 5], max_emb_sz=9, emb_load_path="saved")
    assert (embedder.cat_names, embedder.cat_szs, embedder.emb_szs) == (["a", "b"], [3, 5], [2, 3])
    assert (embedder.n_cat_in, embedder.max_emb_sz, embedder.emb_load_path) == (2, 9, Path("saved"))
    assert CatEmbedder(["a"], [3]).emb_load_path is None


def test_no_categories():
    none = CatEmbedder([], [])
    assert (none.n_cat_in, list(none), repr(none)) == (0, [], "")


def test_a_category_is_found_by_name_and_by_place():
    embedder = CatEmbedder(["a", "b"], [3, 5])
    assert embedder["b"] == embedder[1] == (5, 3)
    with pytest.raises(KeyError, match="key must be a category, got 'flavor': did you mean flavour"):
        CatEmbedder(["flavour"], [3])["flavor"]


def test_iteration_gives_name_cardinality_and_width():
    assert list(CatEmbedder(["a", "b"], [3, 5])) == [("a", 3, 2), ("b", 5, 3)]


def test_repr_shows_what_is_embedded_in_how_many_columns():
    assert repr(CatEmbedder(["a", "b"], [3, 5])) == "a:\t3 --> 2\nb:\t5 --> 3"


def test_the_lists_of_the_caller_are_copied():
    names, sizes, widths = ["a"], [3], [2]
    embedder = CatEmbedder(names, sizes, widths)
    for values in (names, sizes, widths):
        values.append(values[0])
    assert list(embedder) == [("a", 3, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cat_names": ["a"], "cat_szs": [3, 5]}, "must be equally long, got 1, 2 and 2"),
        ({"cat_names": ["a", "b"], "cat_szs": [3, 5], "emb_szs": [1]}, "must be equally long, got 2, 2 and 1"),
        ({"cat_names": ["a"], "cat_szs": [0]}, r"cat_szs\[0\] must be at least 1, got 0"),
        ({"cat_names": ["a"], "cat_szs": [3], "emb_szs": [0]}, r"emb_szs\[0\] must be at least 1, got 0"),
        ({"cat_names": ["a", "a"], "cat_szs": [3, 3]}, "list of different names"),
        ({"cat_names": "ab", "cat_szs": [3, 3]}, "list of different names"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CatEmbedder(**arguments)


def test_from_fy_takes_names_and_one_more_than_the_largest_code():
    schema = EventSchema(event_feats=("ht",), cat_feats=("flavour", "channel"))
    events = EventDataset.from_columns({"ht": [1.0, 2.0], "flavour": [0, 4], "channel": [2, 1]}, schema)
    embedder = CatEmbedder.from_fy(events)
    assert list(embedder) == [("flavour", 5, 3), ("channel", 3, 2)]
    chosen = CatEmbedder.from_fy(events, emb_szs=[4, 4], emb_load_path="saved")
    assert (chosen.emb_szs, chosen.emb_load_path) == ([4, 4], Path("saved"))
    assert CatEmbedder.from_fy(events, max_emb_sz=1).emb_szs == [1, 1]
