//! OpenAPI 3.1 out of the table of routes.
//!
//! Invariant: a route that is served is documented with its access, and nothing else is documented.

use std::collections::BTreeMap;

use utoipa::openapi::{
    Components, Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
    RefOr, Required, ResponseBuilder,
    path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use crate::{
    access::Access,
    routes::{Route, Shape},
};

const BEARER: &str = "staff";
const PROBLEM: &str = "Problem";

/// The document for a table.
pub fn document(routes: &[Route]) -> OpenApi {
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    schemas.insert(PROBLEM.to_owned(), problem());
    let mut paths = PathsBuilder::new();
    for route in routes {
        for shape in route.shapes() {
            (shape.collect)(&mut schemas);
        }
        paths = paths.path(route.path, PathItem::new(method(route), operation(route)));
    }
    let mut components = Components::new();
    components.schemas = schemas.into_iter().collect();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    let info = InfoBuilder::new()
        .title("Chatbus admin API")
        .version("1")
        .description(Some("Accounts, configuration and conversations, for staff and programs."));
    OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components)).build()
}

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(route.name))
        .summary(Some(route.summary))
        .tag(route.tag())
        .description(Some(match route.access {
            Access::Public => "Public.".to_owned(),
            Access::Staff(role) => {
                let scope = route.scope().map_or_else(
                    || "Not for API tokens.".to_owned(),
                    |scope| format!("API tokens need the scope `{}`.", scope.name()),
                );
                format!("Role: {} or above. {scope}", role.name())
            }
        }));
    operation = match route.access {
        Access::Public => operation.securities(Some(Vec::<SecurityRequirement>::new())),
        Access::Staff(_) => operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new())),
    };
    for name in route.path_params() {
        let (schema, about) = match name {
            "provider" => (text(), "The provider's name in the settings."),
            _ => (uuid(), "An id."),
        };
        operation = operation.parameter(parameter(name, ParameterIn::Path, schema, about));
    }
    for query in route.query {
        let mut parameter = parameter(query.name, ParameterIn::Query, query.schema(), query.about);
        if query.is_required() {
            parameter.required = Required::True;
        }
        operation = operation.parameter(parameter);
    }
    for (name, about) in route.headers() {
        operation = operation.parameter(parameter(name, ParameterIn::Header, text(), about));
    }
    if let Some(shape) = &route.takes {
        let required = if route.body_required { Required::True } else { Required::False };
        let content = Content::new(Some(reference(shape)));
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
        operation = operation.request_body(Some(body.build()));
    }
    let mut answer = ResponseBuilder::new().description("Done.");
    if let Some(shape) = &route.gives {
        answer = answer.content("application/json", Content::new(Some(reference(shape))));
    }
    if route.text {
        answer = answer.content("text/plain", Content::new(Some(text())));
    }
    operation = operation.response(route.status.as_str(), answer.build());
    let errors = ResponseBuilder::new().description("A problem (RFC 9457); `code` says which.").content(
        "application/problem+json",
        Content::new(Some(RefOr::Ref::<Schema>(Ref::from_schema_name(PROBLEM)))),
    );
    operation.response("default", errors.build()).build()
}

fn reference(shape: &Shape) -> RefOr<Schema> {
    (shape.reference)()
}

fn parameter(
    name: &str,
    place: ParameterIn,
    schema: RefOr<Schema>,
    about: &str,
) -> utoipa::openapi::path::Parameter {
    let required = if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

pub(crate) fn uuid() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .into()
}

pub(crate) fn time() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .into()
}

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn problem() -> RefOr<Schema> {
    let field_error = ObjectBuilder::new()
        .property("pointer", text())
        .property("message", text())
        .required("pointer")
        .required("message");
    let errors = utoipa::openapi::schema::ArrayBuilder::new().items(field_error);
    ObjectBuilder::new()
        .property("type", text())
        .property("title", text())
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .property("detail", text())
        .property("instance", text())
        .property("code", text())
        .property("retryable", ObjectBuilder::new().schema_type(Type::Boolean))
        .property("after_ms", ObjectBuilder::new().schema_type(Type::Integer))
        .property("errors", errors)
        .property("request_id", text())
        .property("data", ObjectBuilder::new().schema_type(Type::Object))
        .required("code")
        .required("status")
        .required("request_id")
        .into()
}
