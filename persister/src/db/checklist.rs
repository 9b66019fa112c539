//! What `config check` asks Postgres: it is there, new enough and migrated, each role may work, and it is kept twice.

use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use ops::{
    service::{Finding, Level, Unavailable},
    settings::{Settings, names},
};

use super::{DbError, Options, connect, migrations};

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = sql_types::Bool)]
    twice: bool,
}

/// What is wrong with the database for a service that works as `role`, which may see which migrations ran, and as
/// `others`.
pub async fn checklist(
    settings: &Settings,
    role: &'static str,
    others: &[&'static str],
) -> Result<Vec<Finding>, Finding> {
    look(settings, role, others).await.map_err(|error| Finding::of_error(&error))
}

async fn look(
    settings: &Settings,
    role: &'static str,
    others: &[&'static str],
) -> anyhow::Result<Vec<Finding>> {
    for other in others {
        working_as(settings, other).await?;
    }
    let mut connection = working_as(settings, role).await?;
    migrations::verify(&mut connection).await?;
    if kept_twice(&mut connection).await? {
        return Ok(Vec::new());
    }
    let text =
        "Postgres neither archives its log nor has a standby: back up schema config (docs/deployment.md)";
    Ok(vec![Finding::new(Level::Note, text)])
}

/// Fails unless whoever logs in may work as `role`.
async fn working_as(settings: &Settings, role: &'static str) -> Result<AsyncPgConnection, Unavailable> {
    let options = Options::new("config-check").working_as(role);
    connect(settings.secret(names::DATABASE_URL), &options).await.map_err(|error| {
        let fix = format!(
            "start Postgres, or set CHATBUS_{}, and let that user work as {role}",
            names::DATABASE_URL
        );
        Unavailable::new(error.to_string(), fix)
    })
}

async fn kept_twice(connection: &mut AsyncPgConnection) -> Result<bool, DbError> {
    let query = "SELECT current_setting('archive_mode') <> 'off' OR EXISTS (SELECT FROM pg_stat_replication) AS twice";
    Ok(diesel::sql_query(query).get_result::<Kept>(connection).await?.twice)
}
