"""What every engine of pair sums on a CPU promises: the numbers of the list of edges, and memory for particles only."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lumigraph.events.graph import CompleteGraph
from lumigraph.nn import InteractionConv
from lumigraph.nn.kinematic_features import describe, features_of_described
from lumigraph.nn.lookups import Act
from lumigraph.nn.pairs import blocks as pair_blocks
from lumigraph.nn.pairs import compiled as pair_compiled
from lumigraph.nn.pairs.sums import pair_sums, take_apart

KERNEL = pair_compiled.kernel()
ENGINES = {"blocks": pair_blocks, "compiled": pair_compiled}
RAGGED = st.lists(st.sampled_from([0, 1, 2, 3, 7, 20]), max_size=6)
IN_KERNEL = [act for act in get_args(Act) if act not in ("prelu", "softmax", "logsoftmax")]


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "compiled" and pair_compiled.kernel() is None:
        pytest.skip("there is no compiler")
    return ENGINES[request.param]


def layer(act="relu", hidden=(6,), channels=3, effects=4, **options):
    conv = InteractionConv(channels, effects, 2, effect_hidden=hidden, act=act, **options).double()
    for name, parameter in conv.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    for module in conv.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
    return conv


def graph_of(lengths):
    return CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long))


def with_gradients(sums, x, conv):
    """The sums, and the gradients of a function of them that is not the same for any two."""
    inputs = [x, *conv.fr.parameters()]
    weight = torch.linspace(-1, 2, sums.numel(), dtype=sums.dtype).view_as(sums)
    loss = (weight * sums.square() + sums).sum()
    return [sums.detach(), *torch.autograd.grad(loss, inputs, materialize_grads=True, allow_unused=True)]


def by_edges(conv, x, lengths, p4=None):
    momenta = None if p4 is None else describe(p4)
    edge_index, size = graph_of(lengths).edge_index(), (len(x), len(x))
    return with_gradients(conv.propagate(edge_index, x=x, momenta=momenta, size=size), x, conv)


def by_engine(conv, x, lengths, engine, p4=None):
    return with_gradients(pair_sums(take_apart(conv.fr), x, graph_of(lengths), engine, p4), x, conv)


def particles(lengths, channels=3, dtype=torch.float64):
    return torch.randn(sum(lengths), channels, dtype=torch.float64).to(dtype).requires_grad_()


def assert_same(results, expected, tolerance):
    """Compare to so much of the largest entry."""
    for result, right in zip(results, expected, strict=True):
        most = max(float(right.abs().max()) if right.numel() else 0.0, 1.0)
        torch.testing.assert_close(result.double(), right.double(), rtol=0, atol=tolerance * most)


class TestNumbers:
    """The list of edges, in float64, is the oracle; its own is a double loop, see test_interaction.py."""

    @pytest.mark.parametrize("act", get_args(Act))
    def test_every_activation(self, engine, act):
        if engine is pair_compiled and act not in IN_KERNEL:
            pytest.skip("the kernel does not know it")
        conv, lengths = layer(act, (6, 5)), [4, 0, 1, 9, 2, 4]
        x = particles(lengths)
        expected = by_edges(conv, x, lengths)
        assert_same(by_engine(conv, x, lengths, engine), expected, 1e-12)
        # close to that of float64, which float32 cannot be where an activation has a kink within its rounding
        single, x = copy.deepcopy(conv).float(), x.detach().float().requires_grad_()
        assert_same(by_engine(single, x, lengths, engine), by_edges(single.double(), x.double(), lengths), 1e-5)

    @given(RAGGED, st.lists(st.sampled_from([1, 3, 8, 17, 33, 66]), max_size=3), st.sampled_from(IN_KERNEL), st.data())
    def test_ragged_events_of_any_width_and_depth(self, lengths, hidden, act, data):
        conv = layer(act, tuple(hidden), data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 4, 16, 70])))
        x = particles(lengths, conv.in_channels)
        expected = by_edges(conv, x, lengths)
        for engine in ENGINES.values():
            if engine is pair_blocks or pair_compiled.kernel() is not None:
                assert_same(by_engine(conv, x, lengths, engine), expected, 1e-12)

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [1, 0, 1], [2], [0, 2, 0]], ids=str)
    def test_few_particles(self, engine, lengths):
        conv, x = layer("sigmoid"), particles(lengths)
        assert_same(by_engine(conv, x, lengths, engine), by_edges(conv, x, lengths), 1e-12)

    def test_many_particles(self, engine):
        conv, lengths = layer("silu", (32,)), [150, 3, 90]
        x = particles(lengths)
        assert_same(by_engine(conv, x, lengths, engine), by_edges(conv, x, lengths), 1e-12)

    @pytest.mark.parametrize("act", ["relu", "selu", "softmax"])
    def test_norm_and_dropout_in_evaluation(self, engine, act):
        if engine is pair_compiled and act not in IN_KERNEL:
            pytest.skip("the kernel does not know it")
        conv, lengths = layer(act, (6, 5), norm=True, dropout=0.3).eval(), [4, 0, 1, 9, 2]
        x = particles(lengths)
        assert_same(by_engine(conv, x, lengths, engine), by_edges(conv, x, lengths), 1e-12)

    def test_strides_do_not_matter(self, engine):
        conv, lengths = layer(), [3, 5, 1]
        apart = torch.randn(3, 18, dtype=torch.float64).t()[::2].requires_grad_()
        conv.fr[0][0].weight.data = torch.randn(6, 6, dtype=torch.float64).t()
        conv.fr[1][0].weight.data = torch.randn(6, 4, dtype=torch.float64).t()
        for x in (apart, torch.ones(1, 3, dtype=torch.float64, requires_grad=True).expand(9, 3)):
            assert not x.is_contiguous()
            assert_same(by_engine(conv, x, lengths, engine), by_edges(conv, x, lengths), 1e-12)

    @pytest.mark.parametrize("act", IN_KERNEL)
    def test_numbers_far_out(self, engine, act):
        conv, lengths = layer(act, (), 1, 1), [2] * 40
        conv.fr[0][0].weight.data[:] = 1
        conv.fr[0][0].bias.data[:] = 0
        x = torch.logspace(-300, 300, 20, dtype=torch.float64)
        x = torch.stack([x, torch.zeros_like(x), -x, torch.zeros_like(x)], dim=1).view(-1, 1).requires_grad_()
        sums = pair_sums(take_apart(conv.fr), x, graph_of(lengths), engine)
        right = conv.propagate(graph_of(lengths).edge_index(), x=x, momenta=None, size=(80, 80))
        torch.testing.assert_close(sums, right, rtol=1e-12, atol=1e-15)
        slopes, slopes_right = (torch.autograd.grad(y.sum(), x)[0] for y in (sums, right))
        torch.testing.assert_close(slopes, slopes_right, rtol=1e-12, atol=1e-15)

    def test_nan_stays_in_its_event(self, engine):
        conv, x = layer("tanh"), particles([3, 4])
        x.data[1] = torch.nan
        sums = pair_sums(take_apart(conv.fr), x, graph_of([3, 4]), engine)
        assert sums[[0, 2]].isnan().all()
        assert sums[3:].isfinite().all()

    def test_a_second_derivative_is_right(self, engine):
        conv, graph, x = layer("tanh"), graph_of([3, 0, 1, 2]), particles([3, 0, 1, 2])
        layers = take_apart(conv.fr)
        assert torch.autograd.gradgradcheck(lambda x: pair_sums(layers, x, graph, engine), x)
        assert torch.autograd.gradcheck(lambda x: pair_sums(layers, x, graph, engine), x)

    def test_some_weights_are_frozen(self, engine):
        conv, lengths = layer("tanh", (6, 5)), [3, 1, 4]
        x = particles(lengths)
        expected = by_edges(conv, x, lengths)
        for frozen in ([conv.fr[0]], [conv.fr[1][0].weight], [conv.fr[2][0].bias], [conv.fr]):
            each = [p for part in frozen for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]
            for parameter in each:
                parameter.requires_grad_(False)
            wanted = [(t, e) for t, e in zip([x, *conv.fr.parameters()], expected[1:], strict=True) if t.requires_grad]
            sums = pair_sums(take_apart(conv.fr), x, graph_of(lengths), engine)
            weight = torch.linspace(-1, 2, sums.numel(), dtype=sums.dtype).view_as(sums)
            found = torch.autograd.grad((weight * sums.square() + sums).sum(), [t for t, _ in wanted])
            assert_same(found, [e for _, e in wanted], 1e-12)
            for parameter in each:
                parameter.requires_grad_(True)

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_two_runs_agree_bit_for_bit(self, engine, threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            conv, lengths = layer("silu", (64,), effects=64).float(), [60, 5, 0, 33, 2, 80]
            x = particles(lengths, dtype=torch.float32)
            expected = by_edges(copy.deepcopy(conv).double(), x.double(), lengths)
            first, second = (by_engine(conv, x, lengths, engine) for _ in range(2))
        finally:
            torch.set_num_threads(before)
        assert all(map(torch.equal, first, second))
        assert_same(first, expected, 1e-5)

    def test_sums_over_many_events_keep_their_digits(self, engine):
        conv, lengths = layer("relu", (8,)).float(), [30] * 300
        x = particles(lengths, dtype=torch.float32)
        assert_same(
            by_engine(conv, x, lengths, engine), by_edges(copy.deepcopy(conv).double(), x.double(), lengths), 1e-5
        )


def momenta(lengths, dtype=torch.float64):
    """Soft and hard, near and far, with some that coincide or are at rest or along the beam.

    A mass squared is a difference: of harder particles that are as near, too few digits would be the same either way.
    """
    n = sum(lengths)
    spread, hardness = 10 ** torch.empty(2, n, 1, dtype=torch.float64).uniform_(-2, 0)
    p = hardness * 10 * (torch.tensor([[1.0, 0.5, -0.3]]).double() + spread * torch.randn(n, 3).double())
    mass = torch.rand(n, 1).double()
    p4 = torch.cat([p, (p.square().sum(1, keepdim=True) + mass.square()).sqrt()], dim=1)
    p4[1::5] = p4[0::5][: len(p4[1::5])]
    p4[2::7] = torch.tensor([0.0, 0.0, 0.0, 1.0]).double()
    p4[3::7] = torch.tensor([0.0, 0.0, 7.0, 7.0]).double()
    p4[4::11] = 0.0
    return p4.to(dtype)


class TestFeaturesOfPairs:
    @given(
        lengths=RAGGED,
        hidden=st.lists(st.integers(1, 20), max_size=2),
        channels=st.integers(0, 3),
        act=st.sampled_from(["relu", "silu", "prelu"]),
    )
    def test_they_go_into_the_effects(self, lengths, hidden, channels, act):
        conv = layer(act, hidden, channels=channels or 1, effects=5, pair_feats=True)
        x, p4 = particles(lengths, channels or 1), momenta(lengths)
        expected = by_edges(conv, x, lengths, p4)
        for engine in ENGINES.values() if pair_compiled.kernel() and act != "prelu" else [pair_blocks]:
            assert_same(by_engine(conv, x, lengths, engine, p4), expected, 1e-11)

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_many_particles_in_float32(self, engine, threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            conv, lengths = layer("silu", (64,), effects=64, pair_feats=True).float(), [60, 5, 0, 33, 2, 80]
            x, p4 = particles(lengths, dtype=torch.float32), momenta(lengths, torch.float32)
            first, second = (by_engine(conv, x, lengths, engine, p4) for _ in range(2))
        finally:
            torch.set_num_threads(before)
        assert all(map(torch.equal, first, second))
        assert_same(first, by_edges(copy.deepcopy(conv).double(), x.double(), lengths, p4.double()), 1e-5)

    def test_a_second_derivative_is_right(self, engine):
        conv, p4 = layer("tanh", (5,), pair_feats=True), momenta([3, 2, 4])
        weight = conv.fr[0][0].weight.detach().requires_grad_()

        def sums(x, weight):
            first, *others = take_apart(conv.fr)
            return pair_sums([first._replace(weight=weight), *others], x, graph_of([3, 2, 4]), engine, p4)

        assert torch.autograd.gradcheck(sums, (particles([3, 2, 4]), weight))
        assert torch.autograd.gradgradcheck(sums, (particles([3, 2, 4]), weight))

    def test_frozen(self, engine):
        conv, x, p4 = layer("tanh", (6,), pair_feats=True), particles([3, 4]), momenta([3, 4])
        expected = by_edges(conv, x, [3, 4], p4)
        conv.fr[0][0].weight.requires_grad_(False)
        sums = pair_sums(take_apart(conv.fr), x, graph_of([3, 4]), engine, p4)
        weight = torch.linspace(-1, 2, sums.numel(), dtype=sums.dtype).view_as(sums)
        (found,) = torch.autograd.grad((weight * sums.square() + sums).sum(), [x])
        assert_same([found], [expected[1]], 1e-11)

    def test_nan_stays_in_its_event(self, engine):
        conv, p4 = layer("relu", (5,), pair_feats=True), momenta([3, 2])
        p4[4, 2] = torch.nan
        sums = pair_sums(take_apart(conv.fr), particles([3, 2]), graph_of([3, 2]), engine, p4)
        assert sums[:3].isfinite().all()
        assert sums[3:].isnan().all()

    def test_logarithms_in_the_kernel_are_exact(self):
        if pair_compiled.kernel() is None:
            pytest.skip("there is no compiler")
        conv = InteractionConv(1, 4, 1, effect_hidden=(), act="linear", pair_feats=True).double()
        with torch.no_grad():
            conv.fr[0][0].weight.zero_()[:, 2:] = torch.eye(4)
        for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 3e-6)):
            p4 = momenta([2] * 4000, dtype)
            a, b = describe(p4.view(-1, 2, 4)).unbind(1)
            layers = take_apart(copy.deepcopy(conv).to(dtype).fr)
            found = pair_sums(layers, torch.zeros(8000, 1, dtype=dtype), graph_of([2] * 4000), pair_compiled, p4)
            found, expected = found[::2].double(), features_of_described(a, b)
            torch.testing.assert_close(found[:, :3], expected[:, :3], rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(
                found[:, 3], expected[:, 3], rtol=max(tolerance, 1e-9), atol=max(tolerance, 1e-9)
            )


class TestMemory:
    def test_nothing_has_the_size_of_the_pairs(self, engine, monkeypatch):
        class Largest(TorchDispatchMode):
            numbers = 0

            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                result = function(*args, **(kwargs or {}))
                for tensor in result if isinstance(result, tuple | list) else [result]:
                    if isinstance(tensor, torch.Tensor):
                        self.numbers = max(self.numbers, tensor.numel())
                return result

        monkeypatch.setattr(pair_blocks, "_BLOCK_ON_CPU", 2**12)
        conv, x = layer("tanh", (16,)), particles([120, 100])
        with Largest() as largest:
            by_engine(conv, x, [120, 100], engine)
        assert largest.numbers <= 5 * 2**12 < 120 * 119 * 16
        with Largest() as largest:
            by_engine(layer("tanh", (16,), pair_feats=True), x, [120, 100], engine, momenta([120, 100]))
        assert largest.numbers <= 5 * 2**12

    def test_what_is_kept_for_the_backward_pass_belongs_to_particles(self, engine):
        kept = []
        conv, x = layer(), particles([50])
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            pair_sums(take_apart(conv.fr), x, graph_of([50]), engine)
        assert max(kept) <= 50 * 2 * 6

    def test_weights_changed_before_the_backward_pass_are_an_error(self, engine):
        conv, x = layer(), particles([3])
        sums = pair_sums(take_apart(conv.fr), x, graph_of([3]), engine)
        conv.fr[1][0].weight.data.mul_(2)  # .data hides it from torch
        sums = pair_sums(take_apart(conv.fr), x, graph_of([3]), engine)
        with torch.no_grad():
            conv.fr[1][0].weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            sums.sum().backward()


class TestPath:
    """Which of the ways is taken: the rule that `InteractionConv` documents."""

    GRAPH, X = graph_of([3, 2]), torch.randn(5, 3)

    def path(self, conv, x=None, edges=None):
        return conv.path(self.X if x is None else x, self.GRAPH if edges is None else edges)

    def conv(self, **options):
        return InteractionConv(3, 4, 2, **options)

    def test_pairs_need_no_list(self):
        fast = "blocks" if pair_compiled.kernel() is None else "compiled"
        for options in ({}, {"act": "gelu"}, {"effect_hidden": ()}, {"effect_hidden": (5, 6, 7)}):
            assert self.path(self.conv(**options)) == fast
            assert self.path(self.conv(**options).double(), self.X.double()) == fast
        for options in ({"dropout": 0.1}, {"norm": True}):
            assert self.path(self.conv(**options).eval()) == fast

    @pytest.mark.parametrize("act", ["prelu", "softmax", "logsoftmax"])
    def test_activations_that_the_kernel_does_not_know(self, act):
        assert self.path(self.conv(act=act)) == "blocks"

    def test_short_numbers(self):
        assert self.path(self.conv(), self.X.bfloat16()) == "blocks"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert self.path(self.conv()) == "blocks"

    def test_what_sees_all_effects_gets_a_list(self):
        class Doubled(InteractionConv):
            def message(self, x_i, x_j):
                return 2 * super().message(x_i, x_j)

        assert self.path(Doubled(3, 4, 2)) == "edges"
        assert self.path(self.conv(), edges=self.GRAPH.edge_index()) == "edges"
        for options in ({"dropout": 0.1}, {"norm": True}):
            assert self.path(self.conv(**options).train()) == "edges"
        explained = self.conv()
        explained.explain = True
        assert self.path(explained) == "edges"

    def test_unknown_modules_get_a_list(self):
        conv = self.conv()
        conv.fr[0][1] = nn.Hardtanh()
        assert self.path(conv) == "edges"
        conv = self.conv()
        nn.utils.parametrizations.weight_norm(conv.fr[0][0])
        assert self.path(conv) == "edges"
        conv = self.conv()
        conv.fr[1][0].bias = None
        assert self.path(conv) == "edges"

    @pytest.mark.parametrize("which", [lambda c: c.fr[0], lambda c: c.fr[0][0], lambda c: c.fr[1][1], lambda c: c.fr])
    def test_hooks_are_called(self, which):
        conv, calls = self.conv(), []
        handle = which(conv).register_forward_hook(lambda *_: calls.append(1))
        assert self.path(conv) == "edges"
        conv(self.X, self.GRAPH)
        assert calls
        handle.remove()
        assert self.path(conv) != "edges"

    def test_hooks_of_pyg_are_called(self):
        conv, calls = self.conv(), []
        conv.register_message_forward_hook(lambda *_: calls.append(1))
        conv(self.X, self.GRAPH)
        assert calls

    def test_transforms_of_functions(self):
        conv, x = self.conv(act="tanh").double(), self.X.double()
        conv.fr[0][0].weight.data *= 2
        jacobian = torch.func.jacrev(lambda x: conv(x, self.GRAPH))(x)
        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(lambda x: conv(x, self.GRAPH), x))
        out, tangent = torch.func.jvp(lambda x: conv(x, self.GRAPH), (x,), (torch.ones_like(x),))
        torch.testing.assert_close(out, conv(x, self.GRAPH))
        torch.testing.assert_close(tangent, jacobian.sum((2, 3)))

    def test_offsets_with_a_stride(self):
        conv, x = self.conv(), torch.randn(9, 3)
        strided = torch.tensor([0, 7, 3, 7, 5, 7, 9, 7])[::2]
        torch.testing.assert_close(conv(x, CompleteGraph(strided)), conv(x, graph_of([3, 2, 4])))

    def test_all_ways_give_the_same(self):
        conv = self.conv()
        with torch.no_grad():
            fast, listed = conv(self.X, self.GRAPH), conv(self.X, self.GRAPH.edge_index())
        torch.testing.assert_close(fast, listed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            short = conv(self.X, self.GRAPH)
            assert short.dtype == conv(self.X, self.GRAPH.edge_index()).dtype
        torch.testing.assert_close(short.float(), listed, rtol=0.05, atol=0.05)


class TestCompiler:
    """The kernel is compiled when it is first needed; without it everything works."""

    CONV, X, GRAPH = InteractionConv(3, 4, 2), torch.randn(5, 3), graph_of([3, 2])

    @pytest.fixture
    def first_call(self, tmp_path, monkeypatch):
        """Return a function that tells the way taken by the first call in a process with such an environment."""

        def path(**environment):
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            pair_compiled.kernel.cache_clear()
            self.CONV(self.X, self.GRAPH)
            return self.CONV.path(self.X, self.GRAPH)

        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        yield path
        pair_compiled.kernel.cache_clear()

    def test_it_can_be_switched_off(self, first_call, tmp_path):
        assert first_call(LUMIGRAPH_COMPILE="0") == "blocks"
        assert not list(tmp_path.iterdir())

    def test_without_a_compiler(self, first_call, tmp_path):
        assert first_call(PATH=str(tmp_path)) == "blocks"

    def test_a_compiler_that_fails_is_told_once(self, first_call):
        with pytest.warns(RuntimeWarning, match="LUMIGRAPH_COMPILE=0") as told:
            assert first_call(CXX="/bin/false") == "blocks"
        assert len(told) == 1
        self.CONV(self.X, self.GRAPH)

    @pytest.mark.skipif(KERNEL is None, reason="there is no compiler")
    def test_it_is_kept_for_the_next_process_and_compiled_anew_when_it_is_damaged(self, first_call, tmp_path):
        damaged = tmp_path / "lumigraph" / Path(KERNEL._name).name
        damaged.parent.mkdir()
        damaged.write_bytes(Path(KERNEL._name).read_bytes()[:1000])
        assert first_call() == "compiled"
        assert Path(pair_compiled.kernel()._name) == damaged
        assert len(damaged.read_bytes()) > 1000
        made = damaged.stat().st_mtime_ns
        assert first_call() == "compiled"
        assert damaged.stat().st_mtime_ns == made
        assert list(damaged.parent.iterdir()) == [damaged]

    def test_after_a_fork(self):
        script = """
import os, torch
from lumigraph import CompleteGraph
from lumigraph.nn import InteractionConv
conv = InteractionConv(3, 4, 2)
torch.set_num_threads(4)
big, many = torch.randn(400, 3), CompleteGraph.from_lengths(torch.tensor([200, 200]))
right = conv(big, many)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as in a worker of a DataLoader
    os._exit(0 if torch.allclose(conv(big, many), right) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
        environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_layers_that_were_used_move_whole(self, duplicate):
        conv, x = InteractionConv(3, 4, 2), torch.randn(5, 3)
        out = conv(x, graph_of([3, 2]))
        assert torch.equal(duplicate(conv)(x, graph_of([3, 2])), out)
