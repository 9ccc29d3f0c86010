"""Every architecture as a line that one can read.

A net is an encoder and a decoder for ONE scaling step. Each is a chain of layers, written as words:

    c64   3x3 convolution to 64 channels, stride 1, zero padding 1, with bias
    r     resblock: x + c(ReLU(c(x))), channels kept; the only ReLU of the report's nets is in here
    a     ReLU
    u2    pixel unshuffle by 2: (C, 2H, 2W) -> (4C, H, W), the report's "inverse subpixel convolution"
    p2    pixel shuffle by 2:   (4C, H, W) -> (C, 2H, 2W)
    =     remember x          +    add what was remembered

and `r*3` stands for `r r r`. An empty encoder passes the guidance on; an empty decoder gives zero. At a scale of
several steps encoder and decoder are applied so many times to their own output (FACTS: "Scale 4, 8, 16").
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tadlib.images import BadInput


@dataclass(frozen=True)
class Spec:
    """One architecture: what a row of the tables of Fig. 25 and 26 says."""

    name: str
    family: str  # "study" (the report's), "tool" (what a person uses), "baseline", "own"
    encoder: str
    decoder: str
    step: int = 2  # factor of one pass: x4 takes two passes of 2, or one of 4; colour has 1
    task: str = "sr"  # "sr" or "colour"
    skip: str = "none"  # added to the decoder's output: an interpolation, for colour "grey"; "none" as published
    added: bool = True  # X_GD is added to the encoder's output
    start: str = "default"  # "zero": the last convolutions start at zero, so the net starts as its skip
    head: str = ""  # "cic": the decoder's output are scores of colour bins, not colours (networks/cic.py)
    luma: bool = False  # decoder works on Y of the enlarged LR image, chroma is interpolated (VDSR)
    frames: int = 1  # how many consecutive small frames the decoder sees; it makes the one in the middle
    neighbours: bool = True  # False: it sees that frame so many times (what is time worth, at equal parameters?)
    note: str = ""

    @property
    def guided(self) -> str:
        """The guidance that this task uses unless a run says otherwise."""
        return "y" if self.task == "colour" else "bicubic"

    @property
    def code(self) -> int:
        """Channels of X_SLR."""
        return 1 if self.task == "colour" else 3

    @property
    def seen(self) -> int:
        """Channels that the decoder sees."""
        return 1 if self.luma else self.frames * self.code

    def chains(self) -> dict[str, str]:
        """What decides which layers there are: a run records it."""
        return {"encoder": self.encoder, "decoder": self.decoder, "skip": self.skip}

    @property
    def vsr(self) -> int:
        """The scale of the SOF-VSR that is the decoder ("sofvsr4"), 0 where it is a chain of words."""
        return int(self.decoder.removeprefix("sofvsr")) if self.decoder.startswith("sofvsr") else 0


_HEAD, _TAIL = "c8 c16 u2", "c256 p2 c3"  # of the SISR family, at full size


def _sisr(name: str, enc: str, dec: str, **rest) -> Spec:
    return Spec(name, "study", f"{_HEAD} {enc} c3", f"c64 {dec} {_TAIL}", **rest)


def _colour(name: str, enc: str, dec: str, head="c8 c64", tail="c1", dec_head="c64") -> Spec:
    return Spec(name, "study", f"{head} {enc} {tail}", f"{dec_head} {dec} c8 c3", step=1, task="colour")


_SPECS = [
    # --- the report's SISR family (FACTS section 1; report, Fig. 13, 17 and 26)
    _sisr("aetad_very_small", "= r c64 +", "= r c64 +"),
    _sisr("aetad_small", "= r*2 c64 +", "= r*2 c64 +"),
    _sisr("aetad", "= r*3 c64 +", "= r*3 c64 +", note="the shape of Kim et al. 2018"),
    _sisr("aetad_skip", "= r*2 + = r c64 +", "= r*2 + = r c64 +", note="one more skip after resblock 2"),
    _sisr("aetad_skip2", "= r*2 + r c64 +", "= r*2 + r c64 +", note="the same skip added twice"),
    _sisr("aetad_large", "= r*4 c64 +", "= r*4 c64 +"),
    _sisr("aetad_very_large", "= r*7 c64 +", "= r*7 c64*2 +"),
    Spec("aetad_direct4", "study", "c4 c4 u4 = r*3 c64 + c3", "c64 = r*3 c64 + c256 p4 c3", step=4,
         note="one step of factor 4"),
    Spec("no_tad", "study", "", "c64 = r*3 c64 + c256 p2 c3", note="aetad's decoder on the guidance image"),
    _sisr("conv_only", "= c64*3 +", "= c64*3 +", note="no ReLU: an affine map"),
    _sisr("conv_only_large", "= c64*2 + c64*2 +", "= c64*2 + c64*2 +"),
    _sisr("conv_only_very_large", "= c64*2 + c64 c128 c128 c64 +", "= c64*2 + c128 c128 c64*2 +"),
    _sisr("conv_only_very_large2", "= c64*2 + c128 c256 c128 c64 +", "= c64*2 + c128 c256 c128 c64*2 +",
          note="as published its encoder lacks a 128-64 convolution; mended"),
    Spec("vdsr", "study", "", "c64 a " + "c64 a " * 18 + "c1", skip="bicubic", luma=True,
         note="Kim et al. 2016: 20 layers on the enlarged Y"),
    # --- the report's colour family
    _colour("aetad_color_small", "= r c64 +", "= r c64 +"),
    _colour("aetad_color", "= r*3 c64 +", "= r*3 c64 +"),
    _colour("aetad_color_large", "= r*4 c64 +", "= r*4 c64 +", head="c16 c64", tail="c32 c1", dec_head="c32 c64"),
    _colour("aetad_color_very_large", "= r*7 c64 +", "= r*7 c64*2 +"),
    _colour("conv_only_color_large", "= c64*2 + c64*2 +", "= c64*2 + c64*2 +"),
    Spec("no_tad_color", "study", "", "c64 = r*3 c64 + c8 c3", step=1, task="colour",
         note="aetad_color's decoder on Y"),
    # --- beside the report: what colour needs (FACTS 7), and the classic that guesses
    Spec("color_shuffle", "study", "u2 c64 r*2 c4 p2", "u2 c64 r*4 c12 p2", step=1, task="colour", skip="grey",
         start="zero", note="at half the size a flat area can carry a pattern"),
    Spec("cic_color", "study", "", "u4 c64 r*6 c260", step=1, task="colour", head="cic",
         note="after Zhang et al. 2016: guesses from Y"),
    # --- video: a decoder of three frames (networks/sofvsr.py: Y alone, chroma is interpolated)
    Spec("sofvsr", "study", "", "sofvsr4", step=4, skip="bicubic", frames=3, note="Wang et al. 2020"),
    Spec("aetad_sofvsr", "study", f"{_HEAD} = r*3 c64 + c3", "sofvsr4", skip="bicubic", frames=3,
         note="aetad down, SOF-VSR up"),
    Spec("joint_x4", "tool", "u4 c64 r*4 c3", "c64 r*12 c48 p4", step=4, skip="bicubic", start="zero", frames=3,
         note="tool_x4 whose decoder sees three frames"),
    # --- what a person uses: all work at the LR image's size or below, added to interpolated images
    Spec("tool_x4", "tool", "u4 c64 r*4 c3", "c64 r*12 c48 p4", step=4, skip="bicubic", start="zero"),
    Spec("tool_x2", "tool", "u2 c64 r*4 c3", "c64 r*12 c12 p2", step=2, skip="bicubic", start="zero"),
    Spec("tool_color", "tool", "u2 c64 r*5 c4 p2", "u2 c64 r*11 c12 p2", step=1, task="colour", skip="grey",
         start="zero"),
    # --- no network at all
    Spec("bicubic", "baseline", "", "", skip="bicubic"),
    Spec("lanczos", "baseline", "", "", skip="lanczos"),
    Spec("grey", "baseline", "", "", step=1, task="colour", skip="grey", note="Y with no colour at all"),
]
SKIPS = ("none", "bicubic", "bilinear", "lanczos", "grey")
ZOO: dict[str, Spec] = {s.name: s for s in _SPECS}


def spec(name: str, **changes) -> Spec:
    """The named architecture, some fields changed. Raises KeyError naming the known ones."""
    if name not in ZOO:
        raise KeyError(f"no network {name!r}; there are: {', '.join(ZOO)}")
    return replace(ZOO[name], **changes)


def check(spec: Spec) -> None:
    """Raises BadInput where a row cannot be built, or would not give images of the right size and channels."""
    if spec.task not in ("sr", "colour") or spec.skip not in SKIPS:
        raise BadInput(f"network {spec.name}: task {spec.task!r}, skip {spec.skip!r}; there are tasks sr and colour,"
                       f" and skips {', '.join(SKIPS)}")
    if not (spec.vsr or spec.head):  # SOF-VSR is no chain, and scores of colour bins are no image
        large = (1 if spec.luma else 3, 1 if spec.luma else spec.step)
        parts = (("encoder", spec.encoder, 3, (spec.code, 1 / spec.step)), ("decoder", spec.decoder, spec.seen, large))
        for part, chain, channels, wanted in parts:
            try:
                found = layers(chain, channels)[-1][2:] if chain else wanted
            except ValueError as error:
                raise BadInput(f"network {spec.name}, {part}: {error}") from None
            if found != wanted:
                raise BadInput(f"network {spec.name}, {part}: ends with {found[0]} channels at {found[1]:g} times the "
                               f"size, and has to end with {wanted[0]} at {wanted[1]:g}")


def words(chain: str) -> list[str]:
    """A chain as its single words: "c64 r*2" -> ["c64", "r", "r"]."""
    out = []
    for word in chain.split():
        word, _, times = word.partition("*")
        out += [word] * int(times or 1)
    return out


def layers(chain: str, channels: int) -> list[tuple[str, int, int, float]]:
    """The chain with its shapes: (word, channels in, channels out, size relative to the input's) for each word.

    Raises ValueError where the words do not fit together. This one walk feeds builder, diagram and counts.
    """
    out, size, memory = [], 1.0, None
    for word in words(chain):
        if not re.fullmatch(r"[cup][1-9]\d*|[ra=+]", word):
            raise ValueError(f"unknown word {word!r} in {chain!r}")
        kind, number = word[0], int(word[1:] or 0)
        before = channels
        if kind == "c":
            channels = number
        elif kind == "u":
            channels, size = channels * number**2, size / number
        elif kind == "p":
            if channels % number**2:
                raise ValueError(f"{word} in {chain!r}: {channels} channels are no multiple of {number**2}")
            channels, size = channels // number**2, size * number
        elif kind == "=":
            memory = (channels, size)
        elif kind == "+" and memory != (channels, size):
            raise ValueError(f"+ in {chain!r}: {memory} was remembered, {(channels, size)} is here")
        out.append((word, before, channels, size))
    return out


def radius(chain: str) -> float:
    """How far one output pixel sees in each direction, in pixels of the chain's input."""
    reach = 0.0
    size = 1.0
    for word, _, _, after in layers(chain, 12):
        reach += {"c": 1, "r": 2}.get(word[0], 0) / size
        reach += (1 / after if word[0] in "up" else 0)  # a shuffle moves by less than one coarse pixel
        size = after
    return reach
