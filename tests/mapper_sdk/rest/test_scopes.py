import pytest

from mapper_sdk.rest.scopes import needed_scope


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/devices", "read"),
        ("HEAD", "/api/v1/devices/default/kettle/properties/setpoint", "read"),
        ("PUT", "/api/v1/devices/default/kettle/properties/setpoint", "write"),
        ("PATCH", "/api/v1/devices/default/kettle/properties", "write"),
        ("POST", "/api/v1/devices/default/kettle/methods/boil", "write"),
        ("POST", "/api/v1/devices/default/kettle/properties/mean/readings", "write"),
        ("GET", "/api/v1/changes", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/api/v1/audit", "admin"),
        ("GET", "/api/v1/audit/", "admin"),
        ("GET", "/api/v1/loglevel", "admin"),
        ("PUT", "/api/v1/loglevel", "admin"),
        ("GET", "/api/v1/devicemethod/default/kettle", "read"),
        ("GET", "/api/v1/devicemethod/default/kettle/set/setpoint/80", "write"),
        ("GET", "/api/v1/devicemethod/default/kettle/set/setpoint/a/b", "write"),
        ("DELETE", "/nothing/of/ours", "write"),
    ],
)
def test_each_request_needs_one_scope(method, path, scope):
    assert needed_scope(method, path) == scope
