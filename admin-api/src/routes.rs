//! The one table of routes and roles: the router, the documentation and the tests all come from it.
//!
//! Invariant: a handler that is not in this table cannot be reached, and each line says who may call it.

mod refusals;
mod table;

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};
use bus_schema::{
    ErrorCode,
    limits::PAGE_MAX,
    openapi::{Named, named, reference},
};
use http::{HeaderName, Method, StatusCode, header};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

pub use refusals::{ALWAYS, Problems};
pub use table::table;

use crate::{
    access::{Access, Guard, guard},
    app::App,
    http::List,
    openapi,
    scope::Scope,
};

pub const APPLIED_SEQ: &str = "x-applied-seq";
pub const REPLAYED: &str = "idempotency-replayed";

/// A line of the table.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// Its name in metrics and documentation.
    pub name: &'static str,
    pub summary: &'static str,
    pub takes: Option<Shape>,
    pub body_required: bool,
    pub gives: Option<Shape>,
    /// It answers with plain text.
    pub text: bool,
    pub status: StatusCode,
    pub query: &'static [QueryParam],
    /// It answers with a thing that has a revision.
    pub tagged: bool,
    /// PATCH, PUT and DELETE of things with a revision.
    pub if_match: bool,
    /// PATCH and PUT of what has none, and why: of `If-Match` only `*` holds there.
    pub no_revision: Option<&'static str>,
    /// POST whose answer may be remembered.
    pub idempotent: bool,
    /// Problems that do not follow from the rest of the line.
    refuses: &'static [ErrorCode],
    handler: MethodRouter<App>,
}

/// A type as the documentation knows it.
pub struct Shape {
    pub reference: fn() -> RefOr<Schema>,
    /// Its schema, or that of what it is a list of, and those that it refers to.
    pub named: fn() -> Named,
}

/// A query parameter.
pub struct QueryParam {
    pub name: &'static str,
    pub kind: QueryKind,
    pub about: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub enum QueryKind {
    Text,
    /// One of the words of a closed set.
    Word(fn() -> RefOr<Schema>),
    /// From 0 on.
    Integer,
    /// How long a page may be.
    Limit,
    Boolean,
    Uuid,
    /// An instant as RFC 3339.
    Time,
    /// Words to search for.
    Words,
    /// The same, and required.
    MustWords,
}

impl QueryParam {
    pub fn is_required(&self) -> bool {
        matches!(self.kind, QueryKind::MustWords)
    }

    pub fn schema(&self) -> RefOr<Schema> {
        let kind = match self.kind {
            QueryKind::Uuid => return openapi::uuid(),
            QueryKind::Time => return openapi::time(),
            QueryKind::Word(schema) => return schema(),
            QueryKind::Text | QueryKind::Words | QueryKind::MustWords => return openapi::text(),
            QueryKind::Integer => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)),
            QueryKind::Limit => {
                ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(PAGE_MAX))
            }
            QueryKind::Boolean => ObjectBuilder::new().schema_type(Type::Boolean),
        };
        kind.into()
    }
}

fn shape<T: ToSchema>() -> Shape {
    Shape { reference: reference::<T>, named: named::<T> }
}

fn list_shape<T: ToSchema>() -> Shape {
    Shape { reference: <List<T> as PartialSchema>::schema, named: named::<T> }
}

fn route<H, T>(method: Method, path: &'static str, access: Access, name: &'static str, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("the table uses ordinary methods");
    let idempotent = method == Method::POST && access != Access::Public;
    Route {
        path,
        access,
        name,
        summary: "",
        takes: None,
        body_required: true,
        gives: None,
        text: false,
        status: StatusCode::OK,
        query: &[],
        tagged: false,
        if_match: false,
        no_revision: None,
        idempotent,
        refuses: &[],
        handler: on(filter, handler),
        method,
    }
}

impl Route {
    fn about(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some(shape::<T>());
        self
    }

    /// A body that may be left out.
    fn may_take<T: ToSchema>(mut self) -> Self {
        self.body_required = false;
        self.takes::<T>()
    }

    fn gives<T: ToSchema>(mut self) -> Self {
        self.gives = Some(shape::<T>());
        self
    }

    fn gives_text(mut self) -> Self {
        self.text = true;
        self
    }

    fn lists<T: ToSchema>(mut self) -> Self {
        self.gives = Some(list_shape::<T>());
        self
    }

    fn creates<T: ToSchema>(self) -> Self {
        Self { status: StatusCode::CREATED, ..self.gives::<T>() }
    }

    fn empty(self) -> Self {
        Self { status: StatusCode::NO_CONTENT, ..self }
    }

    /// Sends the browser elsewhere.
    fn redirects(self) -> Self {
        Self { status: StatusCode::SEE_OTHER, ..self }
    }

    fn query(mut self, query: &'static [QueryParam]) -> Self {
        self.query = query;
        self
    }

    /// Its answer holds a secret, which is remembered nowhere.
    fn secret(mut self) -> Self {
        self.idempotent = false;
        self
    }

    /// Problems that do not follow from the rest of the line.
    fn refuses(mut self, codes: &'static [ErrorCode]) -> Self {
        self.refuses = codes;
        self
    }

    /// What an API token must be allowed; none: it is not let in.
    pub fn scope(&self) -> Option<Scope> {
        Scope::of_route(&self.method, self.path)
    }

    fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    fn if_match(mut self) -> Self {
        self.if_match = true;
        self
    }

    fn no_revision(mut self, why: &'static str) -> Self {
        self.no_revision = Some(why);
        self
    }

    pub fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.takes.iter().chain(&self.gives)
    }

    pub fn path_params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The same by what they name: `{id}` after `tags` is a `tag_id`.
    pub fn path_names(&self) -> impl Iterator<Item = (&'static str, String)> {
        let before = self.path.split('/').zip(self.path.split('/').skip(1));
        before.filter_map(|(area, part)| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            let of_area = || format!("{}_id", area.trim_end_matches('s').replace('-', "_"));
            Some((name, if name == "id" { of_area() } else { name.to_owned() }))
        })
    }

    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let seen = "The ETag the caller last saw; another one answers 412.".to_owned();
        let none = |why| format!("There is no ETag: {why}. Anything but `*` answers 412.");
        let if_match = self.if_match.then_some(seen).or_else(|| self.no_revision.map(none));
        let key = "The same key gives the same answer, for a day.".to_owned();
        let key = self.idempotent.then_some(("Idempotency-Key", key));
        if_match.map(|about| ("If-Match", about)).into_iter().chain(key)
    }

    /// The headers that every answer to success has, of those that not all have.
    pub fn carries(&self) -> Vec<HeaderName> {
        let reads = self.query.iter().any(|query| query.name == "min_seq");
        let leads =
            (self.tagged && self.status == StatusCode::CREATED) || self.status == StatusCode::SEE_OTHER;
        [
            (reads, HeaderName::from_static(APPLIED_SEQ)),
            (self.tagged, header::ETAG),
            (leads, header::LOCATION),
        ]
        .into_iter()
        .filter_map(|(carries, name)| carries.then_some(name))
        .collect()
    }

    /// The area, as documentation groups it.
    pub fn tag(&self) -> &'static str {
        let area = self.path.trim_start_matches('/').trim_start_matches("v1/").split('/').next();
        area.filter(|area| !area.starts_with('.') && *area != "healthz").unwrap_or("system")
    }
}

/// The router of a table.
pub fn router(app: &App, table: Vec<Route>) -> Router<App> {
    table.into_iter().fold(Router::new(), |router, route| {
        let state = Guard {
            app: app.clone(),
            access: route.access,
            route: route.name,
            scope: route.scope(),
            idempotent: route.idempotent,
            no_revision: route.no_revision.is_some(),
        };
        router.route(route.path, route.handler.layer(from_fn_with_state(state, guard)))
    })
}
