"""Reverse mode over the nodes of a graph in the making: how a value's slope becomes that of what it was made of.

A chain of words is convolutions, ReLUs, shuffles and sums: its way back is transposed convolutions, masks, the shuffles
the other way round, and sums.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tadlib.errors import BadInput

if TYPE_CHECKING:
    from tadlib.tool.graph import Graph

Shares = Iterator[tuple[str, str]]  # of a node's inputs: the name of one, and the slope that the node gives it
END = -(2**31)  # a Slice backwards: to the beginning


def gradient(graph: Graph, nodes: Iterable[onnx.NodeProto], slopes: dict[str, str], to: str) -> str | None:
    """The slope of what depends on the value `to` by these nodes, given those of their last values; None without one.

    Raises BadInput for an operator whose way back is not known here.
    """
    on_the_way, made_of_it = {to}, []
    for node in nodes:
        if on_the_way & set(node.input):
            on_the_way |= set(node.output)
            made_of_it.append(node)
    slopes = dict(slopes)
    for node in reversed(made_of_it):
        slope = slopes.get(node.output[0])
        if slope is None:
            continue
        if node.op_type not in BACK:
            raise BadInput(f"a decoder with the operator {node.op_type} cannot be refined without torch")
        for name, share in BACK[node.op_type](graph, node, slope):
            if name in on_the_way:
                slopes[name] = graph.op("Add", slopes[name], share) if name in slopes else share
    return slopes.get(to)


def _add(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    yield from ((name, slope) for name in node.input)


def _relu(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    yield node.input[0], graph.op("Mul", slope, graph.op("Sign", node.output[0]))  # of what is not negative: 0 or 1


def _divided(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    yield node.input[0], graph.op("Div", slope, node.input[1])  # by what does not depend on the picture


def _convolved(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    """A 3x3 one with zeros around is turned round, which is several times as fast as ConvTranspose."""
    said = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    weight = node.input[1]
    if said.get("kernel_shape") == [3, 3] and said.get("pads") == [1] * 4:
        swapped = graph.op("Transpose", weight, perm=[1, 0, 2, 3])
        turned = graph.op("Slice", swapped, graph.constant([-1, -1]), graph.constant([END, END]),
                          graph.constant([2, 3]), graph.constant([-1, -1]))
        yield node.input[0], graph.op("Conv", slope, turned, **said)
    else:
        yield node.input[0], graph.op("ConvTranspose", slope, weight, **said)


def _shuffled(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    block = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}["blocksize"]
    yield node.input[0], graph.unshuffled(slope, graph.shuffled[node.output[0]], block)


def _cut(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    """Channels, as a clip's middle frame is cut out, or rows and columns at the end: zeros in their places."""
    source, first, last, axes = node.input
    if list(_constant(graph, axes)) == [1]:
        before = graph.constant([0, *_constant(graph, first), 0, 0, 0])
        lacking = graph.op("Sub", graph.op("Shape", source, start=1, end=2), last)
        yield source, graph.op("Pad", slope, graph.op("Concat", before, lacking, graph.constant([0, 0]), axis=0))
    else:
        lacking = graph.op("Sub", graph.sides(source), graph.sides(slope))
        yield source, graph.op("Pad", slope, graph.op("Concat", graph.constant([0] * 6), lacking, axis=0))


def _padded(graph: Graph, node: onnx.NodeProto, slope: str) -> Shares:
    """The last row and column were repeated at the end: each gets what all of its copies get."""
    source, pads = node.input
    if pads in graph.tensors:  # on all sides, as Lanczos needs it
        raise BadInput("a decoder that adds a Lanczos enlargement cannot be refined without torch")
    for axis in (2, 3):
        one, where = graph.constant([1]), graph.constant([axis])
        last = graph.op("Sub", graph.op("Shape", source, start=axis, end=axis + 1), one)
        before = graph.op("Slice", slope, graph.constant([0]), last, where)
        copies = graph.op("Slice", slope, last, graph.constant([2**31]), where)
        slope = graph.op("Concat", before, graph.op("ReduceSum", copies, where, keepdims=1), axis=axis)
    yield source, slope


def _constant(graph: Graph, name: str) -> np.ndarray:
    return numpy_helper.to_array(graph.tensors[name])


BACK: dict[str, Callable[..., Shares]] = {
    "Add": _add, "Relu": _relu, "Div": _divided, "Conv": _convolved, "DepthToSpace": _shuffled, "Slice": _cut,
    "Pad": _padded}
