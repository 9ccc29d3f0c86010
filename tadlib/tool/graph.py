"""Both halves of a network, and the slope of what it gets wrong, as ONNX graphs, written operator by operator from the
words of its chains.

Written, not traced: so sizes are free, the antialiased interpolations are exact (onnxruntime's Resize knows none that
is torch's), and the same weights give the same bytes. Pictures lie as files and canvases have them, NHWC:

    down   "image" uint8 (1, H, W, 3)       -> "small" uint8 (1, ceil(H / scale), ceil(W / scale), C)
    up     "small" uint8 (frames, h, w, C)  -> "image" uint8 (1, h * scale, w * scale, 3)
    refine "small" float, in [0, 1], and "image" uint8 (1, H, W, 3): what should come of a part of it, whose upper left
           pixel in the large picture is "corner" int64 (2,)
           -> "error" float (): the sum of squares, of pixels in [0, 1]; "gradient" float (frames, h, w, C): of it

Inside all is float32, NCHW; weights are stored as float16, which they are exactly, with a Cast behind each.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tadlib.errors import BadInput
from tadlib.networks import TAD
from tadlib.networks.chain import Chain
from tadlib.networks.heads import Clip, Head, Luma
from tadlib.tool import backward

OPSET, IR = 18, 9  # old enough for onnxruntime 1.16 and onnxruntime-web of the same year
LUMA = np.array([[65.481, 128.553, 24.966]]) / 255  # BT.601 of R, G, B (pixels.py)
CHROMA = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
BACK = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]) * 255 / np.array([219, 224, 224])
ZERO = np.array([16, 128, 128]) / 255  # where Y, Cb and Cr are nothing
HALO = {"bicubic": 2, "bilinear": 1, "lanczos": 3}  # how far a kernel reaches


def down(net: TAD, scale: int, guide: str) -> onnx.ModelProto:
    """The encoder, with its guidance and the rounding. Raises BadInput where it is not made of words."""
    graph = Graph(net)
    hr = graph.padded(graph.received("image", 1), scale)
    small = graph.mixed(hr, LUMA, ZERO[:1]) if guide == "y" else graph.op(
        "Clip", graph.reduced(hr, scale, guide), graph.constant(0.0), graph.constant(1.0))
    if net.encoder is not None:
        x = hr
        for n in range(net.passes(scale)):
            x = graph.chain(x, net.encoder, "encoder", sides=scale // net.spec.step**n)
        small = graph.op("Add", x, small) if net.spec.added else x
    return graph.model([graph.input("image", TensorProto.UINT8, (1, "height", "width", 3))],
                       [graph.output(graph.codes(small), "small", TensorProto.UINT8,
                                     (1, "small_height", "small_width", net.spec.code))])


def up(net: TAD, scale: int) -> onnx.ModelProto:
    """The decoder with its head. Raises BadInput for a kind that has no graph: one that is no chain of words."""
    graph = Graph(net)
    image = graph.codes(_enlarged(graph, net, scale, graph.received("small", net.head.frames)))
    return graph.model([graph.input("small", TensorProto.UINT8, _small(net))],
                       [graph.output(image, "image", TensorProto.UINT8, (1, "height", "width", 3))])


def refine(net: TAD, scale: int) -> onnx.ModelProto:
    """What descent.Objective asks of a decoder, for a tile of a code that need not be rounded: floats in [0, 1]. Raises
    BadInput as `up` does, and for a decoder with a word or a head that backward.py does not know.
    """
    graph, frames = Graph(net), net.head.frames
    received = graph.stacked("small", frames)
    first = len(graph.nodes)
    large = _enlarged(graph, net, scale, received)
    last = len(graph.nodes)
    truth = graph.received("image", 1)
    end = graph.op("Add", "corner", graph.sides(truth))
    off = graph.op("Sub", graph.op("Slice", large, "corner", end, graph.constant([2, 3])), truth)
    error = graph.op("ReduceSumSquare", off, keepdims=0)
    none = graph.constant([0, 0])
    around = graph.op("Concat", none, "corner", none, graph.op("Sub", graph.sides(large), end), axis=0)
    slope = graph.op("Pad", graph.op("Mul", off, graph.constant(2.0)), around)
    gradient = backward.gradient(graph, graph.nodes[first:last], {large: slope}, received)
    if gradient is None:
        raise BadInput(f"{net.spec.name}: nothing of the small image arrives in the large one")
    if frames > 1:
        gradient = graph.op("Reshape", gradient, graph.constant([frames, net.spec.code, 0, 0]))
    gradient = graph.op("Transpose", gradient, perm=[0, 2, 3, 1])
    return graph.model([graph.input("small", TensorProto.FLOAT, _small(net)),
                        graph.input("image", TensorProto.UINT8, (1, "height", "width", 3)),
                        graph.input("corner", TensorProto.INT64, (2,))],
                       [graph.output(error, "error", TensorProto.FLOAT, ()),
                        graph.output(gradient, "gradient", TensorProto.FLOAT, _small(net))])


def _small(net: TAD) -> tuple:
    return net.head.frames, "small_height", "small_width", net.spec.code


def _enlarged(graph: Graph, net: TAD, scale: int, received: str) -> str:
    """What arrived of X_SLR (1, frames * C, h, w) -> X_SHR (1, 3, h * scale, w * scale), not clamped, not rounded."""
    head, code = net.head, net.spec.code
    if type(head) not in (Head, Luma, Clip):
        raise BadInput(f"{net.spec.name}: a decoder of the kind {head.word!r} cannot be exported; those made of words "
                       f"can ({', '.join(kind.word for kind in (Head, Luma, Clip))})")
    middle = received
    if head.frames > 1:
        first = head.frames // 2 * code
        middle = graph.op("Slice", received, graph.constant([first]), graph.constant([first + code]),
                          graph.constant([1]))
        if not net.spec.neighbours:
            received = graph.op("Concat", *[middle] * head.frames, axis=1)
    skip = net.spec.skip
    large = graph.mixed(middle, BACK[:, :1], -BACK[:, 0] * ZERO[0]) if skip == "grey" else graph.enlarged(
        middle, scale, skip) if skip != "none" else None
    if isinstance(head, Luma):
        assert large is not None  # what it works on
        y, chroma = graph.mixed(large, LUMA, ZERO[:1]), graph.mixed(large, CHROMA, ZERO[1:])
        y = graph.op("Add", y, graph.chain(y, net.decoder, "decoder"))
        large = graph.mixed(graph.op("Concat", y, chroma, axis=1), BACK, -BACK @ ZERO)
    elif net.decoder is not None:
        x = received
        for _ in range(net.passes(scale)):
            x = graph.chain(x, net.decoder, "decoder")
        large = x if large is None else graph.op("Add", x, large)
    if large is None:
        raise BadInput(f"{net.spec.name}: has neither a decoder nor an interpolation to export")
    return large


class Graph:
    """Nodes and weights in the making; what a method returns is the name of a value, (1, C, H, W)."""

    def __init__(self, net: TAD):
        self.state = {name: values.numpy(force=True) for name, values in net.state_dict().items()}
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.shuffled: dict[str, int] = {}  # channels of what pixel shuffles made

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        """Whole numbers as int64, others as float32."""
        array = np.asarray(values)
        return self.tensor(f"constant_{len(self.tensors)}", array.astype(np.int64 if array.dtype.kind == "i"
                                                                         else np.float32))

    def tensor(self, name: str, array: np.ndarray) -> str:
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def weight(self, name: str) -> str:
        """One of the network's, stored in half its size where that is exact; a chain's second pass finds it there."""
        if name in self.tensors:
            return f"{name}_float"
        array = self.state[name]
        half = array.astype(np.float16)
        self.tensor(name, half if (half == array).all() else array)
        self.nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        return f"{name}_float"

    def received(self, name: str, frames: int) -> str:
        """uint8 (frames, H, W, C), the graph's input -> floats (1, frames * C, H, W) in [0, 1]."""
        return self.stacked(self.op("Div", self.op("Cast", name, to=TensorProto.FLOAT), self.constant(255.0)), frames)

    def stacked(self, x: str, frames: int) -> str:
        """Floats (frames, H, W, C) -> (1, frames * C, H, W)."""
        x = self.op("Transpose", x, perm=[0, 3, 1, 2])
        return x if frames == 1 else self.op("Reshape", x, self.constant([1, -1, 0, 0]))

    def chain(self, x: str, chain: Any, part: str, sides: int = 1) -> str:
        """A chain of words; the input's sides are known to be multiples of `sides`."""
        if not isinstance(chain, Chain):
            raise BadInput(f"its {part} is no chain of words and cannot be exported")
        odd = sides % chain.granularity != 0
        before, x = x, self.padded(x, chain.granularity) if odd else x
        memory = x
        for n, (word, channels, _, _) in enumerate(chain.walk):
            name = f"{part}.layers.{n}"
            if word[0] == "c":
                x = self.conv(x, name)
            elif word[0] == "r":
                x = self.op("Add", x, self.conv(self.op("Relu", self.conv(x, f"{name}.first")), f"{name}.second"))
            elif word[0] == "u":
                x = self.unshuffled(x, channels, int(word[1:]))
            elif word[0] == "p":
                x = self.shuffle(x, channels // int(word[1:])**2, int(word[1:]))
            elif word == "a":
                x = self.op("Relu", x)
            elif word == "=":
                memory = x
            else:
                x = self.op("Add", x, memory)
        if not odd:
            return x
        upper, lower = chain.size.as_integer_ratio()
        ends = self.op("Div", self.op("Mul", self.sides(before), self.constant([upper])), self.constant([lower]))
        return self.op("Slice", x, self.constant([0, 0]), ends, self.constant([2, 3]))

    def conv(self, x: str, name: str) -> str:
        return self.op("Conv", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"),
                       kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def shuffle(self, x: str, channels: int, n: int) -> str:
        """Pixel shuffle to so many channels."""
        x = self.op("DepthToSpace", x, blocksize=n, mode="CRD")
        self.shuffled[x] = channels
        return x

    def unshuffled(self, x: str, channels: int, n: int) -> str:
        """Pixel unshuffle in torch's order, which is not SpaceToDepth's: a strided convolution that picks."""
        picks = np.tile(np.eye(n * n, dtype=np.float32).reshape(n * n, 1, n, n), (channels, 1, 1, 1))
        return self.op("Conv", x, self.constant(picks), strides=[n, n], group=channels)

    def sides(self, x: str) -> str:
        return self.op("Shape", x, start=2, end=4)

    def padded(self, x: str, m: int) -> str:
        """The last row and column repeated until both sides are multiples of m."""
        if m == 1:
            return x
        lacking = self.op("Mod", self.op("Neg", self.sides(x)), self.constant([m]))
        return self.op("Pad", x, self.op("Concat", self.constant([0] * 6), lacking, axis=0), mode="edge")

    def mixed(self, x: str, matrix: np.ndarray, shift: np.ndarray) -> str:
        """matrix (C', C) of each pixel's channels, plus shift (C',)."""
        return self.op("Conv", x, self.constant(matrix[:, :, None, None].astype(np.float32)),
                       self.constant(shift.astype(np.float32)))

    def reduced(self, x: str, scale: int, kind: str) -> str:
        """Three channels, antialiased, to 1 / scale: rows, then columns. At the edges the kernel is cut off and scaled
        up again: a convolution over zeros, divided by the same of ones."""
        if scale == 1:
            return x
        taps = 2 * HALO[kind] * scale
        kernel = _kernel((np.arange(taps) + 0.5) / scale - HALO[kind], kind)
        side = (taps - scale) // 2
        for shape, pads, strides in (((1, taps), [0, side, 0, side], [1, scale]),
                                     ((taps, 1), [side, 0, side, 0], [scale, 1])):
            row = (kernel / kernel.sum()).reshape(1, 1, *shape)
            x = self.op("Div", self.op("Conv", x, self.constant(np.repeat(row, 3, 0)), group=3, pads=pads,
                                       strides=strides),
                        self.op("Conv", self.ones(x), self.constant(row), pads=pads, strides=strides))
        return x

    def enlarged(self, x: str, scale: int, kind: str) -> str:
        """Three channels, `scale` times as large: a convolution gives each pixel's scale x scale phases."""
        if scale == 1:
            return x
        side = HALO[kind]
        phases = _kernel((np.arange(scale)[:, None] + 0.5) / scale - 0.5 - np.arange(-side, side + 1), kind)
        phases /= phases.sum(1, keepdims=True)  # (scale, taps)
        both = np.einsum("iy,jx->ijyx", phases, phases).reshape(scale**2, 1, 2 * side + 1, 2 * side + 1)
        wide = self.constant(np.tile(both, (3, 1, 1, 1)))
        if kind == "lanczos":  # goes on with the edge's pixels where the others are cut off (resize.py)
            x = self.op("Pad", x, self.constant([0, 0, side, side] * 2), mode="edge")
            x = self.op("Conv", x, wide, group=3)
        else:
            pads = [side] * 4
            x = self.op("Div", self.op("Conv", x, wide, group=3, pads=pads), self.op(
                "Tile", self.op("Conv", self.ones(x), self.constant(both), pads=pads), self.constant([1, 3, 1, 1])))
        return self.shuffle(x, 3, scale)

    def ones(self, x: str) -> str:
        """(1, 1, H, W) of the same size."""
        return self.op("ConstantOfShape", self.op("Concat", self.constant([1, 1]), self.sides(x), axis=0),
                       value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))

    def codes(self, x: str) -> str:
        """Floats (1, C, H, W), any range -> uint8 (1, H, W, C)."""
        x = self.op("Clip", x, self.constant(0.0), self.constant(1.0))
        x = self.op("Cast", self.op("Round", self.op("Mul", x, self.constant(255.0))), to=TensorProto.UINT8)
        return self.op("Transpose", x, perm=[0, 2, 3, 1])

    def input(self, name: str, kind: int, shape: tuple) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def output(self, x: str, name: str, kind: int, shape: tuple) -> onnx.ValueInfoProto:
        """A value becomes an output of this name."""
        self.nodes.append(helper.make_node("Identity", [x], [name]))
        return helper.make_tensor_value_info(name, kind, shape)

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """What is there so far. Raises onnx's ValidationError: a mistake in here."""
        graph = helper.make_graph(self.nodes, "tadlib", inputs, outputs, list(self.tensors.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
                                  producer_name="tadlib")
        onnx.checker.check_model(model, full_check=True)
        return model


def _kernel(t: np.ndarray, kind: str) -> np.ndarray:
    """An interpolation's weights at distances t: Keys' cubic with a = -0.5, the tent, Lanczos-3."""
    t = np.abs(t)
    if kind == "lanczos":
        return np.where(t < 3, np.sinc(t) * np.sinc(t / 3), 0)
    if kind == "bilinear":
        return np.maximum(1 - t, 0)
    return np.where(t < 1, (1.5 * t - 2.5) * t * t + 1, np.where(t < 2, ((-0.5 * t + 2.5) * t - 4) * t + 2, 0))
