"""Both REST APIs, asked by schemathesis whatever their own OpenAPI documents allow, and more."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext, suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# More by hand: DMI_FUZZ_EXAMPLES=60 pytest tests/fuzzing --timeout 300
EXAMPLES = int(os.environ.get("DMI_FUZZ_EXAMPLES", "5"))
ENDLESS = "/api/v1/changes"

# What a 5XX may say truly: the device is away, cannot do that, or refuses it.
HONEST = (501, 502, 503, 504)

DEVICES = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: box, namespace: default}
spec:
  protocol: virtual
  properties:
    - {name: level, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "100"}
    - {name: note, type: STRING, accessMode: ReadWrite}
    - {name: wave, type: DOUBLE, accessMode: ReadOnly}
    - {name: mean, type: DOUBLE, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: one, namespace: default, labels: {site: hall-1}}
spec:
  deviceModelRef: {name: box}
  protocol: {protocolName: virtual}
  methods: [{name: set, propertyNames: [level, note]}]
  properties:
    - {name: level, visitors: {protocolName: virtual, configData: {shape: memory}}}
    - {name: note, visitors: {protocolName: virtual, configData: {shape: memory, initial: a}}}
    - {name: wave, visitors: {protocolName: virtual, configData: {shape: sine}}}
    - {name: mean, visitors: {protocolName: virtual, configData: {derived: true, maxAge: 1000}}}
"""

KNOWN = {
    "namespace": ["default"],
    "name": ["one", "box"],
    "prop": ["level", "note", "wave", "mean"],
    "property": ["level", "note"],
    "method": ["set"],
}


@contextmanager
def running(folder, *words):
    """A `dmi` program: what it said when it was ready, and a function that gives its log."""
    file = folder / f"{words[0]}.log"
    command = [sys.executable, "-m", "dmi_cli", *words, "--ready-json"]
    with (
        file.open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        ) as made,
    ):
        try:
            said = made.stdout.readline()
            assert said, file.read_text()
            yield json.loads(said), file.read_text
        finally:
            made.terminate()
            made.wait(timeout=10)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A manager and a mapper that serves one device from a file, by name."""
    folder = tmp_path_factory.mktemp("f")
    (folder / "devices.yaml").write_text(DEVICES)
    devices = ["--devices", "devices.yaml"]
    mapper = ["mapper", "mapper_sdk.virtual:VirtualDriver", "--rest", "127.0.0.1:0", *devices]
    manager = ["manager", "--api", "127.0.0.1:0", "--socket", "d.sock", "--data-dir", "d", *devices]
    with running(folder, *mapper) as one, running(folder, *manager) as other:
        yield {"mapper": one, "manager": other}


def checks():
    load_all_checks()
    return [
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]


def ask(case, known):
    """Ask once, and check what is answered."""
    for name, value in known.items():
        if name in (case.path_parameters or {}):
            case.path_parameters[name] = value
    if "wait" in (case.query or {}):
        case.query["wait"] = 0.1  # It would be kept, and the test has no time for it.
    answer = case.call(timeout=10)
    case.validate_response(answer, checks=checks())
    if answer.status_code >= 500:
        assert answer.status_code in HONEST, answer.content
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == ["application/problem+json"]
        assert problem["status"] == answer.status_code
        assert problem["reason"]


def fuzz(operation, mode):
    """Ask one operation, as its document says or against it, and with names that there are."""
    known = {name: st.sampled_from(values) for name, values in KNOWN.items()}

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        known=st.fixed_dictionaries({}, optional=known),
    )
    def asked(case, known):
        ask(case, known)

    # Against a schema that allows everything nothing can be said.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        asked()


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["mapper", "manager"])
def test_no_request_breaks_an_api(programs, name):
    ready, log = programs[name]
    address = ready["rest" if name == "mapper" else "api"]
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    wrong = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        for mode in GenerationMode if list(operation.body) else [GenerationMode.POSITIVE]:
            try:
                fuzz(operation, mode)
            except (AssertionError, BaseExceptionGroup) as error:
                wrong.append(f"{operation.label}: {error!r}"[:2000])
    assert not wrong, "\n\n".join(wrong)
    assert "Traceback" not in log()
