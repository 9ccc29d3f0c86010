"""Peak memory and time of reading one picture of every kind, as the tool reads it: each in a process of its own.

The pictures are of one colour and as large as is asked for; what would take more than the budget is refused (rows
without a peak), and so it is with what nobody can read as it is meant.
"""
import argparse
import math
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

from clip_memory import peak

READ = """
import sys
from tadlib.errors import BadInput
from tadlib.files import read_picture
from tadlib.tool.colours import to_srgb
try:
    print(read_picture(sys.argv[1], prepare=to_srgb)[0].shape)
except BadInput as error:
    sys.exit(9)
"""
MAKE = """
import sys
from PIL import Image, ImageCms
name, mode, side, *more = sys.argv[1:]
options, picture = dict(option.split("=") for option in more), Image.new(mode, (int(side), int(side)))
options = {key: int(value) if value.isdigit() else value for key, value in options.items()}
if "orientation" in options:
    options["exif"] = Image.Exif()
    options["exif"][274] = options.pop("orientation")
if "profile" in options:
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile(options.pop("profile"))).tobytes()
    # with another red: sRGB itself is not converted
    options["icc_profile"] = content.replace(b"\\0\\0o\\xa2\\0\\0", b"\\0\\0\\x7f\\xa2\\0\\0")
if options.pop("transparent", None):
    options["transparency"] = 0
Image.MAX_IMAGE_PIXELS = None
picture.save(name, **options)
"""
PNG = {  # depth, type, bytes a pixel
    "16-bit grey": (16, 0, 2), "16-bit colour": (16, 2, 6), "16-bit grey, alpha": (16, 4, 4),
    "16-bit colour, alpha": (16, 6, 8), "grey, alpha": (8, 4, 2), "1 bit": (1, 0, 0.125)}
KINDS = {  # of which Pillow makes the file: name, mode, options
    "PNG": ("a.png", "RGB"), "PNG, grey": ("a.png", "L"), "PNG, alpha": ("a.png", "RGBA"),
    "PNG, palette": ("a.png", "P"), "PNG, palette, transparent": ("a.png", "P", "transparent=1"),
    "PNG, profile": ("a.png", "RGB", "profile=sRGB"), "PNG, alpha, profile": ("a.png", "RGBA", "profile=sRGB"),
    "PNG, alpha, on its side": ("a.png", "RGBA", "orientation=5"),
    "JPEG": ("a.jpg", "RGB"), "JPEG, progressive": ("a.jpg", "RGB", "progressive=1"), "JPEG, grey": ("a.jpg", "L"),
    "JPEG, CMYK": ("a.jpg", "CMYK"), "JPEG, on its side": ("a.jpg", "RGB", "orientation=6"),
    "JPEG, on its side, profile": ("a.jpg", "RGB", "orientation=8", "profile=sRGB"),
    "TIFF": ("a.tif", "RGB", "compression=tiff_deflate"), "TIFF, raw": ("a.tif", "RGB"),
    "TIFF, 16 bit": ("a.tif", "I;16", "compression=tiff_lzw"), "TIFF, Lab": ("a.tif", "LAB"),
    "TIFF, floats": ("a.tif", "F", "compression=tiff_deflate"), "TIFF, integers": ("a.tif", "I"),
    "TIFF, CMYK": ("a.tif", "CMYK", "compression=tiff_lzw"), "TIFF, fax": ("a.tif", "1", "compression=group4"),
    "GIF": ("a.gif", "P"), "GIF, transparent": ("a.gif", "P", "transparent=1"), "BMP": ("a.bmp", "RGB"),
    "TGA, alpha": ("a.tga", "RGBA"), "PPM": ("a.ppm", "RGB"), "PGM, 16 bit": ("a.pgm", "I;16"),
    "PCX": ("a.pcx", "RGB"), "WebP": ("a.webp", "RGB"), "JPEG 2000": ("a.jp2", "L"),
    "AVIF": ("a.avif", "L", "speed=10")}
SMALL = {"WebP", "JPEG 2000", "AVIF"}  # made at half the side as well: at all of it they are refused


def write_png(path: Path, side: int, depth: int, colour: int, size: float) -> None:
    """A black PNG of which Pillow would not write the kind, line by line."""
    packer, line = zlib.compressobj(1), bytes(1 + math.ceil(side * size))
    content = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
        for k, d in ((b"IHDR", head), (b"IDAT", content), (b"IEND", b""))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=14_000, help="of the square pictures (default: 14000)")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="only kinds that begin so")
    parser.add_argument("--limit", type=float, default=3, metavar="GB", help="of memory; above it the exit code is 1")
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there: results/cpu/reading.csv")
    options = parser.parse_args()
    kinds = [f"PNG, {kind}" for kind in PNG] + [*KINDS]
    rows = []
    for kind in (k for k in kinds if not options.only or k.startswith(tuple(options.only))):
        for side in (options.side, options.side // 2) if kind in SMALL else (options.side,):
            with tempfile.TemporaryDirectory() as folder:
                if kind in KINDS:
                    name, mode, *more = KINDS[kind]
                    path = Path(folder, name)
                    peak("-c", MAKE, path, mode, side, *more)
                else:
                    path = Path(folder, "a.png")
                    write_png(path, side, *PNG[kind.removeprefix("PNG, ")])
                start = time.perf_counter()
                memory = peak("-c", READ, path, refused=9) * 2**20 / 1e9
                seconds = time.perf_counter() - start
            rows.append({"kind": kind, "side": side, "peak GB": round(memory, 2) or None, "seconds": round(seconds)})
            print(f"{kind:28} {side} {f'{memory:.2f} GB, {seconds:.0f} s' if memory else 'refused'}", flush=True)
    if options.keep:
        import pandas as pd  # here: a child is charged what its parent has

        from tadlib import machine

        pd.DataFrame(rows).assign(**machine.facts()).to_csv(options.keep, index=False)
    sys.exit(max(row["peak GB"] or 0 for row in rows) >= options.limit)
