//! What of a [`super::Thing`] is the same but for its table.

/// The part of `impl Thing` that reads and writes table `$table`; `$pointer` is the field whose value another one may
/// have already, and `$taken` says so.
macro_rules! thing {
    ($row:ty, $table:ident, $id:ty, $entity:ident, $path:literal, $pointer:literal, $taken:literal) => {
        type Id = $id;

        const ENTITY: $crate::audit_log::Audited = $crate::audit_log::Audited::$entity;
        const PATH: &'static str = $path;

        fn uuid(&self) -> uuid::Uuid {
            self.id.0.uuid()
        }

        fn revision(&self) -> i64 {
            self.revision
        }

        fn place(&self) -> $crate::http::Position {
            $crate::http::Position { at: self.created_at.0, id: self.id.0.uuid() }
        }

        fn stamp(&mut self, revision: i64, now: At, deleted: Option<At>) {
            (self.revision, self.updated_at, self.deleted_at) = (revision, now, deleted);
        }

        fn deleted_at(&self) -> Option<At> {
            self.deleted_at
        }

        async fn read(
            connection: &mut AsyncPgConnection,
            tenant: bus_schema::TenantId,
            id: $id,
            deleted: bool,
        ) -> Result<Option<Self>, Problem> {
            let found = $table::table
                .find((Id(tenant), Id(id)))
                .filter($table::deleted_at.is_not_null().eq(deleted))
                .select(<$row>::as_select())
                .first(connection)
                .await;
            Ok(found.optional()?)
        }

        async fn page(
            connection: &mut AsyncPgConnection,
            tenant: bus_schema::TenantId,
            page: &$crate::http::Page,
            deleted: bool,
        ) -> Result<Vec<Self>, Problem> {
            let mut rows = $table::table
                .filter($table::tenant_id.eq(Id(tenant)))
                .filter($table::deleted_at.is_not_null().eq(deleted))
                .order(($table::created_at, $table::id))
                .limit(page.rows())
                .select(<$row>::as_select())
                .into_boxed();
            if let Some($crate::http::Position { at, id }) = page.after {
                let tie = $table::created_at.eq(At(at)).and($table::id.gt(Id(<$id>::from_uuid(id))));
                rows = rows.filter($table::created_at.gt(At(at)).or(tie));
            }
            Ok(rows.load(connection).await?)
        }

        async fn insert(&self, change: &mut Change) -> Result<(), Problem> {
            let inserted =
                diesel::insert_into($table::table).values(self.clone()).execute(change.connection()).await;
            inserted.map(drop).map_err(|error| $crate::db::taken(error, $pointer, $taken))
        }

        async fn update(&self, change: &mut Change) -> Result<(), Problem> {
            let there = $table::table.find((self.tenant_id, self.id));
            let updated = diesel::update(there).set(self).execute(change.connection()).await;
            updated.map(drop).map_err(|error| $crate::db::taken(error, $pointer, $taken))
        }
    };
}

pub(crate) use thing;
