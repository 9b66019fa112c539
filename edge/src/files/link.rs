//! Links to files: who holds one may fetch the file until it ends, and needs nothing else.
//!
//! Invariant: a link that counts was made by an edge of this installation for exactly this file and end.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{ErrorBody, ErrorCode, Timestamp, file::FileKey};

/// Makes and checks links; all edges hold the same key.
#[derive(Clone)]
pub struct Links {
    key: hmac::Key,
    base: String,
}

impl Links {
    /// `ws_url`: the address of the socket, beside which the files are.
    pub fn new(secret: &[u8], ws_url: &str) -> Self {
        let http = ws_url.replacen("ws", "http", 1);
        let base = http.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let base = base.strip_suffix("/v1/ws").unwrap_or(base).to_owned();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), base }
    }

    /// A link that counts until `until`.
    pub fn make(&self, file: FileKey, until: Timestamp) -> String {
        let (base, FileKey { tenant, attachment }) = (&self.base, file);
        let expires = until.millis();
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &said(file, expires)));
        format!("{base}/v1/attachments/{attachment}?tenant={tenant}&expires={expires}&signature={signature}")
    }

    /// The file that a link names, given its last segment and its parameters.
    pub fn open(
        &self,
        attachment: &str,
        query: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<FileKey, ErrorBody> {
        let missing = || ErrorBody::new(ErrorCode::Forbidden, "get_attachment makes links to files");
        let of = |name: &str| query.get(name).ok_or_else(missing);
        let tenant = of("tenant")?.parse().map_err(|_| missing())?;
        let expires = of("expires")?.parse().map_err(|_| missing())?;
        let attachment = attachment.parse().map_err(|_| ErrorCode::NotFound)?;
        let file = FileKey { tenant, attachment };
        self.check(file, expires, of("signature")?, now)?;
        Ok(file)
    }

    fn check(&self, file: FileKey, expires: i64, signature: &str, now: Timestamp) -> Result<(), ErrorBody> {
        let forged = || ErrorBody::new(ErrorCode::Forbidden, "this is no link of this installation");
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| forged())?;
        hmac::verify(&self.key, &said(file, expires), &signature).map_err(|_| forged())?;
        if now.millis() >= expires {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "the link has expired: ask for another"));
        }
        Ok(())
    }
}

/// What is signed: fixed lengths, so that no two links say the same.
fn said(file: FileKey, expires: i64) -> Vec<u8> {
    let mut bytes = file.tenant.uuid().as_bytes().to_vec();
    bytes.extend_from_slice(file.attachment.uuid().as_bytes());
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Links({})", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{AttachmentId, TenantId};

    #[test]
    fn a_link_counts_for_its_file_until_its_end() {
        let links = Links::new(b"secret", "wss://chat.example/v1/ws");
        let file = FileKey { tenant: TenantId::NIL, attachment: AttachmentId::NIL };
        let until = Timestamp::from_millis(1_000);
        let link = links.make(file, until);
        let begin = format!("https://chat.example/v1/attachments/{}?tenant=", AttachmentId::NIL);
        assert!(link.starts_with(&begin), "{link}");
        let signature = link.rsplit('=').next().unwrap();
        let at = |ms| Timestamp::from_millis(ms);
        assert_eq!(links.check(file, 1_000, signature, at(999)), Ok(()));
        assert!(links.check(file, 1_000, signature, at(1_000)).is_err());
        assert!(links.check(file, 9_000, signature, at(999)).is_err());
        let other = FileKey { attachment: AttachmentId::from_uuid(uuid::Uuid::from_u128(1)), ..file };
        assert!(links.check(other, 1_000, signature, at(999)).is_err());
        assert!(Links::new(b"other", "ws://x/v1/ws").check(file, 1_000, signature, at(999)).is_err());
        for mangled in ["", "x", &signature[1..]] {
            assert!(links.check(file, 1_000, mangled, at(999)).is_err());
        }
    }
}
