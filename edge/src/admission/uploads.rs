//! What people upload: how often, how many at once, and how many bytes of a tenant.

use std::sync::Arc;

use bus_schema::{Author, ErrorBody, ErrorCode, TenantId};
use ops::settings::{Settings, names};

use super::{
    Admission, Overloaded,
    bucket::Rate,
    counted::{Bounds, Counted, Full, Pass},
    limiter::Limiter,
};
use crate::metrics::{Limit, Measures};

type Person = (TenantId, Author);

#[derive(Debug)]
pub struct Uploads {
    of_person: Limiter<Person>,
    bytes: Limiter<TenantId>,
    open: Arc<Counted<Person>>,
}

impl Uploads {
    pub fn new(settings: &Settings, measures: &Arc<Measures>) -> Self {
        let rate = |name| Rate::per_minute(settings.limit(name));
        Self {
            of_person: Limiter::new(
                rate(names::LIMIT_UPLOADS_PER_MINUTE_PER_PERSON),
                Limit::PersonUploads,
                measures.clone(),
            ),
            bytes: Limiter::new(
                rate(names::LIMIT_FILE_BYTES_PER_MINUTE_PER_TENANT),
                Limit::TenantFileBytes,
                measures.clone(),
            ),
            open: Counted::new(Bounds {
                all: settings.limit(names::LIMIT_UPLOADS_AT_ONCE),
                each: settings.limit(names::LIMIT_UPLOADS_AT_ONCE_PER_PERSON),
            }),
        }
    }
}

impl Admission {
    /// Somebody wants to upload at most so many bytes; it counts as under way until the pass is dropped.
    pub fn upload(&self, person: Person, bytes: u64) -> Result<Pass<Person>, ErrorBody> {
        let pass = self.uploads.open.enter(Some(person)).map_err(|full| {
            let (limit, code) = match full {
                Full::All => (Limit::Uploads, ErrorCode::Unavailable),
                Full::Each => (Limit::PersonUploadsAtOnce, ErrorCode::RateLimited),
            };
            self.measures.limited(limit);
            ErrorBody::from(code).after(Overloaded::soon().after)
        })?;
        self.uploads.of_person.take(person)?;
        self.uploads.bytes.take_share(person.0, bytes as f64, self.tenants.share.edges())?;
        Ok(pass)
    }
}
