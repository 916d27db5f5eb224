"""Translate a network to stacked layers of many members.

The module is traced by torch.fx with two images on the meta device, which gives its layers in
order, what each takes, and the shapes between them. Each is translated into a `Layer` of
`joulelab.learning.fast.layers`; a layer that has no translation is an obstacle, in words.

``MaxPool2d(ReLU(x))`` becomes ``ReLU(MaxPool2d(x))``: the same values and gradients with a quarter
of the work, since ReLU is monotonic.
"""

from __future__ import annotations

import contextlib
import copy
import io
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from joulelab.errors import JoulelabError
from joulelab.learning.fast.layers import (
    Arithmetic,
    BatchNorm,
    ByChannel,
    ByElement,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool2x2,
    Pass,
    State,
)
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import Builder, build_network, network_key

BY_ELEMENT = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Identity,
)
"""Activations; they have no parameters."""

BY_CHANNEL = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)

_ACTIVATION_CALLS: dict[Any, Callable[[Tensor], Tensor]] = {
    torch.relu: torch.relu,
    functional.relu: torch.relu,
    "relu": torch.relu,
    torch.tanh: torch.tanh,
    "tanh": torch.tanh,
    torch.sigmoid: torch.sigmoid,
    "sigmoid": torch.sigmoid,
    functional.gelu: functional.gelu,
    functional.silu: functional.silu,
}
_SUMS = (operator.add, operator.iadd, torch.add)
_FLATTENINGS = (torch.flatten, "flatten", "view", "reshape")
_ROWS, _IMAGES = 2, 4


class NotStackableError(JoulelabError):
    """A network cannot be stacked; the message names the layer."""


@dataclass(frozen=True)
class Step:
    """One step: name, inputs and layer."""

    name: str
    inputs: tuple[str, ...]
    layer: Layer


@dataclass(frozen=True)
class StackedNetwork:
    """The layers of all members, without their numbers.

    Attributes:
        steps: in order.
        images: name of the input.
        logits: name of the output.
        trained: names of the parameters that have gradients, in the order of the network.
        shapes: of all parameters of one member, by name.
    """

    steps: tuple[Step, ...]
    images: str
    logits: str
    trained: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __call__(
        self, state: State, images: Tensor, arithmetic: Arithmetic, *, training: bool
    ) -> Tensor:
        """Logits, float32, (N, B, K).

        Args:
            state: parameters and buffers of N members.
            images: (N, B, C, H, W), float32.
            arithmetic: how to compute.
            training: BatchNorm uses the statistics of the batch, and keeps them.
        """
        run = Pass(state, arithmetic, training, len(images))
        values = {self.images: images}
        for step in self.steps:
            values[step.name] = step.layer(run, *(values[name] for name in step.inputs))
        return values[self.logits].float()

    def signature(self) -> str:
        """A text that identifies the layers and their sizes, equal in all processes."""
        layers = "; ".join(
            f"{step.name}({', '.join(step.inputs)}) = {step.layer}" for step in self.steps
        )
        addresses = re.compile(r" at 0x[0-9a-f]+")  # of functions
        return f"{addresses.sub('', layers)}; {self.shapes}"


def stack_layers(
    name: str, shape: ImageShape, classes: int, options: Mapping[str, Any]
) -> StackedNetwork:
    """The layers of a registered network; each is traced once.

    Args:
        name: registered name.
        shape: of one image.
        classes: number of logits.
        options: keyword arguments of the network.

    Raises:
        NotStackableError: a layer that cannot be stacked; says which.
        UnknownNameError, UsageError, TrainingError: as `build_network`.
    """
    key = (*network_key(name, options), shape, classes)
    if key not in _stacked:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build_network(name, shape, classes, options)
            example = torch.empty(2, *shape)
        _stacked[key] = stack_module(network, example)
    return _stacked[key]


_stacked: dict[tuple[Builder, str, ImageShape, int], StackedNetwork] = {}


def stack_module(network: nn.Module, example: Tensor) -> StackedNetwork:
    """The layers of a module.

    Args:
        network: on the meta device.
        example: images that it takes, (2, C, H, W), on the meta device.

    Raises:
        NotStackableError: a layer that cannot be stacked; says which.
    """
    _check_layers_do_nothing_unseen(network)
    try:
        evaluated = _traced(network.eval())
        traced = _traced(network.train())
    except NotStackableError:
        raise
    except Exception as error:  # tracing runs the user's code
        raise _untraceable(error) from error
    if traced.code != evaluated.code:
        raise NotStackableError("its forward differs in eval mode")
    for node in traced.graph.find_nodes(op="call_module"):
        _of_module(str(node.target), traced.get_submodule(str(node.target)))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it prints its exceptions
            ShapeProp(traced).propagate(example)
    except Exception as error:
        raise _untraceable(error.__cause__ or error) from error
    parameters = dict(network.named_parameters())
    return StackedNetwork(
        *_Translator(traced).translated(),
        trained=tuple(name for name, p in parameters.items() if p.requires_grad),
        shapes=tuple((name, tuple(p.shape)) for name, p in parameters.items()),
    )


class _Tracer(fx.Tracer):
    """A tracer that refuses code that a trace does not show."""

    def create_proxy(self, *args: Any, **kwargs: Any) -> fx.Proxy:  # noqa: ANN401
        """One step of the forward."""
        if not torch.is_grad_enabled():
            raise NotStackableError("its forward disables gradients")
        return super().create_proxy(*args, **kwargs)


def _traced(network: nn.Module) -> fx.GraphModule:
    with torch.enable_grad():
        return fx.GraphModule(network, _Tracer().trace(network))


def _untraceable(error: BaseException) -> NotStackableError:
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return NotStackableError(f"its forward cannot be traced: {first_line}")


def _check_layers_do_nothing_unseen(network: nn.Module) -> None:
    """Refuse properties that a trace does not show.

    Raises:
        NotStackableError: a hook, its own train(), or a parameter in two layers.
    """
    owners: dict[Tensor, str] = {}
    for name, module in network.named_modules():
        kind = f"the layer {name}" if name else "the network"
        hooks = (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
        if any(hooks):
            raise NotStackableError(f"{kind} has a hook")
        if type(module).train is not nn.Module.train:
            raise NotStackableError(f"{kind} overrides train()")
        for own, parameter in module.named_parameters(name, recurse=False):
            if parameter in owners:
                raise NotStackableError(f"{own} and {owners[parameter]} are the same parameter")
            if parameter._backward_hooks:
                raise NotStackableError(f"the parameter {own} has a hook")
            owners[parameter] = own


class _Translator:
    """Turns the nodes of a traced module into steps."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self._modules = dict(traced.named_modules())
        self._nodes = list(traced.graph.nodes)
        self._steps: list[Step] = []

    def translated(self) -> tuple[tuple[Step, ...], str, str]:
        """The steps, and the names of the input and of the output."""
        images = logits = ""
        for node in self._nodes:
            if node.op == "placeholder":
                if images:
                    raise NotStackableError("it takes more than one input")
                images = node.name
            elif node.op == "output":
                if not isinstance(node.args[0], fx.Node):
                    raise NotStackableError("it has more than one output")
                logits = node.args[0].name
            elif _shape(node):
                layer = self._layer(node)
                self._check_change_in_place(node)
                given = [*node.args, *node.kwargs.values()]
                inputs = [a for a in given if isinstance(a, fx.Node) and _shape(a)]
                self._steps.append(Step(node.name, tuple(a.name for a in inputs), layer))
        return tuple(_pooled_first(self._steps, logits)), images, logits

    def _layer(self, node: fx.Node) -> Layer:
        if node.op == "call_module":
            layer = _of_module(str(node.target), self._modules[str(node.target)])
        elif node.op in {"call_function", "call_method"}:
            layer = _of_call(node)
        else:
            raise NotStackableError(f"it uses the parameter {node.target} outside a layer")
        _check_forms(node, layer)
        return layer

    def _check_change_in_place(self, node: fx.Node) -> None:
        """Steps must not change inputs that are read later."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        in_place = node.kwargs.get("inplace") or getattr(module, "inplace", False)
        if not (in_place or node.target is operator.iadd):
            return
        later = set(self._nodes[self._nodes.index(node) + 1 :])
        changed: Any = node.args[0]
        while isinstance(changed, fx.Node):
            if not later.isdisjoint(changed.users):
                raise NotStackableError(f"{node.name} changes in place a tensor that is read again")
            changed = changed.args[0] if self._is_view(changed) else None

    def _is_view(self, node: fx.Node) -> bool:
        """Whether its value may share the memory of its input."""
        if node.op == "call_module":
            return isinstance(self._modules[str(node.target)], nn.Flatten | nn.Identity)
        return node.target in _FLATTENINGS


def _linear(name: str, module: nn.Linear) -> Layer:
    return Linear(f"{name}.weight", _named(name, "bias", module))


def _convolution(name: str, module: nn.Conv2d) -> Layer | None:
    if module.padding_mode != "zeros":
        return None
    return Convolution(
        f"{name}.weight",
        _named(name, "bias", module),
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


def _batch_norm(name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> Layer | None:
    if module.momentum is None:  # an average over all batches so far
        return None
    return BatchNorm(
        weight=_named(name, "weight", module),
        bias=_named(name, "bias", module),
        running_mean=_named(name, "running_mean", module),
        running_var=_named(name, "running_var", module),
        momentum=module.momentum,
        eps=module.eps,
    )


def _flatten(_: str, module: nn.Flatten) -> Layer | None:
    return Flatten() if (module.start_dim, module.end_dim) == (1, -1) else None


def _max_pool(_: str, module: nn.MaxPool2d) -> Layer | None:
    if module.return_indices:
        return None
    pairs = (module.kernel_size, module.stride, module.padding, module.dilation)
    alike = all(pair in (w, (w, w)) for pair, w in zip(pairs, (2, 2, 0, 1), strict=True))
    return MaxPool2x2() if alike and not module.ceil_mode else ByChannel(module)


def _by_channel(_: str, module: nn.Module) -> Layer | None:
    return None if getattr(module, "return_indices", False) else ByChannel(module)


def _by_element(_: str, module: nn.Module) -> Layer:
    if getattr(module, "inplace", False):  # the backward pass of another layer may need the values
        module = copy.copy(module)
        module.__dict__["inplace"] = False
    return ByElement(module)


_TRANSLATIONS: dict[type[nn.Module], Callable[[str, Any], Layer | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Flatten: _flatten,
    nn.MaxPool2d: _max_pool,
    **dict.fromkeys(BY_CHANNEL, _by_channel),
    **dict.fromkeys(BY_ELEMENT, _by_element),
}


def _of_module(name: str, module: nn.Module) -> Layer:
    translate = _TRANSLATIONS.get(type(module))
    layer = translate(name, module) if translate else None
    if layer is None:
        first_line, *others = str(module).splitlines()
        kind = type(module).__name__ if others else first_line
        raise NotStackableError(f"the layer {name}, {kind}, is not supported")
    return layer


def _of_call(node: fx.Node) -> Layer:
    target: Any = node.target
    tensors = [a for a in node.args if isinstance(a, fx.Node)]
    plain = len(tensors) == len(node.args) and set(node.kwargs) <= {"inplace"}
    if target in _FLATTENINGS and len(_shape(node)) == _ROWS:
        return Flatten()
    if plain and target in _SUMS and len({_shape(tensor) for tensor in tensors}) == 1:
        return ByElement(torch.add)
    if plain and target in _ACTIVATION_CALLS:
        return ByElement(_ACTIVATION_CALLS[target])
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    raise NotStackableError(f"the call of {name} is not supported")


def _check_forms(node: fx.Node, layer: Layer) -> None:
    """Image layers need images, linear layers rows."""
    before = next(_shape(a) for a in node.all_input_nodes if _shape(a))
    accepted = {
        Linear: (_ROWS,),
        Convolution: (_IMAGES,),
        MaxPool2x2: (_IMAGES,),
        ByChannel: (_IMAGES,),
    }.get(type(layer), (_ROWS, _IMAGES))
    keeps_images = not isinstance(layer, Flatten) or _shape(node)[0] == before[0]
    if len(before) not in accepted or not keeps_images:
        raise NotStackableError(f"{node.name} takes a tensor of shape {before}")


def _pooled_first(steps: Sequence[Step], logits: str) -> list[Step]:
    """The steps, with each ReLU that is only pooled moved after the pooling."""
    moved = list(steps)
    for index in range(len(moved) - 1):
        first, second = moved[index], moved[index + 1]
        readers = sum(first.name in step.inputs for step in moved)
        if (
            isinstance(first.layer, ByElement)
            and isinstance(first.layer.apply, nn.ReLU)
            and isinstance(second.layer, MaxPool2x2)
            and second.inputs == (first.name,)
            and readers == 1
            and first.name != logits
        ):
            moved[index] = Step(first.name, first.inputs, second.layer)
            moved[index + 1] = Step(second.name, (first.name,), first.layer)
    return moved


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of a node's value; empty where it is not a tensor."""
    meta: Any = node.meta.get("tensor_meta")
    return tuple(meta.shape) if hasattr(meta, "shape") else ()


def _named(name: str, attribute: str, module: nn.Module) -> str | None:
    return f"{name}.{attribute}" if getattr(module, attribute) is not None else None
