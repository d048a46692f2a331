"""The kernels run on a GPU, and where there is none in Triton's interpreter, in a process of its own.

Triton asks for its interpreter when it is imported, and torch may have done that already.
"""

import inspect
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lumigraph.events.graph import CompleteGraph
from lumigraph.nn import InteractionConv
from lumigraph.nn.pairs import blocks as pair_blocks
from lumigraph.nn.pairs import triton as pair_triton
from lumigraph.nn.pairs.blocks import PairPlan
from lumigraph.nn.pairs.sums import pair_sums, take_apart

triton = pytest.importorskip("triton", minversion="3.3")

ROOT = Path(__file__).parents[3]
IN_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not IN_INTERPRETER
DEVICE = "cuda" if ON_GPU else "cpu"
runs_kernels = pytest.mark.skipif(not ON_GPU and not IN_INTERPRETER, reason="run by test_in_the_interpreter")
compiles_kernels = pytest.mark.skipif(IN_INTERPRETER, reason="the interpreter takes the place of the compiler")

ACTS = {act.__name__: act for act in pair_triton._ACTS}
TWICE_RELU = (nn.ReLU(), nn.ReLU())
LENGTHS = [0, 3, 1, 11, 2, 0]  # 11: more than one tile of either side
FEW = LENGTHS if ON_GPU else [0, 3, 2]  # the interpreter takes its time


def case(lengths, channels, acts, dtype=torch.float32, scale=1.0):
    """A plan, its tensors, and a gradient of the sums."""
    graph = CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long, device=DEVICE))
    if not isinstance(acts, tuple):
        acts = (acts,) * len(channels)
    shapes = [(graph.num_nodes, 2 * channels[0])]
    for c, e in pairwise(channels):
        shapes += [(e, c), (e,)]
    tensors = [torch.randn(shape, device=DEVICE) * scale for shape in shapes]
    for weight in tensors[1::2]:
        weight /= weight.size(1) ** 0.5
    gradient = torch.randn(graph.num_nodes, channels[-1], device=DEVICE)
    return PairPlan(graph, acts), [t.to(dtype) for t in tensors], gradient.to(dtype)


def run(engine, plan, tensors, gradient):
    """The sums and all gradients."""
    halves, *weights = tensors
    needed = [True, False] + [True] * len(weights)
    to_halves, _, *others = engine.backward(plan, gradient, needed, halves, None, *weights)
    return [engine.forward(plan, halves, None, *weights), to_halves, *others]


def double_loop(plan, tensors, gradient):
    """The same pair by pair, in float64."""
    halves, *weights = inputs = [t.detach().double().requires_grad_() for t in tensors]
    receivers, senders = halves.chunk(2, dim=1)
    sums = torch.zeros_like(gradient, dtype=torch.float64)
    for start, stop in pairwise(plan.graph.ptr.tolist()):
        for i in range(start, stop):
            for j in range(start, stop):
                if i != j:
                    y = plan.acts[0](receivers[i] + senders[j])
                    for act, weight, bias in zip(plan.acts[1:], weights[::2], weights[1::2], strict=True):
                        y = act(weight @ y + bias)
                    sums = sums.index_add(0, torch.tensor([i], device=DEVICE), y[None])
    if not sums.requires_grad:
        return [sums, *map(torch.zeros_like, inputs)]
    return [sums.detach(), *torch.autograd.grad(sums, inputs, gradient.double(), materialize_grads=True)]


def assert_same(results, expected, tolerance=1e-5):
    """Compare to so much of the largest entry."""
    for result, right in zip(results, expected, strict=True):
        assert result.shape == right.shape
        most = float(right.abs().max()) if right.numel() else 0.0
        torch.testing.assert_close(result.double(), right.double(), rtol=0, atol=tolerance * most)


@pytest.mark.skipif(ON_GPU or IN_INTERPRETER, reason="the tests run here")
def test_in_the_interpreter():
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"]
    kernels = [f"{Path(__file__)}::{each}" for each in ("TestAgainstADoubleLoop", "TestCalls")]
    command = [sys.executable, "-m", "pytest", *options, *kernels]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "JAXTYPING_DISABLE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@runs_kernels
class TestAgainstADoubleLoop:
    @pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
    def test_every_activation(self, act):
        plan, tensors, gradient = case(LENGTHS, (5, 6, 3), act())
        results = run(pair_triton, plan, tensors, gradient)
        assert_same(results, double_loop(plan, tensors, gradient))
        assert_same(results, run(pair_blocks, plan, tensors, gradient))

    @pytest.mark.parametrize("channels", [(5,), (17, 3), (40, 6), (4, 20, 1, 3)], ids=str)
    def test_any_depth_and_width(self, channels):
        plan, tensors, gradient = case(LENGTHS, channels, nn.Sigmoid())  # which is not 0 at 0
        assert_same(run(pair_triton, plan, tensors, gradient), double_loop(plan, tensors, gradient))

    def test_activations_may_differ(self):
        plan, tensors, gradient = case(LENGTHS, (5, 4, 3), (nn.LeakyReLU(0.3), nn.Identity(), nn.SiLU()))
        assert_same(run(pair_triton, plan, tensors, gradient), double_loop(plan, tensors, gradient))

    @pytest.mark.parametrize("act", [nn.LeakyReLU(-0.3), nn.ELU(1.7)], ids=str)
    def test_parameters_of_activations(self, act):
        plan, tensors, gradient = case([5], (3, 2), act)
        assert_same(run(pair_triton, plan, tensors, gradient), double_loop(plan, tensors, gradient))

    @pytest.mark.parametrize("act", [nn.Tanh(), nn.ELU(), nn.SELU(), nn.GELU()], ids=str)
    def test_small_numbers_are_as_exact(self, act):
        plan, tensors, gradient = case([4], (3, 2), act, scale=1e-4)
        assert_same(run(pair_triton, plan, tensors, gradient), double_loop(plan, tensors, gradient))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("channels", [(6, 5, 3), (100, 4)], ids=str)
    def test_short_numbers(self, dtype, channels):
        if IN_INTERPRETER and dtype == torch.bfloat16:
            pytest.skip("the interpreter multiplies the bits of bfloat16 as if they were integers")
        plan, tensors, gradient = case(LENGTHS, channels, nn.SiLU(), dtype)
        results = run(pair_triton, plan, tensors, gradient)
        assert {result.dtype for result in results} == {dtype}
        assert_same(results, double_loop(plan, tensors, gradient), 4 * torch.finfo(dtype).eps)

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [1, 0, 1], [2]], ids=str)
    def test_without_pairs_the_sums_are_0(self, lengths):
        plan, tensors, gradient = case(lengths, (5, 3), nn.Sigmoid())
        assert_same(run(pair_triton, plan, tensors, gradient), double_loop(plan, tensors, gradient))


@runs_kernels
class TestCalls:
    def test_only_what_is_needed(self):
        plan, (halves, *weights), gradient = case(FEW, (5, 4, 3), nn.Tanh())
        tensors = (halves, None, *weights)
        everything = pair_triton.backward(plan, gradient, [True, False, True, True, True, True], *tensors)
        for needed in (
            [False] * 6,
            [True, False, False, True, False, True],
            [False, False, True, False, True, False],
            [True] + [False] * 5,
        ):
            some = pair_triton.backward(plan, gradient, needed, *tensors)
            assert [result is not None for result in some] == needed
            assert all(a is None or torch.equal(a, b) for a, b in zip(some, everything, strict=True))

    def test_two_runs_agree_bit_for_bit(self):
        plan, tensors, gradient = case([30, 9, 17] if ON_GPU else LENGTHS, (6, 5, 3), nn.GELU())
        first, second = (run(pair_triton, plan, tensors, gradient) for _ in range(2))
        assert all(map(torch.equal, first, second))

    def test_strides_do_not_matter(self):
        plan, tensors, _ = case(FEW, (5, 3), nn.Tanh())
        apart = [torch.stack([t, t], dim=-1)[..., 0] for t in tensors]
        gradient = torch.ones(1, 3, device=DEVICE).expand(sum(FEW), 3)
        assert not any(t.is_contiguous() for t in (*apart, gradient))
        expected = run(pair_triton, plan, tensors, gradient.contiguous())
        assert all(map(torch.equal, run(pair_triton, plan, apart, gradient), expected))

    def test_a_pair_of_a_particle_with_itself_brings_in_nothing(self):
        plan, (halves,), gradient = case([2], (4,), nn.SiLU())
        halves[0], halves[1] = 3e38, 0  # twice as much is more than float32 holds
        results = run(pair_triton, plan, [halves], gradient)
        assert all(result.isfinite().all() for result in results)

    def test_nothing_has_the_size_of_the_pairs(self):
        class Largest(TorchDispatchMode):
            size = 0

            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                result = function(*args, **(kwargs or {}))
                for tensor in result if isinstance(result, tuple | list) else [result]:
                    if isinstance(tensor, torch.Tensor):
                        self.size = max(self.size, tensor.numel() * tensor.element_size())
                return result

        plan, tensors, gradient = case([50], (4, 4), nn.ReLU())
        with Largest() as largest:
            run(pair_triton, plan, tensors, gradient)
        programs = pair_triton._Call(plan, *tensors).programs()
        assert largest.size <= 4 * max(50 * 2 * 4, programs * 17 * 16) < 4 * 50 * 49 * 4

    def test_in_the_layer(self):
        lengths = torch.tensor(LENGTHS, device=DEVICE)
        conv = InteractionConv(3, 4, 2, effect_hidden=(6, 5), act="silu").to(DEVICE)
        graph = CompleteGraph.from_lengths(lengths)
        results = []
        for engine in (pair_triton, pair_blocks):
            x = torch.randn(sum(LENGTHS), 3, generator=torch.Generator().manual_seed(0)).to(DEVICE).requires_grad_()
            sums = pair_sums(take_apart(conv.fr), x, graph, engine)
            results.append([sums.detach(), *torch.autograd.grad(sums.square().sum(), [x, *conv.fr.parameters()])])
        assert_same(*results)


class TestTiles:
    @given(st.lists(st.integers(0, 20), max_size=6), st.sampled_from([4, 8]))
    def test_every_particle_is_in_one_tile(self, lengths, stay):
        graph = CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long))
        found = []
        for first, n, start in pair_triton._tiles(graph, sum(lengths), stay).tolist():
            assert n == 0 or (first, n) in zip(graph.ptr.tolist(), lengths, strict=False)
            found += range(first + start, first + min(start + stay, n))
        assert found == list(range(sum(lengths)))


class TestSupports:
    CUDA = torch.device("cuda", 0)

    @pytest.fixture(autouse=True)
    def shared_memory(self, monkeypatch):
        monkeypatch.setattr(pair_triton, "_shared_memory_of", lambda device: 99 * 1024)

    def supports(self, acts=TWICE_RELU, device=CUDA, dtype=torch.float32, widths=(64, 32)):
        return pair_triton.supports(acts, device, dtype, widths)

    def test_what_the_kernels_know(self):
        assert self.supports()
        assert self.supports(widths=(1, 1))
        assert all(self.supports([act(), act()]) for act in ACTS.values())
        assert self.supports(dtype=torch.bfloat16, widths=(128, 128))
        assert self.supports([nn.ReLU()], widths=(64,))

    @pytest.mark.parametrize(
        "work",
        [
            {"device": torch.device("cpu")},
            {"dtype": torch.float64},
            {"widths": (65, 8)},
            {"widths": (8, 129), "dtype": torch.float16},
            {"acts": (nn.ReLU(), nn.PReLU())},
            {"acts": (nn.Mish(), nn.ReLU())},
            {"acts": (nn.Softmax(-1), nn.ReLU())},
            {"acts": (nn.LogSoftmax(-1), nn.ReLU())},
            {"acts": (nn.GELU("tanh"), nn.ReLU())},
            {"acts": (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))},
            {"acts": (nn.ReLU(),) * 3, "widths": (64, 64, 64)},  # too much for this device's shared memory
        ],
        ids=str,
    )
    def test_what_they_do_not(self, work):
        assert not self.supports(**work)

    def test_tf32_is_taken_as_torch_is_set(self, monkeypatch):
        assert pair_triton._precision(torch.float32) == "tf32x3"
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            assert pair_triton._precision(torch.float32) == "tf32"
            assert self.supports((nn.ReLU(),) * 3, widths=(64, 64, 64))
        finally:
            torch.set_float32_matmul_precision(before)


def test_the_module_needs_no_triton():
    script = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch; from torch import nn; from lumigraph.nn.pairs import triton as pair_triton\n"
        "assert not pair_triton.supports([nn.ReLU()], torch.device('cuda', 0), torch.float32, [4])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@compiles_kernels
class TestCompiler:
    """The interpreter takes more than the compiler, which needs no GPU."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def compiled(self, kernel, plan, tensors, capability=80, **constants):
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        constants |= pair_triton._Call(plan, *tensors).constants
        options = {name: constants.pop(name) for name in ("num_warps", "num_stages", "enable_fp_fusion")}
        function = pair_triton._kernels()[kernel]
        assert list(inspect.signature(function.fn).parameters)[-len(constants) :] == list(constants)
        numbers = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}[tensors[0].dtype]
        types = dict.fromkeys(function.arg_names, numbers) | dict.fromkeys(constants, "constexpr")
        types |= {n: t for n, t in {"tiles": "*i64", "parts": "*fp32", "count": "i32"}.items() if n in types}
        aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(types) if types[name].startswith("*")}
        source = ASTSource(function, types, constexprs=constants, attrs=aligned)
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)

    def check(self, plan, tensors, *capabilities):
        depth = len(plan.acts) - 1
        calls = [("sum_pairs", {}), ("derive_particles", {"RECEIVES": True}), ("derive_particles", {"RECEIVES": False})]
        calls += [("derive_layer", {"LAYER": k}) for k in range(1, depth + 1)]
        channels = [tensors[0].size(1) // 2, *(bias.size(0) for bias in tensors[2::2])]
        for kernel, constants in calls:
            for capability in capabilities:
                binary = self.compiled(kernel, plan, tensors, capability, **constants)
                assert binary.asm["cubin"]
                assert binary.metadata.shared <= pair_triton._shared_memory(channels, tensors[0].dtype)

    @pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
    def test_every_activation(self, act):
        plan, tensors, _ = case([2], (5, 3), act(), torch.float16)
        self.check(plan, tensors, 80)

    @pytest.mark.parametrize("capability", [80, 90])
    @pytest.mark.parametrize(
        ("dtype", "channels"),
        [(torch.float32, (30, 20, 64)), (torch.float16, (30, 64)), (torch.bfloat16, (30, 64))],
        ids=str,
    )
    def test_types(self, dtype, channels, capability):
        plan, tensors, _ = case([2], channels, nn.ReLU(), dtype)
        self.check(plan, tensors, capability)

    def test_the_widest(self):
        plan, tensors, _ = case([2], (128, 128), nn.ReLU(), torch.float16)
        self.check(plan, tensors, 80)

    def test_without_a_layer(self):
        plan, tensors, _ = case([2], (5,), nn.Tanh())
        self.check(plan, tensors, 80)

    def test_tf32(self, monkeypatch):
        monkeypatch.setattr(pair_triton, "_precision", lambda dtype: "tf32")
        plan, tensors, _ = case([2], (64, 64), nn.ReLU())
        self.check(plan, tensors, 80)
