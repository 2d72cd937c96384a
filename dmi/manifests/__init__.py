"""Device files: read strictly, each mistake worded with its file, line and YAML path."""

from dmi.manifests.checks import check_alone, check_device, check_model
from dmi.manifests.reading import (
    Manifest,
    Survey,
    load_manifests,
    manifest_files,
    parse_manifests,
    read_manifests,
    survey_file,
    survey_text,
)
from dmi.mistakes import Fault, ManifestError, Mistake, YamlPath, path_text

__all__ = [
    "Fault",
    "Manifest",
    "ManifestError",
    "Mistake",
    "Survey",
    "YamlPath",
    "check_alone",
    "check_device",
    "check_model",
    "load_manifests",
    "manifest_files",
    "parse_manifests",
    "path_text",
    "read_manifests",
    "survey_file",
    "survey_text",
]
