"""A picture's colours in sRGB, in which networks and files without a profile are."""
from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from tadlib.files import as_rgb

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space -> the mode of a picture in it
SAME = 2  # grey levels: a profile that moves none further is that of sRGB itself, and is left out


def to_srgb(picture: Image.Image) -> Image.Image:
    """The picture in sRGB by its own profile, with its alpha; itself where it has none that fits, or sRGB's."""
    if picture.mode == "F" or not picture.info.get("icc_profile"):
        return picture
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        mode = MODES[own.profile.xcolor_space]
        if picture.mode.startswith("I") and mode == "L":  # no profile is applied to more than 8 bits
            picture = Image.fromarray(as_rgb(picture)[..., 0])
        if (mode == "CMYK") != (picture.mode == "CMYK") or (mode == "L" and picture.mode not in ("L", "LA", "1")):
            return picture
        transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB" and _is_identity(transform):
            return picture
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        result = ImageCms.applyTransform(picture if picture.mode == mode else picture.convert(mode), transform,
                                         inPlace=mode == picture.mode == "RGB") or picture
    except (ImageCms.PyCMSError, KeyError, OSError, ValueError):  # a damaged profile says nothing: as without
        return picture
    result.info.pop("transparency", None)
    if alpha:
        result.putalpha(alpha)
    return result


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform))
    return bool(np.abs(moved.astype(int) - cube).max() <= SAME)
