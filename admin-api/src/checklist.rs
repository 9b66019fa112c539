//! What `config check` finds out about this service alone.

use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::RunQueryDsl as _;
use ops::{
    service::{Finding, Level},
    settings::{Settings, names},
};
use persister::db::{self, DbError, Options, connect, roles};

/// Widgets that any page may use.
const OPEN_WIDGETS: &str =
    "SELECT count(*) AS count FROM config.widgets WHERE deleted_at IS NULL AND '*' = ANY(allowed_origins)";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

pub async fn checklist(settings: Settings) -> Vec<Finding> {
    let mut findings = match database(&settings).await {
        Ok(findings) => findings,
        Err(finding) => vec![finding],
    };
    if settings.text(names::REGISTRATION) == "open" {
        let text = "anybody may register a tenant: CHATBUS_REGISTRATION=closed, unless that is meant";
        findings.push(Finding::new(Level::Note, text));
    }
    if settings.opt_secret(names::SMTP_URL).is_none() {
        let text = "no mail server: invitations and links for new passwords are not sent (CHATBUS_SMTP_URL)";
        findings.push(Finding::new(Level::Note, text));
    }
    findings
}

/// Its schema, its roles, and what is kept in it.
async fn database(settings: &Settings) -> Result<Vec<Finding>, Finding> {
    let mut findings = db::checklist(settings, roles::SYSTEM, &[roles::TENANT]).await?;
    let open = open_widgets(settings).await.map_err(|error| Finding::of_error(&error.into()))?;
    if open > 0 {
        let text = format!("{open} widgets allow every origin (`*`): name the sites that use them");
        findings.push(Finding::new(Level::Note, text));
    }
    Ok(findings)
}

async fn open_widgets(settings: &Settings) -> Result<i64, DbError> {
    let options = Options::new("config-check").working_as(roles::SYSTEM);
    let mut connection = connect(settings.secret(names::DATABASE_URL), &options).await?;
    Ok(diesel::sql_query(OPEN_WIDGETS).get_result::<Count>(&mut connection).await?.count)
}
