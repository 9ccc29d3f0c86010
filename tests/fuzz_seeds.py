"""What fuzz.py begins with, whole files of every listed kind, and how it spoils them, drawn from a Random."""
from __future__ import annotations

import io
import json
import random
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

SIZE = (40, 32)
INTERESTING = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1000, 14_000, 32_767, 32_768, 65_535, 65_536, 1 << 24,
               (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
ODD = (None, True, 0, 1, 2, 4, -4, 1e308, float("nan"), float("inf"), 10**30, 2**31, 0.5, "", "4", "x" * 5000, [], {},
       [1, 2], [36, 32], [0, 0], [-1, 5], [10**9, 10**9], ["a", "b"], {"a": 1}, "\x1b]0;mine\x07\x1b[2J", "bicubic",
       "\ud800", "../../etc", "a\nb", "﷽" * 900)  # what may stand where a record or a chunk has a value


def image(mode: str, rng: random.Random) -> Image.Image:
    """A small picture: a slope in each direction, and noise."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 40, (height, width, 4))
    rgba = Image.fromarray((np.stack([x * 5, y * 6, x + y, 255 - 4 * x], -1) + noise).clip(0, 255).astype(np.uint8))
    if mode in ("I;16", "F"):
        grey = np.asarray(rgba.convert("L"), np.float32) / 255
        return Image.fromarray(grey if mode == "F" else (grey * 65_535).astype(np.uint16))
    return rgba.convert("RGB").convert(mode) if mode != "RGBA" else rgba


def profile(kind: str = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


def exif() -> bytes:
    found = Image.Exif()
    found.update({271: "maker", 274: 6, 282: 300.0, 306: "2020:01:01 00:00:00"})
    found[0x8769] = {36867: "2020:01:01 00:00:00", 33434: 0.01, 37500: b"note" * 9}
    found[0x8825] = {1: "N", 2: (47.0, 22.0, 0.0)}
    return found.tobytes()


MOVING = {"save_all": True}
SAVED = [  # suffix, Pillow's name, mode, options
    *(("png", "PNG", mode, {}) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "I;16")),
    ("png", "PNG", "RGB", {"icc_profile": profile(), "exif": exif(), "dpi": (300, 300)}), ("png", "PNG", "RGB", MOVING),
    ("jpg", "JPEG", "RGB", {"exif": exif(), "icc_profile": profile(), "comment": b'{"model": "bicubic", "scale": 4}'}),
    ("jpg", "JPEG", "L", {}), ("jpg", "JPEG", "CMYK", {}), ("jpg", "JPEG", "RGB", {"progressive": True}),
    ("jpg", "MPO", "RGB", MOVING), *(("jp2", "JPEG2000", mode, {}) for mode in ("RGB", "L", "I;16", "RGBA")),
    ("webp", "WEBP", "RGB", {"exif": exif()}), ("webp", "WEBP", "RGBA", {"lossless": True}),
    ("webp", "WEBP", "RGB", MOVING), ("avif", "AVIF", "RGB", {"speed": 10}), ("avif", "AVIF", "RGBA", {"speed": 10}),
    *(("bmp", "BMP", mode, {}) for mode in ("RGB", "P", "1", "L", "RGBA")), ("bmp", "DIB", "RGB", {}),
    *(("tif", "TIFF", "RGB", {"compression": name})
      for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
    ("tif", "TIFF", "1", {"compression": "group4"}),
    *(("tif", "TIFF", mode, {}) for mode in ("F", "I;16", "CMYK", "LA")),
    ("tif", "TIFF", "RGB", MOVING), ("gif", "GIF", "P", {}), ("gif", "GIF", "RGB", MOVING),
    *(("tga", "TGA", mode, {"compression": c}) for mode in ("RGB", "RGBA", "L") for c in (None, "tga_rle")),
    ("ppm", "PPM", "RGB", {}), ("pgm", "PPM", "L", {}), ("pnm", "PPM", "1", {}),
    *(("pcx", "PCX", mode, {}) for mode in ("RGB", "L", "P", "1")),
    ("ico", "ICO", "RGBA", {"sizes": [(16, 16), (32, 32)]}),
]


def pictures(rng: random.Random) -> list[tuple[str, str, bytes]]:
    """(suffix, Pillow's name, a whole file) of everything in SAVED."""
    found = []
    for suffix, form, mode, options in SAVED:
        more = {"append_images": [image(mode, rng), image(mode, rng)]} if options is MOVING else {}
        buffer = io.BytesIO()
        image(mode, rng).save(buffer, form, **options, **more)
        found.append((suffix, form, buffer.getvalue()))
    return found


CLIPS = {  # file -> video codec, pixel format, sound codec
    "h264.mp4": ("libx264", "yuv420p", "aac"), "mpeg4.mp4": ("mpeg4", "yuv420p", None),
    "h264.mkv": ("libx264", "yuv444p", "flac"), "ffv1.mkv": ("ffv1", "yuv420p10le", None),
    "mpeg4.avi": ("mpeg4", "yuv420p", "pcm_s16le"), "alpha.mov": ("qtrle", "argb", None),
    "vp8.webm": ("libvpx", "yuv420p", None), "mpeg2.ts": ("mpeg2video", "yuv420p", "mp2"),
    "mpeg1.mpg": ("mpeg1video", "yuv420p", "mp2"), "flv1.flv": ("flv", "yuv420p", None),
    "raw.y4m": ("rawvideo", "yuv420p", None), "wmv2.wmv": ("wmv2", "yuv420p", None), "ffv1.nut": ("ffv1", "bgr0", None),
    "mpeg2.mxf": ("mpeg2video", "yuv422p", None)}
FORMS = {"y4m": "yuv4mpegpipe", "mkv": "matroska", "ts": "mpegts", "mpg": "mpeg", "wmv": "asf"}


def clip(name: str, rng: random.Random, frames: int = 4) -> bytes:
    """A film of some frames of which no two last equally long, with sound where CLIPS says so."""
    codec, form, sound = CLIPS[name]
    buffer = io.BytesIO()
    suffix = name.partition(".")[2]
    with av.open(buffer, "w", format=FORMS.get(suffix, suffix)) as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width, stream.height = SIZE
        stream.pix_fmt = form
        if sound:
            tone = container.add_stream(sound, rate=48_000, layout="mono")
            tone.codec_context.time_base = Fraction(1, 48_000)
            tone.codec_context.open()
        for n in range(frames):
            frame = av.VideoFrame.from_image(image("RGB", rng)).reformat(format=form)
            frame.pts, frame.time_base = n + (n > 2 and suffix in ("mp4", "mkv")), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            size = tone.codec_context.frame_size or 1024
            for n in range(4):
                wave = np.round(8000 * np.sin(np.arange(size) / 9)).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 48_000, n * size, Fraction(1, 48_000)
                resampler = av.AudioResampler(tone.codec_context.format, "mono", 48_000)
                container.mux([p for part in resampler.resample(piece) for p in tone.encode(part)])
            container.mux(tone.encode())
    return buffer.getvalue()


def spoiled(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Some bytes changed, added, taken away; half of the times near the beginning, where sizes stand."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 30))):
        end = max(1, len(out) if rng.random() < 0.5 else min(len(out), 200))
        at, length = rng.randrange(end), rng.choice((1, 2, 4, 16, 100, 1000))
        match rng.randrange(10):
            case 0 | 1 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 2 if out:
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3 | 4:
                form = rng.choice(("<H", ">H", "<I", ">I"))
                number = rng.choice(INTERESTING) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
                packed = struct.pack(form, number)
                out[at : at + len(packed)] = packed
            case 5:
                del out[at : at + length]
            case 6:
                out[at:at] = out[max(0, at - length) : at]
            case 7:
                out[at : at + length] = bytes(min(length, len(out) - at))
            case 8:
                del out[rng.randrange(len(out) + 1) :]
            case _:
                piece = other or rng.randbytes(length)
                start = rng.randrange(len(piece))
                out[at : at + (length if rng.random() < 0.5 else 0)] = piece[start : start + length]
    return bytes(out)


def odd(value: object, rng: random.Random, depth: int = 0) -> object:
    """A value of JSON with something in it put wrong."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        match rng.randrange(6):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {rng.choice(("model", "name", "x" * 300, "")): rng.choice(ODD)}
            case _:
                return value | {key: odd(value[key], rng, depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return [*value[:at], odd(value[at], rng, depth + 1), *value[at + 1 :]]
    if isinstance(value, str) and value and rng.random() < 0.4:
        return spoiled(value.encode("utf8", "replace"), rng).decode("latin1")
    return rng.choice(ODD)


def text_of(value: object, rng: random.Random) -> str:
    """JSON of something odd, now and then spoiled as text too."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = odd(value, rng)
    text = json.dumps(value)
    return spoiled(text.encode(), rng).decode("latin1") if rng.random() < 0.2 else text


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a whole PNG: (kind, content)."""
    found, at = [], 8
    while at < len(png):
        length, = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, each with its right checksum."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c))
                                           for k, c in parts)


def strange_png(small: bytes, facts: dict, rng: random.Random) -> bytes:
    """A small picture with chunks that are whole, and say something odd."""
    parts = [part for part in chunks(small) if part[0] != b"tEXt"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        what = rng.randrange(8)
        said = text_of(facts, rng).encode("latin1", "backslashreplace")
        if what < 3:
            packed = zlib.compress(said if rng.random() < 0.9 else bytes(10**7))
            new = rng.choice(((b"tEXt", b"tad\0" + said), (b"zTXt", b"tad\0\0" + packed),
                              (b"iTXt", b"tad\0\1\0\0\0" + packed), (b"iTXt", b"tad\0\0\0\0\0" + said),
                              (b"iTXt", spoiled(b"tad\0\1\0\0\0" + packed, rng))))
        elif what == 3:
            new = b"eXIf", spoiled(exif()[6:], rng)
        elif what == 4:
            own = profile(rng.choice(("sRGB", "LAB", "XYZ")))
            new = b"iCCP", b"own\0\0" + zlib.compress(spoiled(own, rng) if rng.random() < 0.8 else own)
        elif what == 5:
            sizes = [rng.choice((*INTERESTING[:14], 9, 8)) for _ in range(2)]
            depth, colour, interlaced = (rng.choice(of) for of in ((1, 2, 4, 8, 16, 3), (0, 2, 3, 4, 6, 5), (0, 1, 2)))
            parts[0] = (b"IHDR", struct.pack(">IIBBBBB", *sizes, depth, colour, 0, 0, interlaced))
            continue
        else:
            kind = rng.choice((b"pHYs", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"gAMA", b"cHRM", b"tIME", b"bKGD"))
            new = kind, struct.pack(">III", *(rng.choice(INTERESTING) for _ in range(3)))[: rng.randrange(13)]
        parts.insert(1 if rng.random() < 0.8 else len(parts) - 1, new)
    return joined(parts)


def with_text(png: bytes, text: str) -> bytes:
    """The same pixels with another `tad` chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("tad", text.encode("utf8", "replace").decode())
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def facts_of(png: bytes) -> dict:
    """What its `tad` chunk says."""
    with Image.open(io.BytesIO(png)) as picture:
        return json.loads(picture.info["tad"])
