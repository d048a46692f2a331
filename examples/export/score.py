"""Score the events of a ROOT file with an exported model, using only numpy, awkward, uproot and onnxruntime.

    lumigraph export tth.pt tth.onnx
    python score.py tth.onnx events.root --out scores.csv

The file itself describes the model: the columns that it takes, in their order, and its outputs.
"""

import argparse
import json
from typing import Any

import awkward as ak
import numpy as np
import onnxruntime
import uproot


def features(table: Any, name: str) -> dict[str, Any]:
    """Return the columns of an object, and those computed from them as in the model's metadata (`features`)."""
    has = {field.removeprefix(f"{name}_"): table[field] for field in table.fields if field.startswith(f"{name}_")}
    has = {feat: ak.values_astype(values, np.float64) for feat, values in has.items()}
    if "px" not in has:
        has["px"], has["py"] = has["pt"] * np.cos(has["phi"]), has["pt"] * np.sin(has["phi"])
    zero = 0 * has["px"]
    pt = has.setdefault("pt", np.hypot(has["px"], has["py"]))
    has.setdefault("pz", pt * np.sinh(has["eta"]) if "eta" in has else zero)
    has.setdefault("E", np.sqrt(pt**2 + has["pz"] ** 2 + has.get("mass", zero) ** 2))
    has.setdefault("eta", np.arcsinh(has["pz"] / np.maximum(pt, 1e-30)))
    has.setdefault("phi", np.arctan2(has["py"], has["px"]))
    return {
        "log_pt": np.log(np.maximum(pt, 1e-3)),
        "log_E": np.log(np.maximum(has["E"], 1e-3)),
        f"is_{name}": zero + 1,
        "absent": zero,
        **has,
    }


def particles(table: Any, schema: dict[str, Any], feats: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of the particles (events, slots, features), and the mask of their slots (events, slots)."""
    objects = [features(table, name) for name in [*schema["vecs"], *schema["collections"]]]
    columns = []
    for feat in feats:
        values = [has.get(feat, has["absent"]) for has in objects]  # missing features are 0
        # a single object is a list of one
        columns.append(ak.concatenate([v if v.ndim > 1 else v[:, np.newaxis] for v in values], axis=1))
    slots = len(schema["vecs"]) or schema["max_particles"] or int(ak.max(ak.num(columns[0]), initial=0))
    matrix = [ak.to_numpy(ak.fill_none(ak.pad_none(column, slots, clip=True), np.nan)) for column in columns]
    rows = np.stack(matrix, axis=2).astype(np.float32)
    mask = ~np.isnan(rows).all(axis=2)
    return np.where(mask[:, :, np.newaxis], rows, 0), mask


def scores(model: str, file: str) -> dict[str, np.ndarray]:
    """Return the outputs of a model for the events of a ROOT file, by name."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    schema, inputs, output = (json.loads(about[key]) for key in ("schema", "inputs", "output"))
    if schema.get("derived") or schema.get("object_selection") or schema.get("event_selection"):
        raise SystemExit(f"{model} computes columns or selects objects first: apply its schema before, {schema}")
    if about["form"] != "padded":
        raise SystemExit(f"{model} takes particles in the form {about['form']!r}: export it with --form padded")
    with uproot.open(file) as opened:
        tree = next(value for value in opened.values() if isinstance(value, uproot.TTree))
        table = tree.arrays()
    feeds: dict[str, np.ndarray] = {}
    if "rows" in inputs:
        feeds["rows"], feeds["mask"] = particles(table, schema, inputs["rows"]["columns"])
    for name in ("u", "cat"):
        if name in inputs:
            matrix = np.stack([ak.to_numpy(table[column]) for column in inputs[name]["columns"]], axis=1)
            feeds[name] = matrix.astype(inputs[name]["dtype"])
    (out,) = session.run([output["name"]], feeds)
    return {name: out[:, i] for i, name in enumerate(output["columns"])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--out", default="scores.csv")
    options = parser.parse_args()
    found = scores(options.model, options.file)
    table = np.stack(list(found.values()), axis=1)
    np.savetxt(options.out, table, delimiter=",", header=",".join(found), comments="", fmt="%.9g")
    print(f"{len(table)} events -> {options.out}")
