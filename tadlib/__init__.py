"""Task-aware downscaling: networks, losses, data, training, evaluation, and the tool on top."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tadlib.channel import Channel
    from tadlib.networks import TAD, spec
    from tadlib.tool.codec import Codec

_PLACES = {"Channel": "tadlib.channel", "Codec": "tadlib.tool.codec", "TAD": "tadlib.networks",
           "spec": "tadlib.networks"}
__all__ = ["TAD", "Channel", "Codec", "__version__", "spec"]


def __getattr__(name: str) -> Any:
    """What is exported, loaded when it is asked for: torch takes a second."""
    if name not in _PLACES:
        raise AttributeError(f"module 'tadlib' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
