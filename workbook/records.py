"""Tables on disk, read: what is not there or damaged is told in one line that names the file."""
from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tadlib.errors import BadInput


def read_table(path: Path, columns: Iterable[str] = (), texts: Iterable[str] = (), absent: str = "not there"
               ) -> pd.DataFrame:
    """The rows of a CSV file; `texts` are columns that stay text whatever they look like.

    Raises BadInput where the file is absent, cannot be read, breaks off or lacks one of `columns`.
    """
    try:
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            raise ValueError("it breaks off")
        rows = pd.read_csv(io.BytesIO(data), dtype=dict.fromkeys(texts, str))
        if lacking := [name for name in columns if name not in rows]:
            raise ValueError(f"no column {lacking[0]}")
    except FileNotFoundError:
        raise BadInput(f"{path}: {absent}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path}: damaged ({reason})") from None
    return rows
