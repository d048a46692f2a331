"""Times of exported models against eager PyTorch: latency of one event, and throughput in batches of 256.

    python tests/benchmarks/export.py [--events 2560] [--rounds 15] [--threads 1] [--only interaction boosts]

The models are those of the examples, untrained, on the shipped events. Contestants take turns in one process; a ratio
is taken round by round, and its median and quartiles are printed. Above 1 the exported model is faster. ``predict`` is
what a user of lumigraph calls; ``eager`` the modules alone, on a Batch that is made beforehand.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from tables import Row, print_table
from timing import paired, ratio, seconds

from lumigraph import InteractionNet, LorentzBoostNet, Model, ModelBuilder, MultiHead, RecurrentHead, load_sample
from lumigraph.export.interface import Interface

WIDE = {
    "intfunc_depth": 2, "intfunc_width": 64, "intfunc_out_sz": 32, "outfunc_depth": 2, "outfunc_width": 64,
    "outfunc_out_sz": 32, "agg_method": "mean",
}  # fmt: skip
HEADS = {
    "interaction": partial(InteractionNet, **WIDE),
    "boosts": partial(LorentzBoostNet, n_particles=8),
    "recurrent": partial(RecurrentHead, depth=1, width=64, rnn="GRU"),
}


def against_eager(name: str, options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of one head."""
    events = load_sample()
    torch.manual_seed(0)
    args = {"head": {"matrix_head": HEADS[name]}, "body": {"depth": 2, "width": 64}}
    model = Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args))
    forms = {form: Interface.of(model.model, model.model_builder, form) for form in ("padded", "jagged")}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in forms:
            file = model.export(Path(folder) / f"{form}.onnx", form=form).path
            sessions[form] = onnxruntime.InferenceSession(file, settings, ["CPUExecutionProvider"])
    for size in (1, 256):
        batches = [events.batch(range(i, i + size)) for i in range(0, min(options.events, 40 * size), size)]
        feeds = {f: [{k: v.numpy() for k, v in face.of_batch(b).items()} for b in batches] for f, face in forms.items()}

        def eager(batches: list = batches, module: torch.nn.Module = model.model) -> None:
            with torch.inference_mode():
                for batch in batches:
                    module(batch)

        contestants: list[Callable[[], object]] = [eager, lambda b=batches: [model.predict(x) for x in b]]
        contestants += [
            lambda s=sessions[f], x=feeds[f]: [s.run(None, feed) for feed in x] for f in ("padded", "jagged")
        ]
        times = paired([seconds(contestant) for contestant in contestants], options.rounds)
        for label, taken in zip(("eager", "predict", "ONNX, padded", "ONNX, flat"), times, strict=True):
            found = statistics.median(taken) / len(batches)
            said = f"{1e3 * found:.3f} ms" if size == 1 else f"{size / found:,.0f} events/s"
            yield Row(f"{name}, {size} event{'s' if size > 1 else ''} at a time: {label}", said)
        for label, taken in zip(("padded", "flat"), times[2:], strict=True):
            yield Row(f"{name}, {size} at a time: ONNX, {label}, against eager", ratio(times[0], taken))


CASES = {name: partial(against_eager, name) for name in HEADS}


def prepare(options: argparse.Namespace) -> tuple[argparse.Namespace]:
    """Return what the cases are called with."""
    torch.set_num_threads(options.threads)
    return (options,)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2560)
    print_table(parser, CASES, prepare)
