//! Headers of a message that came, read where they lie: no map, no copies.

/// A header block as it came.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(pub &'a [u8]);

impl<'a> Headers<'a> {
    /// Names and values in their order; what is no such line is left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        std::str::from_utf8(self.0)
            .unwrap_or("")
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':').map(|(name, value)| (name, value.trim_ascii())))
    }
}

/// The status that a server answers with instead of a message.
pub fn status(headers: Headers<'_>) -> Option<u16> {
    let line = headers.0.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"NATS/1.0")?;
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_status_are_read() {
        let block = Headers(b"NATS/1.0\r\nNats-Sequence: 7\r\nX:a:b\r\nnonsense\r\n\r\n");
        assert_eq!(block.iter().collect::<Vec<_>>(), [("Nats-Sequence", "7"), ("X", "a:b")]);
        assert_eq!(status(block), None);
        assert_eq!(status(Headers(b"NATS/1.0 503\r\n\r\n")), Some(503));
        assert_eq!(status(Headers(b"NATS/1.0 404 No Messages\r\n\r\n")), Some(404));
        assert_eq!(status(Headers(b"")), None);
    }
}
