//! Conversations that an agent has or takes part in.
//!
//! Invariant: finding them looks at open conversations alone, and only at those that somebody has or has joined;
//! the closed are nobody's.

use bus_schema::{AgentId, TenantId};
use diesel::{
    BoxableExpression,
    dsl::sql,
    pg::Pg,
    sql_types::{Bool, Uuid as UuidSql},
};
use persister::db::schema::chat::conversations;

pub type Condition = Box<dyn BoxableExpression<conversations::table, Pg, SqlType = Bool>>;

/// The ids, as an array: gathered first, because Postgres cannot tell how few they are. Behind row-level security no
/// index may be used with `@>`, so that conversations with others than their assignee have an index of their own.
macro_rules! mine_of {
    ($use:ident) => {
        $use!(
            "ARRAY(SELECT h.id FROM chat.conversations h WHERE h.tenant_id = ",
            " AND h.assignee_id = ",
            " UNION ALL SELECT j.id FROM chat.conversations j WHERE j.participants <> '{}'
                AND j.participants <> ARRAY[j.assignee_id] AND j.tenant_id = ",
            " AND j.participants @> ARRAY[",
            "])"
        )
    };
}

/// As part of a statement whose `$1` is the tenant and whose `$2` the agent.
macro_rules! numbered {
    ($one:literal, $two:literal, $three:literal, $four:literal, $five:literal) => {
        concat!($one, "$1", $two, "$2", $three, "$1", $four, "$2", $five)
    };
}

/// What is unread by `$2` in `$1`: said by others above one's own read mark, in the open threads one takes part in.
pub const UNREAD: &str = concat!(
    "SELECT count(*) AS unread, count(DISTINCT c.id) AS conversations FROM chat.conversations c
    JOIN chat.messages m ON m.tenant_id = c.tenant_id AND m.conversation_id = c.id AND m.thread_id = c.thread_id
    LEFT JOIN chat.marks k ON k.tenant_id = c.tenant_id AND k.conversation_id = c.id
        AND k.author_type = 'agent' AND k.author_id = $2
    WHERE c.tenant_id = $1 AND c.status <> 'closed' AND c.id = ANY (",
    mine_of!(numbered),
    ") AND m.kind IN ('message', 'rich_message', 'file', 'form')
        AND NOT (m.author_type = 'agent' AND m.author_id = $2) AND m.seq > coalesce(k.read_seq, 0)"
);

/// Whether `agent` has the conversation or takes part in it.
pub fn mine(tenant: TenantId, agent: AgentId) -> Condition {
    let (tenant, agent) = (tenant.uuid(), agent.uuid());
    macro_rules! bound {
        ($one:literal, $two:literal, $three:literal, $four:literal, $five:literal) => {
            sql::<Bool>(concat!("chat.conversations.id = ANY (", $one))
                .bind::<UuidSql, _>(tenant)
                .sql($two)
                .bind::<UuidSql, _>(agent)
                .sql($three)
                .bind::<UuidSql, _>(tenant)
                .sql($four)
                .bind::<UuidSql, _>(agent)
                .sql(concat!($five, ")"))
        };
    }
    Box::new(mine_of!(bound))
}
