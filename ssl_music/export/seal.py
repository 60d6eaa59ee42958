"""A checksum at the end of an .onnx file, which is a part of the file's own format.

An ONNX file is a protocol buffer, and of two of them behind each other the lists are joined: so one more entry of
`metadata_props`, written by hand, ends the file, and says what the bytes before it are. Other programs read it as
they read any entry.
"""

import hashlib

KEY = "ssl_music.sha256"


def sealed(content: bytes) -> bytes:
    """`content`, a serialized ModelProto, and the entry with its checksum."""
    return content + _entry(content)


def is_sealed(content: bytes) -> bool:
    """Whether nothing in it has changed since it was sealed.

    >>> is_sealed(sealed(b"model")), is_sealed(sealed(b"model")[:-1]), is_sealed(b"")
    (True, False, False)
    """
    length = len(_entry(b""))
    return len(content) > length and content[-length:] == _entry(content[:-length])


def _entry(content: bytes) -> bytes:
    """StringStringEntryProto {1: key, 2: value} as field 14 of a ModelProto (onnx.proto); lengths below 128."""
    key, value = KEY.encode(), hashlib.sha256(content).hexdigest().encode()
    entry = bytes([1 << 3 | 2, len(key)]) + key + bytes([2 << 3 | 2, len(value)]) + value
    return bytes([14 << 3 | 2, len(entry)]) + entry
