//! What `config check` asks Postgres: it is there, new enough and migrated, each role may work, and it is kept twice.

use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use ops::{
    service::{Finding, Level, Unavailable},
    settings::{Profile, Settings, names},
};

use super::{DbError, Options, connect, migrations};

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = sql_types::Text)]
    archive_mode: String,
    #[diesel(sql_type = sql_types::BigInt)]
    standbys: i64,
}

/// What is wrong with the database for a service that works as these roles.
pub async fn checklist(settings: &Settings, roles: &[&'static str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in roles {
        match look(settings, role).await {
            Ok(found) => findings = found,
            Err(error) => return vec![Finding::of_error(&error)],
        }
    }
    findings
}

async fn look(settings: &Settings, role: &'static str) -> anyhow::Result<Vec<Finding>> {
    let options = Options::new("config-check").working_as(role);
    let connected = connect(settings.secret(names::DATABASE_URL), &options).await;
    let mut connection = connected.map_err(|error| {
        let fix = format!(
            "start Postgres, or set CHATBUS_{}, and let that user work as {role}",
            names::DATABASE_URL
        );
        Unavailable::new(error.to_string(), fix)
    })?;
    migrations::verify(&mut connection).await?;
    let kept = kept(&mut connection).await?;
    let once = kept.archive_mode == "off" && kept.standbys == 0;
    let level = match settings.profile() {
        Profile::Production => Level::Note,
        Profile::Development => return Ok(Vec::new()),
    };
    let text =
        "Postgres neither archives its log nor has a standby: back up schema config (docs/deployment.md)";
    Ok(once.then(|| Finding::new(level, text)).into_iter().collect())
}

async fn kept(connection: &mut AsyncPgConnection) -> Result<Kept, DbError> {
    let query = "SELECT current_setting('archive_mode') AS archive_mode,
                        (SELECT count(*) FROM pg_stat_replication) AS standbys";
    Ok(diesel::sql_query(query).get_result(connection).await?)
}
