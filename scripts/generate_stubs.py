"""Generate the committed protobuf code: `make proto`; with --check, prove it is current."""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("v1alpha1", "v1beta1", "v1")


def generate(version: str, out: Path) -> None:
    """Write api_pb2.py, api_pb2.pyi and api_pb2_grpc.py of one version below `out`."""
    well_known = Path(protoc.__file__).parent / "_proto"
    source = Path("dmi/proto") / version / "api.proto"
    flags = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *flags, str(ROOT / source)]) != 0:
        raise SystemExit(f"protoc refused {source}")


def main() -> int:
    """Generate in place, or compare with a fresh generation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) if check else ROOT
        for version in VERSIONS:
            generate(version, out)
        if not check:
            return 0
        stale = [
            str(new.relative_to(out))
            for new in sorted(out.rglob("api_pb2*"))
            if not (ROOT / new.relative_to(out)).exists()
            or not filecmp.cmp(new, ROOT / new.relative_to(out), shallow=False)
        ]
    if stale:
        sys.stderr.write("not current, run `make proto`: " + ", ".join(stale) + "\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
