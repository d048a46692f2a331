"""The models of the examples on the shipped ttH sample."""

from functools import partial

from lumigraph import CatEmbHead, InteractionNet, LorentzBoostNet, ModelBuilder, MultiHead
from lumigraph.data import EventDataset

EPOCHS, BATCH_SIZE = 20, 128


def interaction_builder(train: EventDataset, events: EventDataset, objective: str = "classification") -> ModelBuilder:
    """Event features and categories beside an interaction network over all particles."""
    net = partial(
        InteractionNet, intfunc_depth=2, intfunc_width=64, intfunc_out_sz=32,
        outfunc_depth=2, outfunc_width=64, outfunc_out_sz=32, agg_method="mean", do=0.1,
    )  # fmt: skip
    return ModelBuilder.from_dataset(
        train,
        objective,
        all_events=events,
        head=MultiHead,
        model_args={"head": {"matrix_head": net}, "body": {"depth": 2, "width": 64, "do": 0.1}},
    )


def boost_builder(train: EventDataset, events: EventDataset, objective: str = "classification") -> ModelBuilder:
    """Event features and categories beside a Lorentz boost network; b-tags and the like are carried along."""
    return ModelBuilder.from_dataset(
        train,
        objective,
        all_events=events,
        head=MultiHead,
        model_args={
            "head": {"matrix_head": partial(LorentzBoostNet, n_particles=8)},
            "body": {"depth": 2, "width": 128, "do": 0.4},
        },
    )


def event_features_builder(
    train: EventDataset, events: EventDataset, objective: str = "classification"
) -> ModelBuilder:
    """Event features and categories alone: what one has without looking at the particles."""
    return ModelBuilder.from_dataset(
        train, objective, all_events=events, head=CatEmbHead, model_args={"body": {"depth": 2, "width": 64, "do": 0.1}}
    )
