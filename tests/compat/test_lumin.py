"""Weights of LUMIN give LUMIN's outputs, for every block; weights and outputs were made by LUMIN 0.9.1 itself."""

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lumigraph import Model, ModelBuilder, blocks
from lumigraph.blocks import AbsConv1dHead, CatEmbedder, FullyConnected, MultiHead
from lumigraph.compat.lumin import load_state_dict


def read_made() -> tuple[dict[str, Any], dict[str, dict[str, Tensor]], dict[str, list[int]]]:
    file = torch.load(Path(__file__).parent / "data" / "lumin.pt", weights_only=True)
    made: dict[str, dict[str, Tensor]] = {name: {} for name in file["cases"]}
    start = 0
    for name, key, shape in file["index"]:
        size = math.prod(shape)
        made[name][key] = file["values"][start : start + size].reshape(shape)
        start += size
    return file["cases"], made, file["feat_map"]


CASES, MADE, FEAT_MAP = read_made()
N_IN = 6


class Convolutions(AbsConv1dHead):
    def get_layers(self, described: list[Any], **_: Any) -> nn.Module:
        return nn.Sequential(*((getattr(self, kind, None) or getattr(nn, kind))(**given) for kind, given in described))


def build(block: str, arguments: dict[str, Any]) -> nn.Module:
    arguments = dict(arguments)
    if block == "Model":
        head = build(*arguments["head"])
        body = FullyConnected(head.get_out_size(), head.feat_map, **arguments["body"])
        return nn.Sequential(head, body, blocks.ClassRegMulti(body.get_out_size(), **arguments["tail"]))
    if block == "MultiBlock":
        arguments["blocks"] = [partial(FullyConnected, **options) for options in arguments["blocks"]]
    if block in ("FullyConnected", "MultiBlock"):
        return getattr(blocks, block)(N_IN, FEAT_MAP, **arguments)
    if block == "ClassRegMulti":
        return blocks.ClassRegMulti(N_IN, **arguments)
    arguments.pop("feat_extractor", None)  # a module: LUMIN saves it, but never calls it
    if "cats" in arguments:
        arguments["cat_embedder"] = CatEmbedder(**arguments.pop("cats"))
    if "matrix_head" in arguments:
        inner, options = arguments["matrix_head"]
        arguments["matrix_head"] = partial(getattr(blocks, inner), **legacy(inner), **options)
    cls = Convolutions if block == "AbsConv1dHead" else getattr(blocks, block)
    return cls(**legacy(block), **arguments)


def legacy(block: str) -> dict[str, bool]:
    return {"legacy_edges": True} if block == "InteractionNet" else {}


def state_of(name: str) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in MADE[name].items() if key not in ("x", "y")}


def every(*wanted: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [n for n, (b, _) in CASES.items() if not wanted or b in wanted])


@every()
def test_the_weights_of_lumin_give_its_output(name):
    kind, arguments = CASES[name]
    block, x, expected = build(kind, arguments), MADE[name]["x"], MADE[name]["y"]
    assert not torch.allclose(block.eval()(x), expected) or kind == "CatEmbHead"
    load_state_dict(block, state_of(name))
    close = 1e-5 if "Boost" in str(CASES[name]) else 1e-6
    y = block(x)
    if arguments.get("bidirectional"):  # its backward state in LUMIN has seen only the last object
        y, expected = y.chunk(2, dim=1)[0], expected.chunk(2, dim=1)[0]
    # single precision: sums of large terms of either sign are only as good as the largest of them
    torch.testing.assert_close(y, expected, rtol=close, atol=close * max(1.0, float(expected.abs().max())))


@every("InteractionNet", "RecurrentHead", "AbsConv1dHead", "LorentzBoostNet", "AutoExtractLorentzBoostNet")
def test_a_matrix_gives_the_same_as_the_flat_table(name):
    kind, arguments = CASES[name]
    block, x = build(kind, arguments).eval(), MADE[name]["x"]
    load_state_dict(block, state_of(name))
    vecs, feats = arguments["vecs"], arguments["feats_per_vec"]
    columns = {f"{v}_{f}": torch.zeros(len(x)) for v in vecs for f in feats}
    columns |= dict(zip(arguments["cont_feats"], x.t(), strict=True))
    rows = torch.stack([torch.stack([columns[f"{v}_{f}"] for f in feats], dim=1) for v in vecs], dim=1)
    torch.testing.assert_close(block((None, rows if block.row_wise else rows.transpose(1, 2))), block(x))


@every("InteractionNet")
def test_without_the_ring_of_edges_the_output_is_another(name):
    _, arguments = CASES[name]
    block = blocks.InteractionNet(**arguments).eval()
    load_state_dict(block, state_of(name))
    same = torch.allclose(block(MADE[name]["x"]), MADE[name]["y"], rtol=1e-3)
    # a ring of two objects at most is complete, and sums of linear functions do not tell who heard whom
    assert same == (len(arguments["vecs"]) <= 2 or arguments.get("act") == "linear")


@every("InteractionNet", "AutoExtractLorentzBoostNet", "Model")
def test_names_of_lumin_0_7_have_one_level_less(name):
    kind, arguments = CASES[name]
    older = {key.replace(".bn.", "."): value for key, value in state_of(name).items()}
    block = build(kind, arguments).eval()
    load_state_dict(block, older)
    torch.testing.assert_close(block(MADE[name]["x"]), MADE[name]["y"], rtol=1e-5, atol=1e-5)


def test_a_saved_model_of_lumin_loads_into_a_model():
    _, arguments = CASES["model"]
    head = arguments["head"][1]
    inner, options = head["matrix_head"]
    matrix_head = partial(getattr(blocks, inner), **legacy(inner), **options)
    builder = ModelBuilder(
        "multiclass", 2, head["cont_feats"], head=MultiHead, cat_embedder=CatEmbedder(**head["cats"]),
        model_args={"head": {"matrix_head": matrix_head}, "body": arguments["body"]},
    )  # fmt: skip
    model = Model(builder)
    load_state_dict(model, {"model": state_of("model"), "opt": {"state": {}}, "input_mask": None})
    torch.testing.assert_close(model.predict(MADE["model"]["x"], as_np=False), MADE["model"]["y"].exp())


def test_a_model_of_some_columns_takes_only_weights_of_the_same_columns():
    def model(**options: Any) -> Model:
        embedder = CatEmbedder(["channel"], [3])
        return Model(ModelBuilder("regression", 1, ["a", "b", "c", "d"], cat_embedder=embedder, **options))

    given = model(input_mask=[0, 2])
    state = {"model": given.model.state_dict(), "input_mask": np.array([0, 2, 4])}  # categories count in LUMIN
    x, same, others = torch.rand(5, 5), model(input_mask=[0, 2]), model(input_mask=[0, 3])
    x[:, 4] = 1.0
    load_state_dict(same, state)
    torch.testing.assert_close(same.predict(x, as_np=False), given.predict(x, as_np=False))
    before = others.get_weights()
    with pytest.raises(ValueError, match=r"the columns \[0, 3\], got \[0, 2, 4\]: .* input_mask of ModelB"):
        load_state_dict(others, state)
    assert all(torch.equal(value, before[name]) for name, value in others.model.state_dict().items())


def test_names_of_a_model_that_was_trained_on_several_devices():
    name = "interaction relu, batch norm"
    block = build(*CASES[name]).eval()
    load_state_dict(block, {f"module.{key}": value for key, value in state_of(name).items()})
    torch.testing.assert_close(block(MADE[name]["x"]), MADE[name]["y"], rtol=1e-5, atol=1e-5)


def test_what_lumin_does_not_save_is_kept():
    tail = blocks.ClassRegMulti(N_IN, 2, "regression", y_range=(0.0, 7.0))
    head = build(*CASES["interaction sum, depth 2"])
    head.set_scaling(x=(torch.ones(4), 2 * torch.ones(4)))
    load_state_dict(tail, state_of("tail, range"))
    load_state_dict(head, state_of("interaction sum, depth 2"))
    assert tail.y_diff.tolist() == [7.0, 7.0]
    assert head.scale.std.tolist() == [2.0] * 4


def test_the_precision_of_the_block_is_kept():
    block = build(*CASES["lorentz, batch norm"]).double()
    load_state_dict(block, state_of("lorentz, batch norm"))
    assert {p.dtype for p in block.parameters()} == {torch.float64}
    assert block.bn.num_batches_tracked == 7


def test_a_model_with_such_a_body_is_saved_and_loaded_with_its_normalisations(tmp_path):
    _, arguments = CASES["residual 4, prelu"]
    feats = [f"f{i}" for i in range(N_IN)]
    model = Model(ModelBuilder("regression", 2, feats, model_args={"body": arguments}))
    load_state_dict(model.body, state_of("residual 4, prelu"))
    assert model.body.res_bns is not None
    x, weights = MADE["residual 4, prelu"]["x"], model.get_weights()
    again = Model.load(model.save(tmp_path / "model.pt"))
    torch.testing.assert_close(again.predict(x, as_np=False), model.predict(x, as_np=False))
    again.set_weights(weights)
    model.freeze_layers()
    assert not any(p.requires_grad for p in model.parameters())


def test_a_residual_body_gets_the_normalisation_that_lumin_always_has():
    name = "residual 4, prelu"
    body = build(*CASES[name]).train()
    assert body.res_bns is None
    load_state_dict(body, state_of(name))
    assert len(body.res_bns) == 2
    assert all(norm.training for norm in body.res_bns)
    load_state_dict(body, state_of(name))  # they are there now
    assert all(p.requires_grad for p in body.parameters())
    assert torch.equal(body.res_bns[1].running_mean, state_of(name)["res_bns.1.running_mean"])


def test_a_frozen_body_stays_frozen_when_it_gets_normalisation():
    name = "residual 4, prelu"
    kind, arguments = CASES[name]
    body = build(kind, {**arguments, "freeze": True})
    load_state_dict(body, state_of(name))
    assert {p.requires_grad for p in body.res_bns.parameters()} == {False}


def test_our_own_state_loads_as_well():
    given, other = (blocks.ClassRegMulti(N_IN, 2, "regression", y_range=(0.0, end)) for end in (7.0, 8.0))
    load_state_dict(other, given.state_dict())
    assert other.y_diff.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("shape", [(), (4,), (3, 4, 1, 1), (3, 1, 5, 1)], ids=str)
def test_weights_of_particles_of_another_shape_are_refused(shape):
    net, state = build(*CASES["lorentz"]), state_of("lorentz")
    before = net.conv.part_wgts.clone()
    with pytest.raises(ValueError, match=r"'conv\.part_wgts' has the shape"):
        load_state_dict(net, {**state, "part_wgts": torch.ones(shape)})
    assert torch.equal(net.conv.part_wgts, before)


def test_a_trained_module_does_not_get_weights_that_lumin_never_used():
    _, arguments = CASES["lorentz, module"]
    net = blocks.LorentzBoostNet(**{**arguments, "feat_extractor": nn.Linear(4, 2)})
    with pytest.raises(ValueError, match=r"'extractor\.weight' .*missing"):
        load_state_dict(net, state_of("lorentz, module"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.1.0.weight": None}, "'layers.1.0.weight' missing:"),
        ({"layers.9.weight": torch.ones(1)}, "'layers.9.weight' superfluous:"),
        ({"layers.0.0.bias": torch.ones(9)}, r"'layers.0.0.bias' has the shape \(9,\), not \(5,\):"),
        (dict.fromkeys(state_of("residual 4, prelu")), r"'layers.0.0.weight' \(and \d+ more\) missing: build"),
        (
            {
                "layers.0.0.bias": None,
                "bias": torch.ones(1),
                "weight": torch.ones(1),
                "layers.0.0.weight": torch.ones(1),
            },
            r"'layers.0.0.bias' missing; 'bias' \(and 1 more\) superfluous; 'layers.0.0.weight' has the shape",
        ),
    ],
    ids=["missing", "superfluous", "shape", "empty", "each"],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    body, state = build(*CASES["residual 4, prelu"]), {**state_of("residual 4, prelu"), **change}
    before = copy.deepcopy(body.state_dict())
    with pytest.raises(ValueError, match="state must fit this FullyConnected, got .*" + message):
        load_state_dict(body, {name: value for name, value in state.items() if value is not None})
    after = body.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_what_holds_no_weights_is_refused():
    with pytest.raises(TypeError, match="block_or_model must be a block or a model, got dict"):
        load_state_dict({}, {})
    body = build(*CASES["dense"])
    with pytest.raises(TypeError, match=r"state must be a state_dict, got str: read a file with torch\.load"):
        load_state_dict(body, "lumin.pt")
    for state, message in (({"opt": {}}, "dict as 'opt'"), ({0: torch.ones(1)}, "Tensor as 0")):
        with pytest.raises(TypeError, match="state must hold only tensors by name, got " + message):
            load_state_dict(body, state)
