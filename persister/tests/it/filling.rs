//! A row of each tenant in every table there is, whatever its columns.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};

/// Each table of ours.
pub struct Table {
    pub name: String,
    columns: Vec<Column>,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table: String,
    #[diesel(sql_type = Text)]
    column: String,
    #[diesel(sql_type = Text)]
    kind: String,
    /// It has to be given.
    #[diesel(sql_type = Bool)]
    is_required: bool,
}

pub async fn tables(sql: &mut AsyncPgConnection) -> Vec<Table> {
    let query = "SELECT format('%I.%I', n.nspname, c.relname) AS table, quote_ident(a.attname) AS column,
                        format_type(a.atttypid, NULL) AS kind, a.attnotnull AND NOT a.atthasdef AS is_required
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('chat', 'config') AND c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations'
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY 1, a.attnum";
    let columns: Vec<Column> = diesel::sql_query(query).load(sql).await.unwrap();
    let mut tables: Vec<Table> = Vec::new();
    for column in columns {
        match tables.last_mut().filter(|table| table.name == column.table) {
            Some(table) => table.columns.push(column),
            None => tables.push(Table { name: column.table.clone(), columns: vec![column] }),
        }
    }
    tables
}

impl Table {
    /// Whether it says whose its rows are.
    pub fn is_of_tenants(&self) -> bool {
        self.columns.iter().any(|column| column.column == "tenant_id")
    }

    /// Adds the row of a tenant: every id and every number in it is `n`.
    pub fn insert(&self, n: u32) -> String {
        self.insert_of(n, |_| true)
    }

    /// The same with what has to be given alone.
    pub fn insert_bare(&self, n: u32) -> String {
        self.insert_of(n, |column| column.is_required)
    }

    fn insert_of(&self, n: u32, given: impl Fn(&Column) -> bool) -> String {
        let given: Vec<&Column> = self.columns.iter().filter(|column| given(column)).collect();
        let names: Vec<&str> = given.iter().map(|column| column.column.as_str()).collect();
        let values: Vec<String> = given.iter().map(|column| value(column, n)).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.name, names.join(", "), values.join(", "))
    }
}

pub fn uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn value(column: &Column, n: u32) -> String {
    match (column.column.as_str(), column.kind.as_str()) {
        ("role", "text") => "'agent'".to_owned(),
        (_, "uuid") => format!("'{}'", uuid(n)),
        (_, "boolean") => "false".to_owned(),
        (_, "timestamp with time zone") => "now()".to_owned(),
        (_, "date") => "current_date".to_owned(),
        (_, "jsonb") => "'{}'".to_owned(),
        (_, "bytea") => format!("'\\x{n:02}'"),
        (_, list) if list.ends_with("[]") => "'{}'".to_owned(),
        (_, "text" | "smallint" | "integer" | "bigint" | "double precision" | "numeric") => format!("'{n}'"),
        (name, other) => panic!("{name} is of type {other}: say here what stands in it"),
    }
}

/// Runs each statement without regard to what refers to what: in the end it all fits.
pub async fn run(sql: &mut AsyncPgConnection, statements: &[String]) {
    sql.batch_execute("SET session_replication_role = replica").await.unwrap();
    sql.batch_execute(&statements.join("; ")).await.unwrap();
    sql.batch_execute("RESET session_replication_role").await.unwrap();
}

/// In place of all rows in each table one with everything and one with what has to be given alone.
pub async fn refill(sql: &mut AsyncPgConnection) {
    let tables = tables(sql).await;
    let rows = tables
        .iter()
        .flat_map(|table| [format!("DELETE FROM {}", table.name), table.insert(1), table.insert_bare(2)]);
    run(sql, &rows.collect::<Vec<_>>()).await;
}
