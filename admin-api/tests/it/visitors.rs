//! The list of visitors: what an agent sees of it, however much that is.

use reqwest::Method;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::world::{Person, World};

/// `$1` tenant, `$2` common group, `$3` rare group, `$4` and `$5` agents, `$6` how many. Three are seen in the same minute,
/// some have no conversation yet, and some were forgotten. What is rare is the oldest, but for one.
const SEED: &str = "WITH made AS (
        SELECT n, md5($1 || 'c' || n)::uuid AS id, md5($1 || 'v' || n)::uuid AS visitor,
            CASE WHEN n <= 4 OR n = 590 THEN $3::uuid WHEN n % 3 = 0 THEN $2::uuid END AS of_group,
            CASE WHEN n = 11 THEN $4::uuid WHEN n = 401 THEN $5::uuid END AS held,
            '2026-01-01T00:00:00Z'::timestamptz + n / 3 * interval '1 minute' AS at
        FROM generate_series(1, $6::bigint) n),
    c AS (INSERT INTO chat.conversations (tenant_id, id, visitor_id, created_at, thread_id, status, group_id,
            assignee_id, participants, life_seq, last_at, last_seq)
        SELECT $1::text::uuid, id, visitor, at, id, CASE WHEN held IS NULL THEN 'closed' ELSE 'active' END, of_group,
            held, CASE WHEN n = 401 THEN ARRAY[held, $4::uuid] WHEN held IS NULL THEN '{}' ELSE ARRAY[held] END, n, at, n
        FROM made WHERE n % 7 <> 5)
    INSERT INTO chat.visitors (tenant_id, id, conversation_id, custom, verified, banned, erased_at, first_seen_at,
            last_seen_at, seq)
        SELECT $1::text::uuid, visitor, id, '{}', false, false, CASE WHEN n % 10 = 3 THEN at END, at, at, n FROM made";
const VISITORS: i64 = 600;

/// Whom an agent sees, as the words of the contract have it.
const SEEN: &str = "SELECT v.id::text FROM chat.visitors v
    JOIN chat.conversations c ON c.tenant_id = v.tenant_id AND c.id = v.conversation_id
    WHERE v.tenant_id = $1 AND v.erased_at IS NULL AND (c.assignee_id = $2 OR $2 = ANY (c.participants) OR c.group_id IN (
        SELECT m.group_id FROM config.group_members m WHERE m.tenant_id = $1 AND m.agent_id = $2))
    ORDER BY v.last_seen_at DESC, v.id DESC";

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

async fn seen(sql: &Client, who: &Person) -> Vec<String> {
    let rows = sql.query(SEEN, &[&uuid(&who.tenant), &uuid(&who.id)]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// All pages, one after the other.
async fn shown(world: &World, who: &Person, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(who, &format!("/v1/visitors?limit={limit}{cursor}")).await.is(200).body;
        let data = page["data"].as_array().unwrap();
        all.extend(data.iter().map(|visitor| visitor["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return all };
        assert_eq!(data.len(), limit, "{} by {limit}: a page that is not the last is full", who.email);
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_page_through_the_visitors_whom_they_see_whether_many_few_or_none() {
    let world = World::alone().await;
    let sql = world.postgres().await;
    let [ann, mallory] = [world.register("acme").await, world.register("mallory").await];
    let many = world.agent(&ann, "many", "agent").await;
    let few = world.agent(&ann, "few", "agent").await;
    let own = world.agent(&ann, "own", "agent").await;
    let none = world.agent(&ann, "none", "agent").await;
    let mut groups = Vec::new();
    for (name, member) in [("Common", &many), ("Rare", &few)] {
        let group = world.post(&ann, "/v1/groups", json!({ "name": name })).await.is(201).id();
        let path = format!("/v1/groups/{group}/members/{}", member.id);
        world.call(Method::PUT, &ann, &path, json!({})).await.is(200);
        groups.push(uuid(&group));
    }
    // The other tenant's are told apart by the tenant alone.
    for tenant in [&ann.tenant, &mallory.tenant] {
        sql.execute(SEED, &[tenant, &groups[0], &groups[1], &uuid(&own.id), &uuid(&many.id), &VISITORS])
            .await
            .unwrap();
    }
    for (who, there) in [(&many, 155), (&few, 4), (&own, 2), (&none, 0)] {
        let wanted = seen(&sql, who).await;
        assert_eq!(wanted.len(), there, "{}", who.email);
        for limit in [1, 2, 7, 200] {
            assert_eq!(shown(&world, who, limit).await, wanted, "{} by {limit}", who.email);
        }
    }
    let known = "SELECT count(*) FROM chat.visitors WHERE tenant_id = $1 AND erased_at IS NULL";
    let known: i64 = sql.query_one(known, &[&uuid(&ann.tenant)]).await.unwrap().get(0);
    assert_eq!(i64::try_from(shown(&world, &ann, 200).await.len()), Ok(known));
}
