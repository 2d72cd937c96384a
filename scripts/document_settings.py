"""Write the tables of settings in docs/operating.md: `python scripts/document_settings.py`."""

from pathlib import Path

from device_manager.config import ManagerConfig
from mapper_sdk.config import MapperConfig
from mapper_sdk.settings_docs import render

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"
MODELS = {"manager": ManagerConfig, "mapper": MapperConfig}

if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), MODELS), encoding="utf-8")
