//! Cursors as clients hold them: a position with a MAC over it, in base64url.
//!
//! Invariant: a cursor that opens was made by an edge of this installation, byte for byte.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::cursor::Cursor;

const TAG_BYTES: usize = 16;
/// Longer texts are no cursor of ours: the longest one has 4 people's marks and 16 unread messages.
const TEXT_MAX: usize = 640;
const DOMAIN: &[u8] = b"chatbus cursor v1";

/// Seals and opens cursors; all edges hold the same key.
#[derive(Clone)]
pub struct CursorSeal {
    key: hmac::Key,
}

/// A text that no edge made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this installation")]
pub struct Forged;

impl CursorSeal {
    /// Derives the key from a secret that all edges share.
    pub fn new(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&root, DOMAIN);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    pub fn seal(&self, cursor: &Cursor) -> String {
        let mut bytes = cursor.to_bytes();
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn open(&self, text: &str) -> Result<Cursor, Forged> {
        if text.len() > TEXT_MAX {
            return Err(Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Forged)?;
        let at = bytes.len().checked_sub(TAG_BYTES).ok_or(Forged)?;
        let (body, tag) = bytes.split_at(at);
        let expected = hmac::sign(&self.key, body);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG_BYTES], tag)
            .map_err(|_| Forged)?;
        Cursor::from_bytes(body).map_err(|_| Forged)
    }
}

impl std::fmt::Debug for CursorSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorSeal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{Audience, Author, ConversationId, Epoch};
    use proptest::prelude::*;

    fn cursor(seq: u64) -> Cursor {
        Cursor {
            epoch: Epoch::NIL,
            conversation: ConversationId::NIL,
            principal: Cursor::principal(Author::SYSTEM),
            audience: Audience::All,
            last: [seq, seq, 0, 0, 0],
            tally: None,
        }
    }

    #[test]
    fn only_the_same_secret_opens_it() {
        let seal = CursorSeal::new(b"secret");
        let text = seal.seal(&cursor(4711));
        assert_eq!(CursorSeal::new(b"secret").open(&text), Ok(cursor(4711)));
        assert_eq!(CursorSeal::new(b"other").open(&text), Err(Forged));
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(at in 0_usize..100, flip in 1_u8..255) {
            let seal = CursorSeal::new(b"secret");
            let mut bytes = URL_SAFE_NO_PAD.decode(seal.seal(&cursor(4711))).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_eq!(seal.open(&URL_SAFE_NO_PAD.encode(bytes)), Err(Forged));
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = CursorSeal::new(b"secret").open(&text);
        }
    }
}
