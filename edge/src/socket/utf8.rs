//! UTF-8 that comes in pieces.
//!
//! Invariant: how the text is cut never changes the verdict, and the first byte that no text can go on with is
//! refused at once.

/// Longest beginning of a character that is not one yet.
const PENDING_MAX: usize = 3;
/// Bytes unmasked at a time.
const PIECE: usize = 1024;

/// A text of which pieces have come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8 {
    pending: [u8; PENDING_MAX],
    /// Bytes of `pending` that are there.
    have: usize,
}

impl Utf8 {
    /// Takes the next piece as it is on the wire; `at` is its place in the frame's payload. Says whether it is text.
    pub fn push_masked(&mut self, masked: &[u8], key: [u8; 4], at: u64) -> bool {
        let mut scratch = [0; PENDING_MAX + PIECE];
        // Only the last two bits count.
        let mut turn = at as usize;
        masked.chunks(PIECE).all(|piece| {
            let end = self.have + piece.len();
            scratch[..self.have].copy_from_slice(&self.pending[..self.have]);
            for (n, (out, byte)) in scratch[self.have..end].iter_mut().zip(piece).enumerate() {
                *out = byte ^ key[(turn.wrapping_add(n)) & 3];
            }
            turn = turn.wrapping_add(piece.len());
            self.take(&scratch[..end])
        })
    }

    /// Whether the text may end here.
    pub const fn is_whole(&self) -> bool {
        self.have == 0
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        self.have = 0;
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let rest = &bytes[error.valid_up_to()..];
                self.pending[..rest.len()].copy_from_slice(rest);
                self.have = rest.len();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn verdict(bytes: &[u8], cut: usize) -> bool {
        let masked: Vec<u8> = bytes.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let mut text = Utf8::default();
        let mut at = 0;
        let text_so_far = masked.chunks(cut).all(|piece| {
            let good = text.push_masked(piece, KEY, at);
            at += piece.len() as u64;
            good
        });
        text_so_far && text.is_whole()
    }

    #[test]
    fn the_first_byte_that_cannot_go_on_is_refused() {
        for (bytes, good) in [
            (&b"\xf4"[..], true),
            (b"\xf4\x90", false),
            (b"\xed", true),
            (b"\xed\xa0", false),
            (b"\xf0\x90\x80", true),
            (b"\xc0", false),
            (b"a\x80", false),
        ] {
            let masked: Vec<u8> = bytes.iter().zip(KEY).map(|(byte, key)| byte ^ key).collect();
            let mut text = Utf8::default();
            assert_eq!(text.push_masked(&masked, KEY, 0), good, "{bytes:x?}");
            assert!(!good || !text.is_whole());
        }
    }

    proptest! {
        #[test]
        fn the_cut_never_changes_the_verdict(text: String, more: Vec<u8>, cut in 1_usize..70) {
            for bytes in [text.clone().into_bytes(), more.clone(), [text.as_bytes(), &more].concat()] {
                prop_assert_eq!(verdict(&bytes, cut), std::str::from_utf8(&bytes).is_ok());
            }
        }

        #[test]
        fn long_texts_are_whole_over_pieces(text in "[aäß€𐍈]{1000,1200}", cut in 900_usize..3_000) {
            prop_assert!(verdict(text.as_bytes(), cut));
        }
    }
}
