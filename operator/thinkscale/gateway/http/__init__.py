"""The gateway's HTTP/1.1 server: framing and limits around httptools, and nothing of its API.

Why not a library's: a request waits for its first byte while this is at work, see ADR 12.
"""
