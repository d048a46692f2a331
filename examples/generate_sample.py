"""Generate the physics sample that lumigraph ships: ttH(bb) against tt + jets at 13 TeV, with simple detector effects.

Run it with::

    python examples/generate_sample.py --out DIR [--events 20000] [--seed 1] [--processes 2]

It writes ``DIR/tth.parquet`` (all events) and ``DIR/tth.root`` (the first 3,000 of them) and needs the extra
``physics`` (``pip install "lumigraph[physics]"``). For the contents of the files, and every cut and resolution, see
``docs/datasheet.md``.

The script follows the steps of an event from top to bottom: Pythia makes the particles, leptons are selected, FastJet
clusters the rest, the detector smears all of it, the selection is applied and the remaining events become table
columns. Events are made in chunks of fixed size whose seeds depend only on ``--seed``, the process and the number of
the chunk, so the files do not depend on ``--processes``.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import fastjet
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pythia8mc
import uproot
from tqdm import tqdm

# Physics processes; the position in this dictionary is the label.
PROCESSES = {
    "ttbar": ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on"],
    "ttH": ["HiggsSM:gg2Httbar = on", "HiggsSM:qqbar2Httbar = on", "25:onMode = off", "25:onIfMatch = 5 -5"],
}
PYTHIA_SETTINGS = [
    "Print:quiet = on",
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "ParticleDecays:limitTau0 = on",  # particles with c tau > 10 mm reach the detector
    "ParticleDecays:tau0Max = 10.",
]

# Detector and selection (GeV); docs/datasheet.md gives the reasons.
VISIBLE_ETA = 5.0
LEPTON_PT, ELECTRON_ETA, MUON_ETA = 25.0, 2.5, 2.4
DRESSING_RADIUS, ISOLATION_RADIUS, ISOLATION = 0.1, 0.3, 0.15
LEPTON_EFFICIENCY = {11: 0.85, 13: 0.95}
LEPTON_RESOLUTION = {11: 0.02, 13: 0.015}
JET_RADIUS, JET_PT, JET_ETA, MIN_JETS, CLUSTER_PT = 0.4, 30.0, 2.5, 4, 10.0
JET_NOISE, JET_STOCHASTIC, JET_CONSTANT = 2.0, 0.8, 0.04
TAG_PROBABILITY = {5: 0.70, 4: 0.15, 0: 0.01}  # by heaviest quark in the jet; 0 means u, d, s, gluon and hadronic tau
HADRON_PT, MATCH_RADIUS = 5.0, 0.4
SOFT_RESOLUTION = 10.0

CHUNK_EVENTS, BATCH_EVENTS, ROOT_EVENTS, ROW_GROUP_EVENTS = 200, 50, 3000, 5000
KIND = {"MET": 0, "Electron": 1, "Muon": 2, "Jet": 3}
MAX_JET_CATEGORY = 9
LEPTON_MASS = {"Electron": 0.00051099895, "Muon": 0.1056583755}


class LeptonFilter(pythia8mc.UserHooks):
    """Skip, before the showers, every event in which no W boson decays to a lepton: it cannot pass the selection."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.kept = 0

    def canVetoProcessLevel(self) -> bool:
        """Tell Pythia that this hook looks at hard processes."""
        return True

    def doVetoProcessLevel(self, process: pythia8mc.Event) -> bool:
        """Veto if there is no electron, muon or tau."""
        keep = any(process[i].idAbs() in (11, 13, 15) for i in range(process.size()))
        self.seen += 1
        self.kept += keep
        return not keep


class Particles(NamedTuple):
    """The full event record of one event as arrays with one entry per particle."""

    pdg_id: np.ndarray
    status: np.ndarray
    mother: np.ndarray
    p4: np.ndarray  # (particles, 4): px, py, pz, E


class Leptons(NamedTuple):
    """Reconstructed leptons, hardest first."""

    pdg_id: np.ndarray
    true_p4: np.ndarray
    p4: np.ndarray


def pt_eta_phi(p4: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return transverse momentum, pseudorapidity and azimuth of four-momenta (..., 4)."""
    pt = np.hypot(p4[..., 0], p4[..., 1])
    return pt, np.arcsinh(p4[..., 2] / np.maximum(pt, 1e-12)), np.arctan2(p4[..., 1], p4[..., 0])


def delta_r(p4: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angular distances, shape (len(p4), len(other))."""
    _, eta, phi = pt_eta_phi(p4)
    _, other_eta, other_phi = pt_eta_phi(other)
    turn = (phi[:, None] - other_phi[None, :] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(eta[:, None] - other_eta[None, :], turn)


# --- generation ------------------------------------------------------------------------------------------------------


def make_pythia(process: str, seed: int) -> tuple[pythia8mc.Pythia, LeptonFilter]:
    """Return an initialised generator and its filter; the filter must be kept alive as long as the generator."""
    pythia = pythia8mc.Pythia("", False)
    for line in [*PYTHIA_SETTINGS, "Random:setSeed = on", f"Random:seed = {seed}", *PROCESSES[process]]:
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting {line!r}")
    lepton_filter = LeptonFilter()
    pythia.setUserHooksPtr(lepton_filter)
    if not pythia.init():
        raise RuntimeError(f"Pythia could not be initialised for the process {process}")
    return pythia, lepton_filter


def split_batch(batch: ak.Array) -> Iterator[tuple[Particles, float]]:
    """Yield the particles and the weight of each event of one of Pythia's batches."""
    record = batch.prt
    ends = np.cumsum(ak.to_numpy(ak.num(record.id)))
    flat = ak.flatten(record)
    p4 = np.stack([ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e")], axis=1)
    pdg_id, status, mother = (ak.to_numpy(flat[name]) for name in ("id", "status", "mother1"))
    weights = ak.to_numpy(batch.info.weights[:, 0])
    for start, end, weight in zip([0, *ends[:-1]], ends, weights, strict=True):
        event = slice(start, end)
        yield Particles(pdg_id[event], status[event], mother[event], p4[event]), float(weight)


def generated_mass(particles: Particles) -> float:
    """Return the mass of the tops (and the Higgs boson) after all radiation: their last copies in the record."""
    last = [np.flatnonzero(particles.pdg_id == pdg_id)[-1:] for pdg_id in (6, -6, 25)]
    px, py, pz, energy = particles.p4[np.concatenate(last)].sum(axis=0)
    return math.sqrt(energy**2 - px**2 - py**2 - pz**2)


# --- reconstruction --------------------------------------------------------------------------------------------------


def from_w_boson(particles: Particles, candidates: np.ndarray) -> np.ndarray:
    """Tell which candidates descend from a W boson through charged leptons only, so not through a hadron."""
    current = candidates
    while (climbing := np.isin(np.abs(particles.pdg_id[current]), (11, 13, 15))).any():
        current = np.where(climbing, particles.mother[current], current)
    return np.abs(particles.pdg_id[current]) == 24


def find_leptons(particles: Particles, visible: np.ndarray, rng: np.random.Generator) -> tuple[Leptons, np.ndarray]:
    """Return the prompt, isolated, reconstructed leptons and the mask of their particles."""
    used = np.zeros(len(visible), dtype=bool)
    is_lepton = visible & np.isin(np.abs(particles.pdg_id), (11, 13)) & (pt_eta_phi(particles.p4)[0] > 10.0)
    candidates = np.flatnonzero(is_lepton)
    candidates = candidates[from_w_boson(particles, candidates)]
    radiated = visible & (particles.pdg_id == 22) & (particles.status < 80)  # photons that are not from hadrons
    found = []
    for lepton in candidates:
        near = delta_r(particles.p4[[lepton]], particles.p4)[0]
        own = radiated & ~used & (near < DRESSING_RADIUS)
        own[lepton] = True
        true_p4 = particles.p4[own].sum(axis=0)
        around = particles.p4[visible & ~own & (near < ISOLATION_RADIUS)]
        isolation = pt_eta_phi(around)[0].sum() / pt_eta_phi(true_p4)[0]
        smeared = smear_lepton(true_p4, abs(particles.pdg_id[lepton]), rng)
        efficient = rng.random() < LEPTON_EFFICIENCY[abs(particles.pdg_id[lepton])]
        pt, eta, _ = pt_eta_phi(smeared)
        max_eta = ELECTRON_ETA if abs(particles.pdg_id[lepton]) == 11 else MUON_ETA
        if efficient and isolation < ISOLATION and pt > LEPTON_PT and abs(eta) < max_eta:
            used |= own
            found.append((particles.pdg_id[lepton], true_p4, smeared))
    found.sort(key=lambda entry: -pt_eta_phi(entry[2])[0])
    pdg_id = np.array([entry[0] for entry in found], dtype=int)
    momenta = np.array([entry[1:] for entry in found]).reshape(-1, 2, 4)
    return Leptons(pdg_id, momenta[:, 0], momenta[:, 1]), used


def smear_lepton(p4: np.ndarray, flavour: int, rng: np.random.Generator) -> np.ndarray:
    """Smear the momentum of a lepton, keeping its direction, and put it on its mass shell."""
    momentum = p4[:3] * max(1.0 + LEPTON_RESOLUTION[flavour] * rng.normal(), 0.1)
    mass = LEPTON_MASS["Electron" if flavour == 11 else "Muon"]
    return np.append(momentum, math.sqrt(momentum @ momentum + mass**2))


def cluster(p4: np.ndarray) -> np.ndarray:
    """Return the anti-kT jets (jets, 4) of the given particles."""
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    sequence = fastjet.ClusterSequence([fastjet.PseudoJet(*row) for row in p4.tolist()], definition)
    jets = [(jet.px(), jet.py(), jet.pz(), jet.E()) for jet in sequence.inclusive_jets(CLUSTER_PT)]
    return np.array(jets).reshape(-1, 4)


def smear_jets(p4: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale each jet by a Gaussian factor whose width has a noise, a stochastic and a constant term."""
    pt = pt_eta_phi(p4)[0]
    width = np.sqrt((JET_NOISE / pt) ** 2 + JET_STOCHASTIC**2 / pt + JET_CONSTANT**2)
    return p4 * np.maximum(1.0 + width * rng.normal(size=len(p4)), 0.1)[:, None]


def holds_quark(pdg_id: np.ndarray, quark: int) -> np.ndarray:
    """Tell which PDG codes are hadrons with the given quark as their heaviest; diquarks (tens digit 0) are not."""
    code = np.abs(pdg_id)
    heaviest = np.where(code // 1000 % 10 > 0, code // 1000 % 10, code // 100 % 10)
    return (code > 100) & (code < 10**6) & (code // 10 % 10 > 0) & (heaviest == quark)


def tag_jets(jets: np.ndarray, particles: Particles, rng: np.random.Generator) -> np.ndarray:
    """Return 1 for jets that the b-tagger accepts, by the probability of their flavour."""
    probability = np.full(len(jets), TAG_PROBABILITY[0])
    hard = pt_eta_phi(particles.p4)[0] > HADRON_PT
    for quark in (4, 5):  # a jet with both is a b jet
        hadrons = particles.p4[hard & holds_quark(particles.pdg_id, quark)]
        matched = (delta_r(jets, hadrons) < MATCH_RADIUS).any(axis=1)
        probability[matched] = TAG_PROBABILITY[quark]
    return (rng.random(len(jets)) < probability).astype(np.int8)


def to_float32(p4: np.ndarray) -> np.ndarray:
    """Round four-momenta to float32, with E high enough to avoid a negative mass squared in float32."""
    rounded = p4.astype(np.float32)
    length = np.sqrt((rounded[..., :3].astype(np.float64) ** 2).sum(axis=-1))
    rounded[..., 3] = np.maximum(rounded[..., 3], (length * (1.0 + 2.0**-22)).astype(np.float32))
    return rounded


def reconstruct(particles: Particles, rng: np.random.Generator) -> dict[str, Any] | None:
    """Turn one generated event into reconstructed objects; None if it fails the selection."""
    invisible = np.isin(np.abs(particles.pdg_id), (12, 14, 16))
    visible = (particles.status > 0) & ~invisible & (np.abs(pt_eta_phi(particles.p4)[1]) < VISIBLE_ETA)
    leptons, used = find_leptons(particles, visible, rng)
    if len(leptons.p4) == 0:
        return None
    true_jets = cluster(particles.p4[visible & ~used])
    jets = smear_jets(true_jets, rng)
    blur = (jets - true_jets).sum(axis=0) + (leptons.p4 - leptons.true_p4).sum(axis=0)
    missing = -(particles.p4[visible].sum(axis=0) + blur)[:2] + rng.normal(scale=SOFT_RESOLUTION, size=2)
    pt, eta, _ = pt_eta_phi(jets)
    keep = (pt > JET_PT) & (np.abs(eta) < JET_ETA) & (delta_r(jets, leptons.p4) > JET_RADIUS).all(axis=1)
    jets = jets[keep][np.argsort(-pt[keep], kind="stable")]
    if len(jets) < MIN_JETS:
        return None
    tags = tag_jets(jets, particles, rng)
    return {"jets": jets, "tags": tags, "leptons": leptons, "missing": missing, "ttx_mass": generated_mass(particles)}


def describe(event: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of one reconstructed event: four-momenta in float32 and the scalars derived from them."""
    leptons = event["leptons"]
    is_electron = np.abs(leptons.pdg_id) == 11
    columns: dict[str, Any] = {"Jet_p4": to_float32(event["jets"]), "Jet_charge": np.zeros(len(event["jets"]), np.int8)}
    columns["Jet_btag"] = event["tags"]
    for name, chosen in (("Electron", is_electron), ("Muon", ~is_electron)):
        columns[f"{name}_p4"] = to_float32(leptons.p4[chosen])
        columns[f"{name}_charge"] = -np.sign(leptons.pdg_id[chosen]).astype(np.int8)
        columns[f"{name}_btag"] = np.zeros(chosen.sum(), np.int8)
    met_p4 = to_float32(np.array([*event["missing"], 0.0, np.hypot(*event["missing"])]))
    columns["MET_px"], columns["MET_py"], _, columns["MET_E"] = met_p4
    columns["met"] = met_p4[3]
    columns["ht"] = pt_eta_phi(columns["Jet_p4"].astype(np.float64))[0].sum()
    columns["n_jets"] = min(len(event["jets"]), MAX_JET_CATEGORY)
    columns["lepton_flavour"] = lepton_flavour(is_electron)
    columns["ttx_mass"] = event["ttx_mass"]
    columns["weight"] = event["weight"]
    return columns


def lepton_flavour(is_electron: np.ndarray) -> int:
    """Return 0 for e, 1 for mu, 2 for ee, 3 for e mu, 4 for mu mu; two W bosons never give more than two leptons."""
    muons = int((~is_electron).sum())
    return muons if len(is_electron) == 1 else 2 + muons


# --- chunks of events, in several processes --------------------------------------------------------------------------


def make_chunk(task: tuple[int, int, int, int]) -> dict[str, Any]:
    """Generate one chunk: the task is (seed, label, number of the chunk, events wanted)."""
    seed, label, number, wanted = task
    pythia_seed, numpy_seed = np.random.SeedSequence([seed, label, number]).generate_state(2)
    rng = np.random.default_rng(numpy_seed)
    pythia, lepton_filter = make_pythia(list(PROCESSES)[label], 1 + int(pythia_seed) % 900_000_000)
    events: list[dict[str, Any]] = []
    generated: list[float] = []  # the weights
    while len(events) < wanted:
        for particles, weight in split_batch(pythia.nextBatch(BATCH_EVENTS)):
            generated.append(weight)
            if (event := reconstruct(particles, rng)) is not None:
                events.append(describe({**event, "weight": weight}) | {"label": label})
    info = pythia.infoPython()
    return {
        "task": task,
        "events": events[:wanted],
        "generated": len(generated),
        "generated_weight": math.fsum(generated),
        "selected": len(events),  # counts all of the last batch, so that the efficiency is not biased
        "selected_weight": math.fsum(event["weight"] for event in events),
        "filter": (lepton_filter.kept, lepton_filter.seen),
        "cross_section_pb": (info.sigmaGen() * 1e9, info.sigmaErr() * 1e9),
    }


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Hide the output of C++ libraries."""
    sys.stdout.flush()
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)


def start_worker() -> None:
    """Suppress the banner of FastJet, printed once per process (its reference is in the datasheet)."""
    with quiet_stdout():
        cluster(np.array([[30.0, 0.0, 0.0, 30.0]]))


def make_chunks(events: int, seed: int, processes: int) -> list[dict[str, Any]]:
    """Generate half of the events for each process and return the chunks in a fixed order."""
    starts = range(0, events // 2, CHUNK_EVENTS)
    tasks = [
        (seed, label, number, min(CHUNK_EVENTS, events // 2 - start))
        for number, start in enumerate(starts)
        for label in range(len(PROCESSES))
    ]
    chunks = []
    with tqdm(total=events, unit="event", disable=None) as bar:
        for chunk in run_tasks(make_chunk, tasks, processes):
            chunks.append(chunk)
            bar.update(len(chunk["events"]))
    return sorted(chunks, key=lambda chunk: chunk["task"])


def run_tasks(function: Callable[[Any], dict[str, Any]], tasks: list[Any], processes: int) -> Iterator[dict[str, Any]]:
    """Yield the results of all tasks as they are ready."""
    if processes == 1:
        start_worker()
        yield from map(function, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(processes, initializer=start_worker) as pool:
        yield from pool.imap_unordered(function, tasks)


# --- files -----------------------------------------------------------------------------------------------------------


def make_table(chunks: list[dict[str, Any]], seed: int) -> pa.Table:
    """Shuffle the events of all chunks, number them and return them as a table."""
    events = [event for chunk in chunks for event in chunk["events"]]
    order = np.random.default_rng([seed, len(events)]).permutation(len(events))
    events = [events[i] for i in order]
    columns: dict[str, pa.Array] = {}
    for name in ("Jet", "Electron", "Muon"):
        columns |= object_columns(name, events)
    for feature in ("px", "py", "E"):
        columns[f"MET_{feature}"] = pa.array([event[f"MET_{feature}"] for event in events], pa.float32())
    for feature, code in (("charge", 0), ("btag", 0), ("kind", KIND["MET"])):
        columns[f"MET_{feature}"] = pa.array(np.full(len(events), code, np.int8))
    columns["event"] = pa.array(np.arange(len(events)))
    dtypes: dict[str, Any] = {"ht": np.float32, "met": np.float32, "n_jets": np.int32, "lepton_flavour": np.int32}
    dtypes |= {"weight": np.float32, "label": np.int8, "ttx_mass": np.float32}
    columns |= {name: pa.array(np.array([event[name] for event in events], dtype)) for name, dtype in dtypes.items()}
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, {"lumigraph": summary(chunks, seed)}))


def object_columns(name: str, events: list[dict[str, Any]]) -> dict[str, pa.Array]:
    """Return the jagged columns of one kind of object."""
    lengths = [len(event[f"{name}_p4"]) for event in events]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    p4 = np.concatenate([event[f"{name}_p4"] for event in events])
    values = {feature: p4[:, i] for i, feature in enumerate(("px", "py", "pz", "E"))}
    values |= {
        feature: np.concatenate([event[f"{name}_{feature}"] for event in events]) for feature in ("charge", "btag")
    }
    values["kind"] = np.full(len(p4), KIND[name], np.int8)
    columns = {}
    for feature, value in values.items():
        content = pa.array(np.ascontiguousarray(value))
        kind = pa.list_(pa.field("element", content.type, nullable=False))
        columns[f"{name}_{feature}"] = pa.ListArray.from_arrays(offsets, content, type=kind)
    return columns


def summary(chunks: list[dict[str, Any]], seed: int) -> str:
    """Return the metadata as JSON: versions, seed, cross sections (after the filter) and numbers of events."""
    text: dict[str, Any] = {"seed": seed, "energy_GeV": 13000, "settings": PYTHIA_SETTINGS, "processes": {}}
    versions = {"pythia8mc": f"{pythia8mc.Pythia('', False).parm('Pythia:versionNumber'):.3f}"}
    versions |= {"fastjet": fastjet.__version__, "numpy": np.__version__, "pyarrow": pa.__version__}
    text["versions"] = versions | {"awkward": ak.__version__, "uproot": uproot.__version__}
    for label, (name, settings) in enumerate(PROCESSES.items()):
        mine = [chunk for chunk in chunks if chunk["task"][1] == label]
        generated = np.array([chunk["generated"] for chunk in mine])
        value, error = np.array([chunk["cross_section_pb"] for chunk in mine]).T
        kept, seen = np.array([chunk["filter"] for chunk in mine]).sum(axis=0)
        text["processes"][name] = {
            "label": label,
            "settings": settings,
            "cross_section_pb": float(generated @ value / generated.sum()),
            "cross_section_error_pb": float(np.sqrt(((generated * error) ** 2).sum()) / generated.sum()),
            "filter_efficiency": float(kept / seen),
            "generated": int(generated.sum()),
            "generated_weight": math.fsum(chunk["generated_weight"] for chunk in mine),
            "selected": sum(chunk["selected"] for chunk in mine),
            "selected_weight": math.fsum(chunk["selected_weight"] for chunk in mine),
            "stored": sum(len(chunk["events"]) for chunk in mine),
        }
    return json.dumps(text, indent=1)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write all events, in row groups small enough for streaming."""
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=ROW_GROUP_EVENTS)


def write_root(table: pa.Table, path: Path) -> None:
    """Write the first events as a TTree with the column names of CMS NanoAOD."""
    events = ak.from_arrow(table.slice(0, ROOT_EVENTS))
    branches: dict[str, Any] = {}
    for name, extra in (("Jet", ["btag"]), ("Electron", ["charge"]), ("Muon", ["charge"])):
        px, py, pz, energy = (
            ak.values_astype(events[f"{name}_{feature}"], np.float64) for feature in ("px", "py", "pz", "E")
        )
        pt = np.hypot(px, py)
        mass = np.sqrt(np.maximum(energy**2 - (px**2 + py**2 + pz**2), 0.0))
        if name in LEPTON_MASS:  # computed from E and |p| in float32, it would be noise
            mass = ak.full_like(mass, LEPTON_MASS[name])
        shape = {"pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px), "mass": mass}
        columns = {feature: ak.values_astype(value, np.float32) for feature, value in shape.items()}
        branches[name] = ak.zip(columns | {feature: events[f"{name}_{feature}"] for feature in extra})
    px, py = (ak.to_numpy(events[f"MET_{feature}"]).astype(np.float64) for feature in ("px", "py"))
    branches |= {"MET_pt": np.hypot(px, py).astype(np.float32), "MET_phi": np.arctan2(py, px).astype(np.float32)}
    scalars = ("event", "ht", "met", "n_jets", "lepton_flavour", "weight", "label", "ttx_mass")
    branches |= {name: ak.to_numpy(events[name]) for name in scalars}
    with uproot.recreate(path, compression=uproot.ZLIB(9)) as file:
        file.mktree("Events", {name: getattr(value, "dtype", None) or value.type for name, value in branches.items()})
        file["Events"].extend(branches)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, generate and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for tth.parquet and tth.root")
    parser.add_argument("--events", type=int, default=20_000, help="events to keep, half of them signal (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random numbers (1)")
    parser.add_argument(
        "--processes", type=int, default=2, help="processes to run in; they do not change the result (2)"
    )
    options = parser.parse_args(arguments)
    if options.events < 2 or options.events % 2:
        parser.error(f"--events must be a positive even number, half signal and half background; got {options.events}")
    if options.processes < 1 or options.seed < 0:
        parser.error(
            f"--processes must be at least 1 and --seed at least 0; got {options.processes} and {options.seed}"
        )
    table = make_table(make_chunks(options.events, options.seed, options.processes), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write_parquet(table, options.out / "tth.parquet")
    write_root(table, options.out / "tth.root")


if __name__ == "__main__":
    main()
