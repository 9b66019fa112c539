//! `tenant-walls` in Postgres: what each role can see and do, over every table there is.

use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use ops::testing::{Database, Postgres};
use persister::db::{Options, connect, migrations, roles};

use crate::{
    filling::{self, Table, uuid},
    world::rows,
};

/// Two tenants, and what in the tables below belongs to each: every id and every number in a row is theirs.
const TENANTS: [u32; 2] = [1, 2];

struct Filled {
    database: Database<'static>,
    tables: Vec<Table>,
}

/// A database with one row of each of two tenants in every table.
async fn filled() -> Filled {
    let migrate = async |url: String| drop(migrations::run(&url).await.unwrap());
    let database = Postgres::shared().await.database_from("persister_template", migrate).await;
    let mut sql = owner(&database).await;
    let tables = filling::tables(&mut sql).await;
    let rows: Vec<String> = tables.iter().flat_map(|table| TENANTS.map(|n| table.insert(n))).collect();
    filling::run(&mut sql, &rows).await;
    Filled { database, tables }
}

async fn owner(database: &Database<'static>) -> AsyncPgConnection {
    connect(&database.url(), &Options::new("test")).await.unwrap()
}

async fn working_as(database: &Database<'static>, role: &'static str) -> AsyncPgConnection {
    connect(&database.url(), &Options::new("test").working_as(role)).await.unwrap()
}

async fn may(sql: &mut AsyncPgConnection, role: &str, table: &str, what: &str) -> bool {
    rows(sql, &format!("SELECT has_table_privilege('{role}', '{table}', '{what}')::text AS row")).await[0]
        == "true"
}

async fn count(sql: &mut AsyncPgConnection, table: &str) -> String {
    rows(sql, &format!("SELECT count(*)::text AS row FROM {table}")).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_walls_without_a_tenant_raw_sql_sees_nothing_and_with_one_only_its_own() {
    let filled = filled().await;
    let mut owner = owner(&filled.database).await;
    let mut sql = working_as(&filled.database, roles::TENANT).await;
    let mut seen = 0;
    for table in &filled.tables {
        let is_of_tenants = table.is_of_tenants();
        let table = &table.name;
        assert_eq!(count(&mut owner, table).await, "2", "{table}");
        if !may(&mut owner, roles::TENANT, table, "SELECT").await {
            assert!(diesel::sql_query(format!("TABLE {table}")).execute(&mut sql).await.is_err(), "{table}");
            continue;
        }
        seen += 1;
        assert_eq!(count(&mut sql, table).await, "0", "{table} without a tenant");
        for n in TENANTS {
            let tenant = uuid(n).parse().unwrap();
            sql.batch_execute(&roles::begin_within(tenant, true)).await.unwrap();
            assert_eq!(count(&mut sql, table).await, "1", "{table} of a tenant");
            if is_of_tenants {
                let own = format!("SELECT tenant_id::text AS row FROM {table}");
                assert_eq!(rows(&mut sql, &own).await, [uuid(n)], "{table}");
            }
            sql.batch_execute("ROLLBACK").await.unwrap();
        }
        assert_eq!(count(&mut sql, table).await, "0", "{table} once the transaction is over");
    }
    assert!(seen > 20, "{seen}");
}

/// What runs with others' rights reads their tables, whatever temporary ones of the same names the caller made.
#[tokio::test(flavor = "multi_thread")]
async fn tenant_walls_functions_read_no_temporary_tables() {
    let filled = filled().await;
    let mut sql = working_as(&filled.database, roles::TENANT).await;
    let begin = roles::begin_within(uuid(1).parse().unwrap(), true);
    let asked = [
        "SELECT seq::text AS row FROM chat.found('1', 1, 100, 10, NULL, '{}')",
        "SELECT seq::text AS row FROM chat.found('1', 100, 10, NULL, '{}')",
        "SELECT seq::text AS row FROM chat.found_by_index('1', 100, 10)",
        "SELECT chat.share_lately('1')::text AS row",
        "SELECT i::text AS row FROM generate_series(1, 9) n, LATERAL
           chat.said_in('1', ARRAY[format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid]) i",
        "SELECT i::text AS row FROM chat.said_in('1', '{}', 1) i",
        "SELECT chat.is_common('1')::text AS row",
    ];
    let own = [&["1"][..], &["1"], &["1"], &["1"], &[&uuid(1)], &[&uuid(1)], &["false"]];
    let answers = async |sql: &mut AsyncPgConnection| {
        sql.batch_execute(&begin).await.unwrap();
        let mut all = Vec::new();
        for query in asked {
            all.push(rows(sql, query).await);
        }
        sql.batch_execute("ROLLBACK").await.unwrap();
        all
    };
    assert_eq!(answers(&mut sql).await, own, "what is in the tables");
    for table in ["messages", "conversations"] {
        let like = format!("CREATE TEMPORARY TABLE {table} (LIKE chat.{table} INCLUDING GENERATED)");
        sql.batch_execute(&like).await.unwrap();
        sql.batch_execute(&format!("GRANT ALL ON {table} TO PUBLIC")).await.unwrap();
        let like = filled.tables.iter().find(|like| like.name == format!("chat.{table}")).unwrap();
        let into =
            like.insert(TENANTS[0]).replace(&format!("INTO chat.{table}"), &format!("INTO pg_temp.{table}"));
        // More than enough for a word to be common.
        sql.batch_execute(&vec![into; 6].join("; ")).await.unwrap();
    }
    // They stand where they are in the table: what is behind the comma of (0,n).
    sql.batch_execute("UPDATE messages SET seq = 10 + (ctid::text::point)[1]").await.unwrap();
    assert_eq!(rows(&mut sql, "SELECT count(*)::text AS row FROM messages WHERE words @@ '1'").await, ["6"]);
    assert_eq!(answers(&mut sql).await, own, "and nothing of what was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_walls_nobody_writes_into_another_tenant() {
    let filled = filled().await;
    let mut owner = owner(&filled.database).await;
    let mut sql = working_as(&filled.database, roles::TENANT).await;
    let begin = roles::begin_within(uuid(1).parse().unwrap(), false);
    for table in filled.tables.iter().filter(|table| table.is_of_tenants()) {
        let (table, theirs) = (&table.name, table.insert(TENANTS[1]));
        for (what, statement) in
            [("INSERT", theirs), ("UPDATE", format!("UPDATE {table} SET tenant_id = '{}'", uuid(2)))]
        {
            sql.batch_execute(&begin).await.unwrap();
            let error = sql.batch_execute(&statement).await.unwrap_err().to_string();
            sql.batch_execute("ROLLBACK").await.unwrap();
            let wall = match may(&mut owner, roles::TENANT, table, what).await {
                true => "violates row-level security policy",
                false => "permission denied",
            };
            assert!(error.contains(wall), "{what} {table}: {error}");
        }
        if may(&mut owner, roles::TENANT, table, "DELETE").await {
            sql.batch_execute(&begin).await.unwrap();
            let theirs = format!("DELETE FROM {table} WHERE tenant_id = '{}'", uuid(2));
            assert_eq!(diesel::sql_query(theirs).execute(&mut sql).await.unwrap(), 0, "{table}");
            sql.batch_execute("ROLLBACK").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_its_service_does_and_no_more() {
    let filled = filled().await;
    let mut sql = owner(&filled.database).await;
    let open = "SELECT c.oid::regclass::text AS row FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('chat', 'config') AND c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations'
           AND NOT (c.relrowsecurity AND c.relforcerowsecurity)";
    assert_eq!(rows(&mut sql, open).await, Vec::<String>::new(), "call wall_in('…') where the table is made");
    let strong = format!(
        "SELECT rolname::text AS row FROM pg_roles WHERE rolname IN ('{}') AND (rolsuper OR rolbypassrls OR rolcanlogin)",
        roles::ALL.join("', '"),
    );
    assert_eq!(rows(&mut sql, &strong).await, Vec::<String>::new());
    for Table { name: table, .. } in &filled.tables {
        let chat = table.starts_with("chat.");
        let read_by_system = ["chat.watermark", "chat.parked"].contains(&table.as_str());
        for what in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let persister = may(&mut sql, roles::PERSISTER, table, what).await;
            let kept = match table.as_str() {
                "chat.watermark" => what == "DELETE",
                "chat.parked" => what == "DELETE" || what == "UPDATE",
                _ => false,
            };
            assert_eq!(persister, chat && !kept, "persister: {what} {table}");
            let system = may(&mut sql, roles::SYSTEM, table, what).await;
            let done = table == "config.audit_log" && (what == "UPDATE" || what == "DELETE");
            let expected = if chat { read_by_system && what == "SELECT" } else { !done };
            assert_eq!(system, expected, "system: {what} {table}");
            if chat && what != "SELECT" {
                assert!(!may(&mut sql, roles::TENANT, table, what).await, "tenant: {what} {table}");
            }
        }
    }
    // The persister writes what is of many tenants.
    let mut sql = working_as(&filled.database, roles::PERSISTER).await;
    assert_eq!(count(&mut sql, "chat.events").await, "2");
    let mut sql = working_as(&filled.database, roles::SYSTEM).await;
    assert_eq!(count(&mut sql, "config.agents").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_is_no_superuser_migrates_and_services_work_as_its_roles() {
    let server = Postgres::shared().await;
    let database = server.database().await;
    let mut root = owner(&database).await;
    let name = rows(&mut root, "SELECT current_database()::text AS row").await.remove(0);
    let me = rows(&mut root, "SELECT current_user::text AS row").await.remove(0);
    root.batch_execute(&format!(
        "CREATE ROLE installer LOGIN CREATEROLE; ALTER DATABASE {name} OWNER TO installer;"
    ))
    .await
    .unwrap();
    // Made by somebody else before, as on a server with several installations.
    for role in roles::ALL {
        let there = format!("SELECT count(*)::text AS row FROM pg_roles WHERE rolname = '{role}'");
        if rows(&mut root, &there).await == ["1"] {
            root.batch_execute(&format!("GRANT {role} TO installer")).await.unwrap();
        }
    }
    let url = database.url().replace(&format!("//{me}"), "//installer");
    assert_ne!(url, database.url());
    assert!(!migrations::run(&url).await.unwrap().is_empty());
    for role in roles::ALL {
        let mut sql = connect(&url, &Options::new("test").working_as(role)).await.unwrap();
        let table = if role == roles::PERSISTER { "chat.events" } else { "config.tenants" };
        assert_eq!(count(&mut sql, table).await, "0");
        let worked = rows(&mut sql, "SELECT current_user::text AS row").await;
        assert_eq!(worked, [role]);
    }
    for schema in migrations::SCHEMAS {
        while migrations::step_down(&url, schema).await.unwrap().is_some() {}
    }
}
