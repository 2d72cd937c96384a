"""What `-f` names: files, directories and standard input, read into manifests and mistakes."""

import sys
from collections.abc import Iterable
from pathlib import Path

from dmi.manifests import Manifest, Mistake, manifest_files, parse_manifests, read_manifests

__all__ = ["read_sources"]

STDIN = "-"


def read_sources(names: Iterable[str]) -> tuple[list[Manifest], list[Mistake]]:
    """Read all that `-f` names; one object described in two files is a mistake of the second.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    manifests: list[Manifest] = []
    mistakes: list[Mistake] = []
    for name in names:
        if name == STDIN:
            results = [parse_manifests(sys.stdin.buffer.read(), "stdin")]
        else:
            results = [read_manifests(file) for file in manifest_files(Path(name))]
        for found, wrong in results:
            manifests += found
            mistakes += wrong
    return _without_namesakes(manifests, mistakes), mistakes


def _without_namesakes(manifests: list[Manifest], mistakes: list[Mistake]) -> list[Manifest]:
    first: dict[tuple[str, str], Manifest] = {}
    for manifest in manifests:
        earlier = first.setdefault((manifest.kind, str(manifest.key)), manifest)
        if earlier is not manifest:
            problem = f"{manifest.kind} {manifest.key} is already in {earlier.file}"
            mistakes.append(
                Mistake(manifest.file, manifest.document, manifest.line, "metadata.name", problem)
            )
    return list(first.values())
