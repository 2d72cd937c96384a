"""Write the tables of settings in the manuals: `python scripts/document_settings.py`."""

from pathlib import Path

from pydantic import BaseModel

from device_manager.config import ManagerConfig
from mapper_sdk.config import MapperConfig
from mapper_sdk.delivery.config import (
    AllowConfig,
    BatchConfig,
    DeliveryConfig,
    PushedConfig,
    SelectConfig,
    SinkConfig,
    SpoolConfig,
)
from mapper_sdk.settings_docs import render
from mapper_sdk.sinks.kinds import KINDS, sink_class
from mapper_sdk.sinks.tls import Tls

DOCS = Path(__file__).parents[1] / "docs"


def pages() -> dict[Path, dict[str, type[BaseModel]]]:
    """Each page that has tables, and the model of each."""
    found: dict[Path, dict[str, type[BaseModel]]] = {
        DOCS / "operating.md": {"manager": ManagerConfig, "mapper": MapperConfig},
        DOCS / "delivery.md": {
            "delivery": DeliveryConfig,
            "sink": SinkConfig,
            "select": SelectConfig,
            "batch": BatchConfig,
            "spool": SpoolConfig,
            "pushed": PushedConfig,
            "allow": AllowConfig,
        },
    }
    for kind in KINDS:
        page, sink = DOCS / "sinks" / f"{kind}.md", sink_class(kind)
        if page.exists():
            models = {"target": sink.target_model, "place": sink.place_model, "tls": Tls}
            text = page.read_text(encoding="utf-8")
            found[page] = {n: m for n, m in models.items() if f"<!-- {n} settings -->" in text}
    return found


if __name__ == "__main__":
    for path, tables in pages().items():
        path.write_text(render(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
