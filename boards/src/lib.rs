//! What a board is. No I/O: bytes in, data out.
