//! The watermark, moved only by who knows where it stands.

use super::prelude::*;

row! {
    /// The first position of a shard.
    StartRow by StartWatermark {
        shard: Integer = i32,
        epoch: UuidSql = Id<Epoch>,
        seq: BigInt = i64,
        subject: Text = String,
        at: Timestamptz = At,
        id: Nullable<UuidSql> = Option<Id<EventId>>,
    } insert "watermark", "ON CONFLICT DO NOTHING"
}

row! {
    /// From `expected` on: changes nothing if somebody else moved it.
    MoveRow by MoveWatermark {
        shard: Integer = i32,
        epoch: UuidSql = Id<Epoch>,
        expected: BigInt = i64,
        seq: BigInt = i64,
        subject: Text = String,
        at: Timestamptz = At,
        id: Nullable<UuidSql> = Option<Id<EventId>>,
    } update
        "UPDATE watermark w SET seq = r.seq, subject = r.subject, at = r.at, id = r.id FROM",
        "WHERE w.shard = r.shard AND w.epoch = r.epoch AND w.seq = r.expected"
}
