"""The compiled contracts with KubeEdge, held against the tables beside this file.

Each table lists every message with its fields in file order (number, name, type, label) and
every service with its calls (name, request, answer), as upstream's own Go code has them.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from dmi.proto.v1 import api_pb2 as v1
from dmi.proto.v1alpha1 import api_pb2 as v1alpha1
from dmi.proto.v1alpha1 import api_pb2_grpc as v1alpha1_grpc
from dmi.proto.v1beta1 import api_pb2 as v1beta1
from dmi.proto.v1beta1 import api_pb2_grpc as v1beta1_grpc

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VERSIONS = {"v1alpha1": v1alpha1, "v1beta1": v1beta1}


def file_of(version: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    VERSIONS[version].DESCRIPTOR.CopyToProto(file)
    return file


def type_of(field: FieldDescriptorProto, package: str) -> str:
    if field.type_name:
        return field.type_name.removeprefix(".").removeprefix(f"{package}.")
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def short(name: str) -> str:
    return name.rpartition(".")[2]


def row_of(field: FieldDescriptorProto, maps: dict, package: str) -> str:
    entry = maps.get(short(field.type_name))
    if entry is not None:
        key, value = (type_of(part, package) for part in entry.field)
        return f"  {field.number} {field.name} map<{key},{value}> map"
    label = "repeated" if field.label == FieldDescriptorProto.LABEL_REPEATED else "singular"
    return f"  {field.number} {field.name} {type_of(field, package)} {label}"


def compiled_table(file: FileDescriptorProto) -> list[str]:
    lines = []
    for message in file.message_type:
        maps = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
        lines.append(f"message {message.name}")
        lines += [row_of(field, maps, file.package) for field in message.field]
    for service in file.service:
        lines.append(f"service {service.name}")
        lines += [
            "  " + " ".join((call.name, short(call.input_type), short(call.output_type)))
            for call in service.method
        ]
    return lines


@pytest.mark.parametrize("version", VERSIONS)
def test_the_descriptors_equal_the_table(version):
    table = (HERE / f"wire_{version}.txt").read_text().splitlines()
    assert compiled_table(file_of(version)) == table


@pytest.mark.parametrize(("version", "messages"), [("v1alpha1", 53), ("v1beta1", 52)])
def test_nothing_is_missing_or_extra(version, messages):
    file = file_of(version)
    assert file.package == version
    assert file.syntax == "proto3"
    assert list(file.dependency) == ["google/protobuf/any.proto"]
    assert len(file.message_type) == messages
    assert len(file.service) == 2
    assert not file.enum_type
    for message in file.message_type:
        assert not message.oneof_decl
        assert all(entry.options.map_entry for entry in message.nested_type)
        assert not any(field.proto3_optional for field in message.field)
    for service in file.service:
        assert not any(call.client_streaming or call.server_streaming for call in service.method)


class Paths:
    """Stands for a channel, and notes the paths that a stub would call."""

    def __init__(self):
        self.seen = []

    def unary_unary(self, method, *_, **__):
        self.seen.append(method)


@pytest.mark.parametrize(
    ("version", "code"), [("v1alpha1", v1alpha1_grpc), ("v1beta1", v1beta1_grpc)]
)
def test_method_paths(version, code):
    paths = Paths()
    code.DeviceManagerServiceStub(paths)
    code.DeviceMapperServiceStub(paths)
    expected = [
        f"/{version}.{service.name}/{call.name}"
        for service in file_of(version).service
        for call in service.method
    ]
    assert paths.seen == expected
    assert f"/{version}.DeviceManagerService/MapperRegister" in paths.seen
    assert f"/{version}.DeviceMapperService/RegisterDevice" in paths.seen


def test_a_report_byte_for_byte():
    """The bytes are put together by hand from the wire format, not by the library."""
    report = v1beta1.ReportDeviceStatusRequest(deviceName="k", deviceNamespace="n")
    twin = report.reportedDevice.twins.add(propertyName="t")
    twin.observedDesired.SetInParent()
    twin.reported.value = "7"
    twin.reported.metadata["type"] = "INT"
    metadata = b"\x12\x0b" + b"\x0a\x04type" + b"\x12\x03INT"
    reported = b"\x0a\x017" + metadata
    body = b"\x0a\x01t" + b"\x12\x00" + b"\x1a" + bytes([len(reported)]) + reported
    status = b"\x0a" + bytes([len(body)]) + body
    expected = b"\x0a\x01k" + b"\x12" + bytes([len(status)]) + status + b"\x1a\x01n"
    assert report.SerializeToString() == expected


def test_v1_has_its_six_services_in_its_own_package():
    file = FileDescriptorProto()
    v1.DESCRIPTOR.CopyToProto(file)
    assert file.package == "dmi.v1"
    assert [service.name for service in file.service] == [
        "MapperManagement",
        "DeviceManagement",
        "DeviceDataManagement",
        "DeviceCommandManagement",
        "DeviceUpgradeManagement",
        "DeviceEventManagement",
    ]


@pytest.mark.process
def test_generating_again_changes_nothing():
    script = ROOT / "scripts" / "generate_stubs.py"
    run = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
