"""The URL of a call: no part of the base URL, the path or the query is lost or changed."""

import base64
import logging
import os
import traceback

import httpx
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from upstreams import Upstream
from upstreams import _urls as module

from .fake_upstream import http_reply, serve
from .helpers import connect

pytestmark = pytest.mark.anyio


async def test_a_path_is_added_to_the_base_url_with_its_parameters_and_headers() -> None:
    async with serve(http_reply(b"")) as served:
        upstream = Upstream("fake", f"{served.base_url}/v1", timeout=20, max_connections=1)
        await upstream.get("/a%2Fb", params={"q": "x y"}, headers={"X-Request-ID": "42"})

    [head] = served.heads
    assert head.startswith("GET /v1/a%2Fb?q=x+y HTTP/1.1\r\n")
    assert "x-request-id: 42\r\n" in head.lower()


@pytest.mark.parametrize(
    ("base", "path", "params", "target"),
    [
        ("", "/items?token=1", {"page": "2"}, "/items?token=1&page=2"),
        ("", "/items?token=1&page=1", {"page": "2"}, "/items?token=1&page=2"),
        ("", "/items?token=1", {}, "/items?token=1"),
        ("", "/items?token=a%20b+c", None, "/items?token=a%20b+c"),
        ("", "?a=1", {"b": "2"}, "/?a=1&b=2"),
        ("", "", {"b": "2"}, "/?b=2"),
        ("/v1?key=1", "/items", None, "/v1/items?key=1"),
        ("/v1/?key=1", "/items", None, "/v1/items?key=1"),
        ("/v1?key=1", "/items?token=2", {"page": "3"}, "/v1/items?key=1&token=2&page=3"),
        ("/v1?key=1", "", None, "/v1?key=1"),
        ("/v1", "/items", {"q": "a&b=c#d"}, "/v1/items?q=a%26b%3Dc%23d"),
        ("/v1", f"/items?long={'x' * 1000}", {"page": "2"}, f"/v1/items?long={'x' * 1000}&page=2"),
    ],
)
async def test_queries_of_base_path_and_parameters_are_joined(
    base: str, path: str, params: dict[str, str] | None, target: str
) -> None:
    async with serve(http_reply(b"")) as served:
        upstream = Upstream("fake", served.base_url + base, timeout=20, max_connections=1)
        await upstream.get(path, params=params)

    assert served.heads[0].split(" ")[1] == target


@pytest.mark.parametrize("path", ["/items#part", "#part", "items", "@other.example/", ":1/"])
async def test_a_path_that_could_change_the_host_or_is_cut_off_is_refused(path: str) -> None:
    upstream = Upstream("raw", "http://raw.invalid", timeout=5, max_connections=1)
    with pytest.raises(ValueError, match="a path begins with '/'"):
        await upstream.get(path)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://user:s3cret@raw.invalid/#part",
        "http://user:s3cret@raw.invalid:port",
        "ftp://user:s3cret@raw.invalid",
        "//user:s3cret@raw.invalid",
        "http://",
        "",
    ],
)
def test_an_invalid_base_url_is_refused_without_being_shown(base_url: str) -> None:
    with pytest.raises(ValueError, match="the base URL of raw must be http") as error:
        Upstream("raw", base_url, timeout=5, max_connections=1)

    assert "s3cret" not in "".join(traceback.format_exception(error.value))


async def test_long_urls_are_not_cached() -> None:
    before = module._known_url.cache_info().currsize  # noqa: SLF001
    upstream = Upstream("fake", "http://fake.invalid", timeout=5, max_connections=1)
    for number in range(10):
        upstream._call("GET", f"/{number}{'x' * 1000}", {})  # noqa: SLF001
        upstream._call("GET", "/", {"params": {"q": f"{number}{'x' * 1000}"}})  # noqa: SLF001

    assert module._known_url.cache_info().currsize == before  # noqa: SLF001


async def test_a_user_in_the_base_url_is_sent_as_basic_authorization() -> None:
    async with serve(http_reply(b"")) as served:
        base_url = served.base_url.replace("http://", "http://us%40er:pass%3Aword@")
        upstream = Upstream("fake", base_url, timeout=20, max_connections=1)
        await upstream.get("/")
        await upstream.get("/", headers={"Authorization": "Bearer a"})

    sent = [line for head in served.heads for line in head.splitlines() if "uthorization" in line]
    pair = base64.b64encode(b"us@er:pass:word").decode()
    assert sent[0] == f"Authorization: Basic {pair}"
    assert [line.lower() for line in sent[1:]] == ["authorization: bearer a"]
    assert all(head.lower().count("host: 127.0.0.1") == 1 for head in served.heads)


@pytest.mark.parametrize(
    ("variables", "logged"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:1"}, True),
        ({"http_proxy": "http://user:s3cret@127.0.0.1:1"}, True),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, False),
        ({"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}, False),
        ({}, False),
    ],
)
async def test_a_proxy_in_the_environment_is_not_used_but_logged(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    logged: object,
) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    async with serve(http_reply(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            assert (await upstream.get("/")).text == "hello"

    assert ("HTTP_PROXY is not used: fake is called directly" in caplog.text) is logged
    assert "s3cret" not in caplog.text


CHARACTERS = st.sampled_from("/abz19._~!$&'()*+,;=:@-%2Ff[]|^`{}\"<> \\ü") | st.characters()


@given(
    address=st.sampled_from(["http://h", "http://h:8000/v1", "https://[::1]:99/a%20b"]),
    path=st.text(CHARACTERS, max_size=12).map("/{}".format),
    params=st.none() | st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
)
@example(address="http://h", path="/prices/AAPL", params=None)
@example(address="http://h/v1", path="/a/../b", params=(("a", "b c"), ("d", ""), ("a", "ü")))
@example(address="http://h", path="//evil.example/", params=None)
def test_a_url_that_is_not_parsed_equals_the_url_that_httpx_parses(
    address: str, path: str, params: tuple[tuple[str, str], ...] | None
) -> None:
    try:
        expected = httpx.URL(address + path).copy_merge_params(params or ())
    except (httpx.InvalidURL, UnicodeEncodeError):  # the latter for half a surrogate pair
        assume(condition=False)
    assume("#" not in path and "?" not in path)

    url = module.call_url(address, b"", path, params)

    assert url == expected
    assert (url.raw_path, url.netloc, url.path) == (
        expected.raw_path,
        expected.netloc,
        expected.path,
    )
