"""Generate jets for top tagging: hadronic tops against light quarks and gluons, as in the community's reference set.

Run it with::

    python examples/top_tagging/generate.py --out jets.parquet [--jets 40000] [--seed 1] [--processes 2]

It needs the extra ``physics`` (``pip install "lumigraph[physics]"``) and writes one Parquet file, half of its jets
tops, in random order. The columns are those that ``lumigraph.data`` finds in the HDF5 files of the reference set
(G. Kasieczka et al., arXiv:1902.09914): ``Constituent_E``, ``Constituent_px``, ``Constituent_py`` and
``Constituent_pz``, up to 200 constituents per jet, hardest first, in GeV, and ``is_signal_new``.

Like the reference set: pp at 14 TeV with Pythia, no multiple parton interactions and no pile-up; hadronic tt against
QCD dijets; anti-kT jets with R = 0.8; the leading jet of an event, 550 < pT < 650 GeV and abs(eta) < 2; for tops, the
top and its three decay quarks within dR = 0.8 of the jet axis.

Unlike it: there is no detector (the reference uses Delphes' ATLAS card). Constituents are the stable particles except
neutrinos, with abs(eta) < 4, exact momenta, and E = abs(p), so that masses do not reveal species. These jets are
easier to tell apart than those of the reference, and figures of merit must not be compared between the two.

Jets are made in chunks of fixed size whose seeds depend only on ``--seed``, the process and the number of the chunk,
so the file does not depend on ``--processes``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import fastjet
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pythia8mc
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[1]))
from generate_sample import Particles, delta_r, pt_eta_phi, run_tasks, split_batch, to_float32

# Physics processes; the position in this dictionary is the label. pTHat is that of the two hardest partons: a few per
# mille of the QCD jets with a pT of 550 GeV or more come from below 300 GeV, against several other jets.
PROCESSES = {
    "QCD": ["HardQCD:all = on"],
    "top": ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off", "24:onIfAny = 1 2 3 4 5"],
}
PYTHIA_SETTINGS = [
    "Print:quiet = on",
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 14000.",
    "PartonLevel:MPI = off",
    "PhaseSpace:pTHatMin = 300.",
    "PhaseSpace:pTHatMax = 1200.",
    "ParticleDecays:limitTau0 = on",  # particles with c tau > 10 mm reach the detector
    "ParticleDecays:tau0Max = 10.",
]
VISIBLE_ETA, JET_RADIUS, JET_PT, JET_ETA, MATCH_RADIUS, MOST = 4.0, 0.8, (550.0, 650.0), 2.0, 0.8, 200
CHUNK_JETS, BATCH_EVENTS = 250, 100
NEUTRINOS = (12, 14, 16)


def make_pythia(process: str, seed: int) -> pythia8mc.Pythia:
    """Return an initialised generator."""
    pythia = pythia8mc.Pythia("", False)
    for line in [*PYTHIA_SETTINGS, "Random:setSeed = on", f"Random:seed = {seed}", *PROCESSES[process]]:
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting {line!r}")
    if not pythia.init():
        raise RuntimeError(f"Pythia could not be initialised for the process {process}")
    return pythia


def leading_jet(p4: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the four-momentum of the leading jet and the rows of its constituents; None outside the window."""
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    pseudojets = [fastjet.PseudoJet(*row) for row in p4.tolist()]
    for i, pseudojet in enumerate(pseudojets):
        pseudojet.set_user_index(i)
    sequence = fastjet.ClusterSequence(pseudojets, definition)
    jets = sequence.inclusive_jets(JET_PT[0])
    if not jets:
        return None
    jet = max(jets, key=lambda jet: jet.pt())
    if jet.pt() > JET_PT[1] or abs(jet.eta()) > JET_ETA:
        return None
    rows = np.array([constituent.user_index() for constituent in jet.constituents()])
    return np.array([jet.px(), jet.py(), jet.pz(), jet.E()]), rows


def is_top(axis: np.ndarray, particles: Particles) -> bool:
    """Tell whether a top and its three decay quarks are all near the axis of the jet."""
    for sign in (1, -1):
        top, w_boson = (np.flatnonzero(particles.pdg_id == sign * code)[-1] for code in (6, 24))  # their last copies
        bottom = (particles.mother == top) & (np.abs(particles.pdg_id) < 6)
        quarks = (particles.mother == w_boson) & (np.abs(particles.pdg_id) < 6)
        near = delta_r(axis[None], particles.p4[[top, *np.flatnonzero(bottom | quarks)]])[0] < MATCH_RADIUS
        if len(near) == 4 and near.all():
            return True
    return False


def find_jet(particles: Particles, label: int) -> np.ndarray | None:
    """Return the constituents of the event's jet, hardest first; None if the event fails the selection."""
    stable = (particles.status > 0) & ~np.isin(np.abs(particles.pdg_id), NEUTRINOS)
    p4 = particles.p4[stable]
    p4 = p4[np.abs(pt_eta_phi(p4)[1]) < VISIBLE_ETA]
    p4[:, 3] = np.sqrt((p4[:, :3] ** 2).sum(axis=1))
    found = leading_jet(p4)
    if found is None or (label == 1 and not is_top(found[0], particles)):
        return None
    constituents = p4[found[1]]
    return to_float32(constituents[np.argsort(-pt_eta_phi(constituents)[0], kind="stable")][:MOST])


def make_chunk(task: tuple[int, int, int, int]) -> dict[str, Any]:
    """Generate one chunk: the task is (seed, label, number of the chunk, jets wanted)."""
    seed, label, number, wanted = task
    pythia_seed = int(np.random.SeedSequence([seed, label, number]).generate_state(1)[0])
    pythia = make_pythia(list(PROCESSES)[label], 1 + pythia_seed % 900_000_000)
    jets: list[np.ndarray] = []
    generated = 0
    while len(jets) < wanted:
        for particles, _ in split_batch(pythia.nextBatch(BATCH_EVENTS)):
            generated += 1
            if (jet := find_jet(particles, label)) is not None:
                jets.append(jet)
    # count all of the last batch, so that the efficiency is not biased
    return {"task": task, "jets": jets[:wanted], "generated": generated, "selected": len(jets)}


def make_chunks(jets: int, seed: int, processes: int) -> list[dict[str, Any]]:
    """Generate half of the jets for each process and return the chunks in a fixed order."""
    tasks = [
        (seed, label, number, min(CHUNK_JETS, jets // 2 - start))
        for number, start in enumerate(range(0, jets // 2, CHUNK_JETS))
        for label in range(len(PROCESSES))
    ]
    chunks = []
    with tqdm(total=jets, unit="jet", disable=None) as bar:
        for chunk in run_tasks(make_chunk, tasks, processes):
            chunks.append(chunk)
            bar.update(len(chunk["jets"]))
    return sorted(chunks, key=lambda chunk: chunk["task"])


def make_table(chunks: list[dict[str, Any]], seed: int) -> pa.Table:
    """Shuffle the jets of all chunks and return them as a table."""
    jets = [jet for chunk in chunks for jet in chunk["jets"]]
    labels = np.concatenate([np.full(len(chunk["jets"]), chunk["task"][1]) for chunk in chunks])
    order = np.random.default_rng([seed, len(jets)]).permutation(len(jets))
    jets, labels = [jets[i] for i in order], labels[order]
    offsets = pa.array(np.cumsum([0, *map(len, jets)]), pa.int32())
    flat = np.concatenate(jets)
    columns = {
        f"Constituent_{feature}": pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(flat[:, i])))
        for i, feature in ((3, "E"), (0, "px"), (1, "py"), (2, "pz"))
    }
    columns["is_signal_new"] = pa.array(labels, pa.int8())
    about: dict[str, Any] = {"seed": seed, "settings": PYTHIA_SETTINGS, "processes": {}}
    about["pythia8mc"] = f"{pythia8mc.Pythia('', False).parm('Pythia:versionNumber'):.3f}"
    about["fastjet"] = fastjet.__version__
    for label, (name, settings) in enumerate(PROCESSES.items()):
        mine = [chunk for chunk in chunks if chunk["task"][1] == label]
        counts = {key: sum(chunk[key] for chunk in mine) for key in ("generated", "selected")}
        about["processes"][name] = {"label": label, "settings": settings, **counts}
    return pa.table(columns).replace_schema_metadata({"lumigraph": json.dumps(about, indent=1)})


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, generate and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--jets", type=int, default=40_000, help="jets to keep, half of them tops (40000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random numbers (1)")
    parser.add_argument(
        "--processes", type=int, default=2, help="processes to run in; they do not change the result (2)"
    )
    options = parser.parse_args(arguments)
    if options.jets < 2 or options.jets % 2:
        parser.error(f"--jets must be a positive even number, half of them tops; got {options.jets}")
    if options.processes < 1 or options.seed < 0:
        parser.error(
            f"--processes must be at least 1 and --seed at least 0; got {options.processes} and {options.seed}"
        )
    table = make_table(make_chunks(options.jets, options.seed, options.processes), options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, options.out, compression="zstd", row_group_size=5000)


if __name__ == "__main__":
    main()
