import uuid

import pytest

from mappers.opcua.addresses import Address, Step, parse_node_id, parse_path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("i=2258", Address(0, 2258)),
        ("ns=2;s=Boiler;Temp=1", Address(2, "Boiler;Temp=1")),
        ("ns=1,i=1005", Address(1, 1005)),
        ("nsu=urn:a,b;s=T", Address("urn:a,b", "T")),
        ("nsu=http://x/y/ ;i=7", Address("http://x/y/", 7)),
        (
            "g=09087e75-8e5e-499b-954f-f2a9603db28a",
            Address(0, uuid.UUID("09087e75-8e5e-499b-954f-f2a9603db28a")),
        ),
        ("ns=3;b=AAE=", Address(3, b"\x00\x01")),
    ],
)
def test_node_ids_in_every_form(text, meant):
    assert parse_node_id(text) == meant
    assert parse_node_id(str(meant)) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Boiler",
        "ns=x;i=1",
        "nsu=;i=1",
        "i=-1",
        "i=4294967296",
        "s=",
        "b=?",
        "g=1",
        "ns=70000;i=1",
    ],
)
def test_what_is_no_node_id(text):
    with pytest.raises(
        ValueError, match=r"no node id|identifier|bits|base64|UUID|invalid|hexadecimal"
    ):
        parse_node_id(text)


def test_an_id_without_a_namespace_has_the_given_one():
    assert parse_node_id("s=T", "urn:x") == Address("urn:x", "T")
    assert parse_node_id("ns=0;i=1", "urn:x") == Address(0, 1)
    assert parse_node_id("s=T", "urn:x").namespaces == {"urn:x"}


def test_browse_paths():
    assert parse_path("2:Plant/A&/B", "urn:x") == Address(
        path=(Step(2, "Plant"), Step("urn:x", "A/B"))
    )
    assert parse_path("/Objects/Plant", 3) == Address(
        path=(Step(0, "Objects"), Step(3, "Plant")), from_root=True
    )
    assert str(parse_path("/Objects/3:P")) == "/0:Objects/3:P"
    for wrong in ("", "/", "a//b"):
        with pytest.raises(ValueError, match="browse path"):
            parse_path(wrong)
