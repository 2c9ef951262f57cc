"""Where the made-up rows in the schemas of published data sets are."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "hub"
