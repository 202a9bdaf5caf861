"""Errors of a model server, and what they say to people on the page, in the form, by the client."""

from __future__ import annotations

DAMAGED = "the file is damaged or incomplete"

OF_MODELS = [
    (
        "assertion failed: [it is empty] [Condition x > y] [x = ] [0]\n\t [[{{node A}}]]",
        "it is empty",
    ),
    ("assertion failed: [it is empty: a[0]] [image_bytes[2]]", "it is empty: a[0]"),
    ("assertion failed: [too dark]\n\t [[{{node A}}]]", "too dark"),
    # As TensorFlow writes this text, with a backslash, a line's end and a byte that is none.
    (
        r"assertion failed: [it\'s \"größer\" \\ than\nthat\001 one] [b]",
        'it\'s "größer" \\ than that  one',
    ),
    ("Invalid PNG data, size 200\n\t [[{{node decode}}]]", DAMAGED),
    ("Invalid PNG data, size 200 [[{{node decode}}]]", DAMAGED),
    ("Invalid PNG. Failed to initialize decoder.\n\t [[{{node decode}}]]", DAMAGED),
    ("jpeg::Uncompress failed. Invalid JPEG data or crop window.\n\t [[{{node d}}]]", DAMAGED),
    ("Invalid GIF data (size 9), failed to open gif file: No screen descriptor detected", DAMAGED),
    ("Incomplete bmp content, requires at least 32 bytes to find the header size", DAMAGED),
    ("Input size should match (header_size + row_size * abs_height) but they differ", DAMAGED),
    ("Failed to decode WebP image.", DAMAGED),
]
"""Text of INVALID_ARGUMENT, what it says."""

OF_SERVERS = [
    (
        "This request needs 9.0 MiB of memory, and the server has 8.0 MiB for all requests "
        "together (--max_waiting_bytes). Send less at once, or give the server more memory.",
        "This request needs 9.0 MiB of memory, and the server has 8.0 MiB for all requests "
        "together. Send less at once, or give the server more memory.",
    ),
    ("x must be rank 2\n\t [[{{node x}}]]", "x must be rank 2"),
]
"""The same of texts that the client shows as they are."""
