from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "companyos"):
    sys.path.insert(0, str(folder))  # importlib mode: `offline_kit` and `nodes` are imported by name
