"""Contribution of each particle of one event to the output of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from ...blocks import ClassRegMulti
from ...blocks.block import evaluating
from ...events.batches import make_batch, names_of, particles_of
from ...events.checks import check_counts
from ...events.graph import lengths_to_ptr
from ...events.particles import Particles

__all__ = ["Method", "particle_attributions"]

Method = Literal["shapley", "removal", "integrated_gradients"]

#: Limit on ordered pairs of particles per pass, so that a small machine has enough memory.
_PAIRS = 200_000


def particle_attributions(
    module: nn.Module,
    batch: Data,
    event: int = 0,
    *,
    method: Method = "shapley",
    output: int = 0,
    n_samples: int = 50,
    seed: int = 0,
) -> Float[Tensor, " particles"]:
    r"""Compute the contribution of each particle of an event to the output of a model, with Captum.

    ``"shapley"``: the mean change of the output when particles are added in a random order,

    .. math:: a_i = \big\langle f(S_i \cup \{i\}) - f(S_i) \big\rangle, \qquad
              \sum_i a_i = f(\text{event}) - f(\varnothing)

    where :math:`S_i` are the particles added before particle :math:`i`. The sum is exact for any number of orders.
    ``"removal"``: the change when the particle alone is missing, :math:`f(\text{event}) - f(\text{event} \setminus i)`.
    If either of two particles is enough, both get 0.
    ``"integrated_gradients"``: the gradient with respect to the particle's features times these, averaged along the
    path on which all features grow from 0. It adds up to :math:`f(\text{event}) - f(0 \cdot \text{event})`, with an
    error that falls with ``n_samples``. It is the fastest for many particles.

    Parameters
    ----------
    module
        A torch module that takes a Batch and returns (B, outputs), such as ``model.model``. The output of a classifier
        is taken before the sigmoid or softmax: the log-odds.
    batch
        A Batch, or the Data of one event. Event features and categories stay as they are.
    event
        Number of the event in the batch.
    method
        See above.
    output
        Number of the output.
    n_samples
        Random orders for ``"shapley"``, steps for ``"integrated_gradients"``; no effect on ``"removal"``.
    seed
        Seed of the random orders.

    Returns
    -------
    Tensor
        One number per particle, in the units of the output.

    Raises
    ------
    ImportError
        If Captum is not installed.
    ValueError
        If the event, the output or the method does not exist.

    Notes
    -----
    **Shape.** (particles of the event,). **Limits.** An event without one particle may be unlike any the model was
    trained on; event features such as the sum of transverse momenta still include it.

    References
    ----------
    S. Lundberg, S.-I. Lee, arXiv:1705.07874; M. Sundararajan, A. Taly, Q. Yan, arXiv:1703.01365.

    Examples
    --------
    >>> from lumigraph import InteractionNet, from_jagged
    >>> net = InteractionNet(["a_px", "a_py"], ["a"], ["px", "py"], intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3,
    ...                      outfunc_depth=1, outfunc_width=4, outfunc_out_sz=2, agg_method="sum")
    >>> batch = from_jagged(torch.randn(5, 2), lengths=torch.tensor([3, 2]))
    >>> added = particle_attributions(net, batch, event=1)
    >>> bool(torch.isclose(added.sum(), net(batch)[1, 0]))
    True
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {list(get_args(Method))}, got {method!r}")
    check_counts(n_samples=n_samples)
    captum = _captum()
    first = next(module.parameters(), torch.empty(0))
    single = _one_event(batch, event).to(first.device)
    particles = particles_of(single)
    evaluate = _column(module, single, output)
    if not len(particles.x):
        return first.new_zeros(0)
    per_pass = max(1, _PAIRS // len(particles.x) ** 2)

    def present(chosen: Tensor) -> Tensor:
        return evaluate(_some_of(particles, chosen > 0.5))

    def scaled(x: Tensor) -> Tensor:
        return evaluate(_copies(particles, x))

    with evaluating(module), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        everyone = torch.ones(1, len(particles.x), device=first.device)
        if method == "shapley":
            sampling = captum.ShapleyValueSampling(present)
            return sampling.attribute(everyone, n_samples=n_samples, perturbations_per_eval=per_pass)[0]
        if method == "removal":
            return captum.FeatureAblation(present).attribute(everyone, perturbations_per_eval=per_pass)[0]
        with torch.enable_grad():
            gradients = captum.IntegratedGradients(scaled)
            added = gradients.attribute(particles.x[None], n_steps=n_samples, internal_batch_size=per_pass)
        return added[0].detach().sum(1)


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError:
        raise ImportError("particle_attributions needs Captum: pip install 'lumigraph[explain]'") from None
    return captum.attr


def _one_event(batch: Data, event: int) -> Data:
    """Return one event as a separate Batch or Data."""
    num_events = batch.num_graphs if isinstance(batch, Batch) else 1
    if not 0 <= event < num_events:
        raise ValueError(f"event must be from 0 to {num_events - 1}, as the batch has {num_events}, got {event}")
    return batch[event] if isinstance(batch, Batch) else batch


def _column(module: nn.Module, single: Data, output: int) -> Callable[[Particles], Tensor]:
    """Return a function of the particles of an event that gives one output, before a sigmoid or softmax."""
    fields = {name: single[name] for name in ("u", "cat") if name in single and single[name] is not None}

    names = names_of(single)

    def evaluate(particles: Particles) -> Tensor:
        num_events = len(particles.ptr) - 1
        copies = {name: value.expand(num_events, -1) for name, value in fields.items()}
        out = _logits(module, make_batch(particles, names=names, **copies))
        if not 0 <= output < out.size(1):
            raise ValueError(f"output must be from 0 to {out.size(1) - 1}, got {output}")
        return out[:, output]

    with evaluating(module):
        evaluate(particles_of(single))  # errors in the model or an argument are raised here, not within Captum
    return evaluate


def _logits(module: nn.Module, batch: Batch) -> Tensor:
    tail = module[-1] if isinstance(module, nn.Sequential) else None
    if isinstance(module, nn.Sequential) and isinstance(tail, ClassRegMulti) and tail.objective != "regression":
        return tail.logits(module[:-1](batch))
    return module(batch)


def _some_of(particles: Particles, chosen: Tensor) -> Particles:
    """Return one event for each row of a mask (events, particles), with the selected particles."""
    member = chosen.nonzero()[:, 1]
    return Particles(particles.x[member], particles.slot[member], lengths_to_ptr(chosen.sum(1)))


def _copies(particles: Particles, x: Float[Tensor, "events particles features"]) -> Particles:
    """Return one event for each matrix of features."""
    lengths = torch.full((len(x),), x.size(1), device=x.device)
    return Particles(x.flatten(0, 1), particles.slot.repeat(len(x)), lengths_to_ptr(lengths))
