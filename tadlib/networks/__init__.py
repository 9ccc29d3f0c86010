"""The networks: `zoo.ZOO` names every architecture, `tad.TAD` builds any of them."""
from typing import Any

from tadlib.networks.tad import TAD
from tadlib.networks.zoo import ZOO, Spec, spec

__all__ = ["TAD", "ZOO", "Spec", "build", "spec"]


def build(name: str, **changes: Any) -> TAD:
    """A freshly initialised network of the zoo; `changes` replace fields of its spec (skip="bicubic")."""
    return TAD(spec(name, **changes))
