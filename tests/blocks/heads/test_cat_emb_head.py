"""The head for event features and categories."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lumigraph.blocks import CatEmbedder, CatEmbHead, lookup_uniform_init
from lumigraph.data import EventDataset
from lumigraph.events.adapters import from_rows
from lumigraph.events.batches import make_batch
from lumigraph.events.names import Names
from lumigraph.events.schema import EventSchema
from lumigraph.plotting import PlotSettings

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
CONT_FEATS = ["ht", "met"]
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


class TestCatEmbHead:
    def test_continuous_features_are_followed_by_the_embeddings(self, x):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        codes = x[:, 2:].long()
        expected = [x[:, :2], head.embeds[0].weight[codes[:, 0]], head.embeds[1].weight[codes[:, 1]]]
        assert torch.equal(head(x), torch.cat(expected, dim=1))

    def test_sizes_names_and_maps(self):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        assert head.get_out_size() == 2 + 2 + 3
        assert head.feat_map == {"ht": [0], "met": [1], "channel": [2, 3], "flavour": [4, 5, 6]}
        assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
            "embeds.0.weight": (3, 2),
            "embeds.1.weight": (5, 3),
        }
        assert (head.cont_feats, head.cat_feats, head.matrix_feats) == (CONT_FEATS, ["channel", "flavour"], [])
        assert (head.n_cont_in, head.n_cat_in, head.n_matrix_in) == (2, 2, 0)

    def test_without_categories_continuous_features_pass(self, x):
        head = CatEmbHead(CONT_FEATS)
        assert torch.equal(head(x[:, :2]), x[:, :2])
        assert head.get_out_size() == 2
        assert head.get_embeds() == {}
        assert head.get_param_count(trainable=False) == 0

    def test_without_continuous_features_there_are_only_embeddings(self, x):
        head = CatEmbHead([], cat_embedder=CATEGORIES)
        assert head(x[:, 2:]).shape == (5, 5) == (5, head.get_out_size())
        assert head(x[:, 2:].long()).dtype == torch.float32
        batch = make_batch(None, cat=x[:, 2:].long())
        assert torch.equal(head(batch), head(x[:, 2:]))

    def test_codes_are_truncated_as_in_the_reference(self, x):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        later = x.clone()
        later[:, 2:] += 0.9
        assert torch.equal(head(later), head(x))

    def test_integers_are_features_too(self):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        x = torch.tensor([[7, 8, 1, 2]])
        assert torch.equal(head(x), head(x.float()))

    def test_one_event_without_a_batch(self, x):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        event = Data(u=x[:1, :2], cat=x[:1, 2:].long())
        assert torch.equal(head(event), head(x[:1]))

    def test_embeddings_start_from_the_standard_normal_distribution(self):
        head = CatEmbHead([], cat_embedder=CatEmbedder(["run"], [2000], emb_szs=[50]), lookup_init=lookup_uniform_init)
        weight = head.embeds[0].weight.detach()
        assert float(weight.std()) == pytest.approx(1.0, abs=0.02)
        assert float(weight.abs().max()) > 3.0

    def test_the_list_of_the_caller_is_copied(self):
        names = list(CONT_FEATS)
        head = CatEmbHead(names)
        names.append("ht2")
        assert head.cont_feats == CONT_FEATS

    def test_it_has_no_layers_to_index(self):
        with pytest.raises(TypeError, match="CatEmbHead is not a sequence of layers"):
            CatEmbHead(CONT_FEATS)[0]


class TestDropout:
    def test_do_cat_drops_embeddings_and_nothing_else(self, x):
        head = CatEmbHead(CONT_FEATS, do_cat=0.5, cat_embedder=CATEGORIES).train()
        many = x.repeat(100, 1)
        y = head(many)
        assert torch.equal(y[:, :2], many[:, :2])
        assert float((y[:, 2:] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)
        kept = y[:, 2:] != 0
        torch.testing.assert_close(y[:, 2:][kept], 2 * head.eval()(many)[:, 2:][kept])

    def test_do_cont_drops_continuous_features_and_nothing_else(self, x):
        head = CatEmbHead(CONT_FEATS, do_cont=0.5, cat_embedder=CATEGORIES).train()
        many = x.repeat(100, 1)
        y = head(many)
        assert torch.equal(y[:, 2:], head.eval()(many)[:, 2:])
        assert float((y[:, :2] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)

    @pytest.mark.parametrize("argument", ["do_cont", "do_cat"])
    def test_none_is_no_dropout(self, x, argument):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES, **{argument: None}).train()
        y = head(x)
        assert torch.equal(y, head.eval()(x))
        assert bool((y[:, :2] != 0).all())

    @pytest.mark.parametrize("argument", ["do_cont", "do_cat"])
    def test_a_rate_lies_below_one(self, argument):
        with pytest.raises(ValueError, match=f"{argument} must be a rate from 0 to below 1, got 1.0"):
            CatEmbHead(CONT_FEATS, **{argument: 1.0})


class TestSavedEmbeddings:
    @pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
    def test_each_file_goes_into_its_own_embedding(self, tmp_path, x, kind):
        saved = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        folder = kind(tmp_path / "new" / "folder")
        saved.save_embeds(folder)
        assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == ["channel.h5", "flavour.h5"]
        embedder = CatEmbedder(["channel", "flavour"], [3, 5], emb_load_path=folder)
        loaded = CatEmbHead(CONT_FEATS, cat_embedder=embedder)
        assert torch.equal(loaded(x), saved(x))

    def test_files_are_found_by_the_name_of_the_category(self, tmp_path):
        saved = CatEmbHead([], cat_embedder=CATEGORIES)
        saved.save_embeds(tmp_path)
        loaded = CatEmbHead([], cat_embedder=CatEmbedder(["flavour"], [5], emb_load_path=tmp_path))
        assert torch.equal(loaded.embeds[0].weight, saved.embeds[1].weight)

    def test_get_embeds_is_the_state_of_each(self):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        states = head.get_embeds()
        assert list(states) == ["channel", "flavour"]
        assert torch.equal(states["flavour"]["weight"], head.embeds[1].weight)

    def test_loaded_embeddings_can_be_frozen(self, tmp_path):
        CatEmbHead([], cat_embedder=CATEGORIES).save_embeds(tmp_path)
        embedder = CatEmbedder(["channel", "flavour"], [3, 5], emb_load_path=tmp_path)
        assert CatEmbHead([], cat_embedder=embedder, freeze=True).get_param_count() == 0

    def test_a_missing_file_is_an_error(self, tmp_path):
        CatEmbHead([], cat_embedder=CatEmbedder(["channel"], [3])).save_embeds(tmp_path)
        embedder = CatEmbedder(["channel", "flavour"], [3, 5], emb_load_path=tmp_path)
        with pytest.raises(
            ValueError, match=r"emb_load_path must hold an embedding of 'flavour', got no file .*flavour.h5"
        ):
            CatEmbHead([], cat_embedder=embedder)

    def test_a_wrong_shape_is_an_error(self, tmp_path):
        CatEmbHead([], cat_embedder=CatEmbedder(["channel"], [4])).save_embeds(tmp_path)
        embedder = CatEmbedder(["channel"], [3], emb_load_path=tmp_path)
        with pytest.raises(ValueError, match=r"'channel' must have the shape \(3, 2\), got \(4, 2\)"):
            CatEmbHead([], cat_embedder=embedder)


class TestCatEmbHeadRefuses:
    @pytest.mark.parametrize("width", [3, 5])
    def test_another_width(self, width):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        with pytest.raises(ValueError, match=rf"2 continuous and 2 categorical columns, got \(1, {width}\)"):
            head(torch.zeros(1, width))

    def test_a_single_row_without_axis_of_events(self):
        with pytest.raises(ValueError, match=r"must be a tensor \(events, 2\)"):
            CatEmbHead(CONT_FEATS)(torch.zeros(2))

    @pytest.mark.parametrize("code", [5, -1])
    def test_a_code_beyond_the_embedding(self, x, code):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        x[3, 3] = code
        with pytest.raises(
            ValueError, match=f"event 3: category 'flavour' must have a code from 0 to 4, .* got {code}"
        ):
            head(x)

    def test_a_batch_without_its_fields(self, x):
        head = CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)
        with pytest.raises(
            ValueError, match=r"'cat' of the batch must have the shape \(5, 2\) .*'flavour'\], got \(5, 0\)"
        ):
            head(make_batch(None, u=x[:, :2]))
        with pytest.raises(ValueError, match=r"'u' of the batch must have the shape \(5, 2\) .*'met'\], got \(5, 0\)"):
            head(from_rows(torch.zeros(5, 1, 1)))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (
                Names(event_feats=["met", "ht"]),
                r"'u' of the batch must have the features .*: the same names in another",
            ),
            (Names(event_feats=["ht", "n_jets"]), "n_jets instead of met"),
            (Names(cat_feats=["channel", "year"]), "'cat' of the batch must have .*: year instead of flavour"),
        ],
    )
    def test_a_batch_with_other_names(self, x, names, message):
        batch = make_batch(None, names=names, u=x[:, :2], cat=x[:, 2:].long())
        with pytest.raises(ValueError, match=message):
            CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)(batch)

    def test_a_batch_with_the_names_of_the_columns_that_it_takes(self, x):
        head = CatEmbHead(CONT_FEATS[::-1])
        head.set_input_mask([1, 0], 2)
        batch = make_batch(None, names=Names(event_feats=CONT_FEATS), u=x[:, :2])
        assert torch.equal(head(batch), head(make_batch(None, u=x[:, :2])))

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("u", torch.zeros(2), "'u' of the batch must have the shape"),
            ("u", torch.zeros(4, 2), "'u' of the batch must have the shape"),
            ("cat", torch.zeros(3, 2).long(), "of the batch must have the shape"),
            ("cat", torch.zeros(5, 2), "'cat' of the batch must hold integers"),
        ],
    )
    def test_a_batch_whose_fields_do_not_fit(self, x, field, value, message):
        batch = make_batch(None, u=x[:, :2], cat=x[:, 2:].long())
        batch[field] = value
        with pytest.raises(ValueError, match=message):
            CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)(batch)

    def test_a_feature_that_is_nan(self, x):
        x[2, 1] = torch.nan
        with pytest.raises(ValueError, match="event 2: feature 'met' must be a number, got NaN"):
            CatEmbHead(CONT_FEATS, cat_embedder=CATEGORIES)(x)

    @pytest.mark.parametrize("names", [["ht", "ht"], "ht", [1], None])
    def test_names_that_are_no_list_of_different_names(self, names, plain_python):
        with pytest.raises(ValueError, match="cont_feats must be a list of different names"):
            CatEmbHead(names)

    def test_a_feature_that_is_continuous_and_a_category(self):
        with pytest.raises(ValueError, match="'channel' is named in cont_feats and in cat_embedder"):
            CatEmbHead(["ht", "channel"], cat_embedder=CATEGORIES)

    def test_an_unknown_keyword(self):
        with pytest.raises(TypeError, match="do_contt"):
            CatEmbHead(CONT_FEATS, do_contt=0.1)


class TestCatEmbHeadExamplesOfTheReference:
    @pytest.mark.parametrize(
        ("categories", "arguments"),
        [
            (False, {}),
            (True, {}),
            (True, {"do_cont": 0.1, "do_cat": 0.05}),
            (True, {"lookup_init": lookup_uniform_init}),
        ],
    )
    def test_it_runs_as_it_stands(self, x, categories, arguments):
        embedder = {"cat_embedder": CatEmbedder.from_fy(train_fy())} if categories else {}
        head = CatEmbHead(cont_feats=CONT_FEATS, **embedder, **arguments)
        y = head(x if categories else x[:, :2])
        assert y.shape == (5, 7 if categories else 2) == (5, head.get_out_size())


class TestPlotEmbeds:
    def head(self):
        return CatEmbHead(["ht"], cat_embedder=CatEmbedder(["channel", "flavour"], [3, 5]))

    def test_one_figure_with_a_panel_per_category(self, tmp_path):
        head = self.head()
        axes = head.plot_embeds(tmp_path / "embeds")
        assert [path.name for path in tmp_path.iterdir()] == ["embeds.png"]
        assert [ax.get_title() for ax in axes] == ["channel", "flavour"]
        assert axes[0].figure is axes[1].figure
        for ax, embedding in zip(axes, head.embeds, strict=True):
            drawn = ax.images[0].get_array()
            assert drawn.tolist() == embedding.weight.detach().double().tolist()
            assert ax.images[0].get_clim() == axes[0].images[0].get_clim()
        plt.close(axes[0].figure)

    def test_settings_are_followed(self, tmp_path):
        axes = self.head().plot_embeds(str(tmp_path / "embeds"), PlotSettings(format=".pdf", seq_palette="cividis"))
        assert (tmp_path / "embeds.pdf").stat().st_size > 1000
        assert axes[0].images[0].get_cmap().name == "cividis"
        plt.close(axes[0].figure)

    def test_without_categories_there_is_nothing_to_draw(self):
        with pytest.raises(ValueError, match="embeddings must have at least one entry, got none"):
            CatEmbHead(["ht"]).plot_embeds()
