import pytest
from starlette.requests import Request

from dmi.errors import MalformedError, TooLargeError
from dmi.rest.body import read_body, read_json


def request(*parts, told=None):
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    headers = [] if told is None else [(b"content-length", told)]

    async def receive():
        return messages.pop(0)

    return Request({"type": "http", "headers": headers}, receive)


async def test_the_parts_of_a_body_are_put_together():
    assert await read_body(request(b"ab", b"cd"), 4) == b"abcd"
    assert await read_json(request(b'{"a":', b" 1}"), 100) == {"a": 1}


async def test_a_body_that_is_too_long_is_refused_by_what_it_says_and_by_what_it_is():
    for one in (request(b"abc", told=b"1000"), request(b"ab", b"cd", b"e", told=b"2")):
        with pytest.raises(TooLargeError, match="longer than 4 bytes"):
            await read_body(one, 4)


@pytest.mark.parametrize("body", [b"", b"value=5", b"[1]", b"\xff"])
async def test_anything_but_a_json_object_is_malformed(body):
    with pytest.raises(MalformedError):
        await read_json(request(body), 100)
