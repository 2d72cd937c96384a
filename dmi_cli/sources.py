"""What `-f` names: files, directories and standard input, read into manifests and mistakes."""

import sys
from collections.abc import Iterable
from pathlib import Path

from dmi.manifests import Manifest, Mistake, Survey, manifest_files, survey_file, survey_text

__all__ = ["read_sources", "survey_sources"]

STDIN = "-"


def read_sources(names: Iterable[str]) -> tuple[list[Manifest], list[Mistake]]:
    """Read all that `-f` names; one object described in two files is a mistake of the second.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    survey = survey_sources(names)
    return survey.manifests, survey.mistakes


def survey_sources(names: Iterable[str]) -> Survey:
    """Read as `read_sources` does, and keep what is right of mistaken objects too.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    whole = Survey()
    for name in names:
        if name == STDIN:
            surveys = [survey_text(sys.stdin.buffer.read(), "stdin")]
        else:
            surveys = [survey_file(file) for file in manifest_files(Path(name))]
        for survey in surveys:
            whole.manifests += survey.manifests
            whole.mended += survey.mended
            whole.mistakes += survey.mistakes
    whole.manifests = _without_namesakes(whole.manifests, whole.mistakes)
    return whole


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
