"""One request is one request: whatever could be read in two ways is refused, and that is all."""

import pytest

pytestmark = pytest.mark.asyncio

HOST = b"Host: localhost\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n"
END = b"\r\n"

HEADS = {
    "both lengths": HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, turned": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "two codings": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two hosts": HOST + HOST + END,
    "no host": b"Accept: */*\r\n\r\n",
    "blank before the colon": HOST + b"X-A : b\r\n\r\n",
    "coding with a blank before the colon": HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "CR in a value": HOST + b"X-A: b\rc\r\n\r\n",
    "LF in a value": HOST + b"X-A: b\nX-B: c\r\n\r\n",
    "LF in front of a length": HOST + b"X-A: b\nContent-Length: 5\r\n\r\n",
    "NUL in a value": HOST + b"X-A: b\x00c\r\n\r\n",
    "control in a value": HOST + b"X-A: b\x01c\r\n\r\n",
    "control in a name": HOST + b"X\x01A: b\r\n\r\n",
    "folded": HOST + b"X-A: b\r\n c\r\n\r\n",
    "folded at once": b" X-A: b\r\n" + HOST + END,
    "no name": HOST + b": b\r\n\r\n",
    "no colon": HOST + b"X-A\r\n\r\n",
    "bare LF lines": b"Host: localhost\n\n",
}
LENGTHS = [b"+1", b"-1", b"1_0", b"0x1", b"1,1", b"1 1", b"", b" ", b"1" * 13, b"9" * 30, b"1;",
           b"\xd9\xa1", b"1e0", b"1.0"]  # fmt: skip
CODINGS = [b"chunked, chunked", b"gzip, chunked", b"identity, chunked", b"identity", b"gzip",
           b"xchunked", b"chunked,", b"\x0bchunked", b"CHUNKED", b"", b"chunked;q=1"]  # fmt: skip
CHUNKS = [b"f" * 17, b"+1", b"0x1", b"1 ", b" 1", b"-1", b"", b"1_", b"1\n", b"g", b"1;a\nb"]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(door, head):
    start = f"POST {door.post} HTTP/1.1\r\n".encode()
    assert await door.statuses(start + head + door.smuggled) == [400]
    assert door.done == []


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_length_is_some_digits(door, length):
    start = f"POST {door.post} HTTP/1.1\r\n".encode() + HOST
    head = b"Content-Length: " + length + b"\r\n\r\na"
    assert await door.statuses(start + head + door.smuggled) == [400]
    assert door.done == []


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_coding_is_chunked_and_nothing_else(door, coding):
    start = f"POST {door.post} HTTP/1.1\r\n".encode() + HOST
    head = b"Transfer-Encoding: " + coding + b"\r\n\r\n1\r\na\r\n0\r\n\r\n"
    assert await door.statuses(start + head + door.smuggled) == [400]
    assert door.done == []


async def test_chunks_are_of_http_1_1(door):
    start = f"POST {door.post} HTTP/1.0\r\nConnection: keep-alive\r\n".encode()
    assert await door.statuses(start + CHUNKED + b"\r\n0\r\n\r\n" + door.smuggled) == [400]
    assert door.done == []


@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("late", [False, True])
async def test_the_size_of_a_chunk_is_hexadecimal(door, caplog, size, late):
    head = f"POST {door.post} HTTP/1.1\r\n".encode() + CHUNKED + END
    body = size + b"\r\na\r\n0\r\n\r\n" + door.smuggled
    assert await door.statuses(*([head, body] if late else [head + body])) == [400]
    assert door.done in ([], [("error", "Runtime.TruncatedResponse")])
    assert caplog.records == [], "nobody writes our log from outside"


@pytest.mark.parametrize(
    "chunk", [b"1;" + b"a" * 1_000_000, b"0" * 1_000_000 + b"1"], ids=["extension", "zeros"]
)
async def test_a_chunk_does_not_cost_more_than_it_holds(door, chunk):
    head = f"POST {door.post} HTTP/1.1\r\n".encode() + CHUNKED + END
    assert await door.statuses(head, chunk + b"\r\na\r\n0\r\n\r\n") == [400]
    assert not any(what[0] == "answer" for what in door.done)


@pytest.mark.parametrize("door", ["runtime_api"], indirect=True)
async def test_an_init_error_that_is_none_is_not_told(door):
    head = b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\n" + CHUNKED + END
    assert await door.statuses(head, b"zz\r\n") == [400]
    assert door.done == []


async def test_chunks_of_a_byte_are_a_body_like_any_other(door):
    head = f"POST {door.post} HTTP/1.1\r\n".encode() + CHUNKED + b"Connection: close\r\n\r\n"
    body = b"1\r\n1\r\n" * 30_000 + b"0\r\n\r\n"
    assert await door.statuses(head, body) in ([200], [202])
    assert door.done == [("answer", b"1" * 30_000)]


@pytest.mark.parametrize("size", [b"-6", b"+6", b"0x6", b"6_0"])
async def test_a_size_that_the_parser_has_not_come_to_yet_is_hexadecimal_too(door, size):
    head = f"POST {door.post} HTTP/1.1\r\nTrailer: x\r\n".encode() + CHUNKED + END
    body = b"1\r\n1\r\n" * 20_000 + size + b"\r\n" + b"1\r\n1\r\n" * 20 + b"0\r\n\r\n"
    assert await door.statuses(head, body) == [400]
    assert not any(what[0] == "answer" for what in door.done)


async def test_a_compressed_body_is_bytes_like_any_other(door):
    head = f"POST {door.post} HTTP/1.1\r\nContent-Encoding: gzip\r\n".encode() + HOST
    rest = b"Connection: close\r\nContent-Length: 2\r\n\r\n12"
    assert await door.statuses(head + rest) in ([200], [202])
    assert door.done == [("answer", b"12")]


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"CONNECT localhost:1 HTTP/1.1", 405),
        (b"CONNECT /a HTTP/1.1", 405),
        (b"TRACE /a HTTP/1.1", 405),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /a\x01 HTTP/1.1", 400),
        (b"GET /a\xff HTTP/1.1", 400),
        (b"GET /a", 400),
        (b"GET /a HTTP/2.0", 400),
        (b"GET /a HTTP/1.2", 400),
        (b"get /a HTTP/1.1", 400),
        (b"GET\t/a HTTP/1.1", 400),
        (b"GET /" + b"a" * 8_200 + b" HTTP/1.1", 414),
    ],
)
async def test_a_request_line_is_of_one_form(door, start, status):
    assert await door.statuses(start + b"\r\n" + HOST + END + door.smuggled) == [status]
    assert door.done == []


@pytest.mark.parametrize("parts", [1, 50])
@pytest.mark.parametrize("headers", ["many", "large"])
async def test_a_head_has_an_end(door, headers, parts):
    line = {
        "many": b"".join(b"A%d: a\r\n" % number for number in range(101)),
        "large": b"".join(b"A%d: %s\r\n" % (n, b"a" * 8_000) for n in range(9)),
    }[headers]
    if door.name == "runtime_api" and headers == "large":
        line = b"A: " + b"a" * 1_000_000 + b"\r\nB: " + b"b" * 200_000 + b"\r\n"
    whole = b"GET /a HTTP/1.1\r\n" + HOST + line + END
    size = -(-len(whole) // parts)
    sent = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert await door.statuses(*sent, door.smuggled) == [431]
    assert door.done == []


async def test_what_follows_an_upgrade_is_not_read(door):
    start = f"POST {door.post} HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n".encode()
    head = start + HOST + b"Content-Length: 1\r\n\r\n1"
    assert await door.statuses(head + door.smuggled) in ([200], [202])
    assert door.done == [("answer", b"1")]


async def test_rubbish_is_answered_once(door):
    rubbish = [b"\x00" * 100, b"\xff\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n"]
    assert await door.statuses(*rubbish) == [400]
