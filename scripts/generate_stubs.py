"""Generate the committed protobuf code: `make proto`; with --check, prove it is current."""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SERVICES = tuple(f"dmi/proto/{version}/api.proto" for version in ("v1alpha1", "v1beta1", "v1"))
MESSAGES = ("mapper_sdk/sinks/mqtt/sparkplug/payload.proto",)


def generate(source: str, out: Path) -> None:
    """Write NAME_pb2.py, NAME_pb2.pyi and, of services, NAME_pb2_grpc.py below `out`."""
    well_known = Path(protoc.__file__).parent / "_proto"
    kinds = ("python", "pyi", "grpc_python") if source in SERVICES else ("python", "pyi")
    flags = [f"--{kind}_out={out}" for kind in kinds]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *flags, str(ROOT / source)]) != 0:
        raise SystemExit(f"protoc refused {source}")


def main() -> int:
    """Generate in place, or compare with a fresh generation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) if check else ROOT
        for source in (*SERVICES, *MESSAGES):
            generate(source, out)
        if not check:
            return 0
        stale = [
            str(new.relative_to(out))
            for new in sorted(out.rglob("*_pb2*.py*"))
            if not (ROOT / new.relative_to(out)).exists()
            or not filecmp.cmp(new, ROOT / new.relative_to(out), shallow=False)
        ]
    if stale:
        sys.stderr.write("not current, run `make proto`: " + ", ".join(stale) + "\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
