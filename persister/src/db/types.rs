//! The contract's ids and times as columns.
//!
//! Invariant: these wrappers stay inside database code; what leaves it are the contract's own types.

use bus_schema as contract;
use chrono::{DateTime, Utc};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    serialize::{self, Output, ToSql},
    sql_types::{Timestamptz, Uuid as UuidSql},
};
use uuid::Uuid;

/// An id of the contract.
pub trait Entity: Copy + std::fmt::Debug {
    fn from_uuid(uuid: Uuid) -> Self;
    fn uuid(self) -> Uuid;
}

/// An id in a `uuid` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = UuidSql)]
pub struct Id<T: Entity>(pub T);

impl<T: Entity> FromSql<UuidSql, Pg> for Id<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <Uuid as FromSql<UuidSql, Pg>>::from_sql(value).map(|uuid| Self(T::from_uuid(uuid)))
    }
}

impl<T: Entity> ToSql<UuidSql, Pg> for Id<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Uuid as ToSql<UuidSql, Pg>>::to_sql(&self.0.uuid(), &mut out.reborrow())
    }
}

macro_rules! entities {
    ($($name:ident)*) => {$(
        impl Entity for contract::$name {
            fn from_uuid(uuid: Uuid) -> Self {
                contract::$name::from_uuid(uuid)
            }

            fn uuid(self) -> Uuid {
                contract::$name::uuid(self)
            }
        }

        impl From<Id<contract::$name>> for contract::$name {
            fn from(id: Id<contract::$name>) -> Self {
                id.0
            }
        }
    )*};
}

entities! {
    AccountId ActionTemplateId AgentId AttachmentId ApiTokenId CannedResponseId CommandId ConnectionId ConversationId Epoch EventId GroupId
    IncarnationId SessionId TagId TenantId ThreadId VisitorId WidgetId
}

/// An instant in a `timestamptz` column; the contract's milliseconds are kept exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Timestamptz)]
pub struct At(pub contract::Timestamp);

impl At {
    pub fn chrono(self) -> DateTime<Utc> {
        // Out of range lies 260,000 years away; what a broken clock makes of that is kept as near as can be.
        let far = if self.0.millis() < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp_millis(self.0.millis()).unwrap_or(far)
    }
}

impl From<At> for contract::Timestamp {
    fn from(at: At) -> Self {
        at.0
    }
}

impl FromSql<Timestamptz, Pg> for At {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let time = <DateTime<Utc> as FromSql<Timestamptz, Pg>>::from_sql(value)?;
        Ok(Self(contract::Timestamp::from_millis(time.timestamp_millis())))
    }
}

impl ToSql<Timestamptz, Pg> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <DateTime<Utc> as ToSql<Timestamptz, Pg>>::to_sql(&self.chrono(), &mut out.reborrow())
    }
}
