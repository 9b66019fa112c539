//! OpenAPI 3.1 out of the table of routes.
//!
//! Invariant: a route that is served is documented with its access, and nothing else is documented.

mod headers;
mod problems;
mod walk;

pub use walk::{AtEdge, Step, Walk};

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{ErrorCode, openapi::named, problem::ProblemDetails};
use utoipa::openapi::{
    Components, Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
    RefOr, Required, Response, ResponseBuilder,
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

/// The document for a table.
pub fn document(routes: &[Route]) -> OpenApi {
    let mut schemas: BTreeMap<String, RefOr<Schema>> = named::<ProblemDetails<'_>>().into_iter().collect();
    let mut responses: BTreeMap<String, RefOr<Response>> = BTreeMap::new();
    responses.insert(problems::OTHER.to_owned(), headers::of_problem(0, problems::other()).into());
    let walk = Walk::read();
    let mut paths = PathsBuilder::new();
    for route in routes {
        for shape in route.shapes() {
            schemas.extend((shape.named)());
        }
        paths = paths.path(route.path, PathItem::new(method(route), operation(route, &walk)));
        responses.extend(refused(route).map(|(status, codes)| {
            let response = headers::of_problem(status, problems::response(status, &codes));
            (problems::name(status, &codes), response.into())
        }));
    }
    let mut components = Components::new();
    components.schemas = schemas.into_iter().collect();
    headers::collect(&mut components);
    components.responses = responses.into_iter().collect();
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

/// What a route may answer besides success, `unavailable` among it.
fn refused(route: &Route) -> impl Iterator<Item = (u16, BTreeSet<ErrorCode>)> {
    let mut problems = route.problems();
    problems.entry(ErrorCode::Unavailable.status()).or_default().insert(ErrorCode::Unavailable);
    problems.into_iter()
}

fn operation(route: &Route, walk: &Walk) -> Operation {
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
    for (name, means) in route.path_names() {
        let (schema, about) = match name {
            "provider" => (text(), "The provider's name in the settings."),
            _ => (uuid(), "An id."),
        };
        let example = walk.values.get(&means);
        operation = operation.parameter(parameter(name, ParameterIn::Path, schema, about, example));
    }
    for query in route.query {
        let example = walk.step(route.name).and_then(|step| step.query.get(query.name));
        let mut parameter = parameter(query.name, ParameterIn::Query, query.schema(), query.about, example);
        if query.is_required() {
            parameter.required = Required::True;
        }
        operation = operation.parameter(parameter);
    }
    for (name, about) in route.headers() {
        operation = operation.parameter(parameter(name, ParameterIn::Header, text(), &about, None));
    }
    if let Some(shape) = &route.takes {
        let required = if route.body_required { Required::True } else { Required::False };
        let mut content = Content::new(Some(reference(shape)));
        content.example = walk.request(route.name);
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
        operation = operation.request_body(Some(body.build()));
    }
    let mut answer = ResponseBuilder::new().description("Done.");
    if let Some(shape) = &route.gives {
        let mut content = Content::new(Some(reference(shape)));
        content.example = walk.answer(route.name);
        answer = answer.content("application/json", content);
    }
    if route.text {
        let mut content = Content::new(Some(text()));
        content.example = walk.answer(route.name);
        answer = answer.content("text/plain", content);
    }
    let mut answer = answer.build();
    headers::of_success(route, &mut answer);
    operation = operation.response(route.status.as_str(), answer);
    for (status, codes) in refused(route) {
        let response = Ref::from_response_name(problems::name(status, &codes));
        operation = operation.response(status.to_string(), response);
    }
    operation.response("default", Ref::from_response_name(problems::OTHER)).build()
}

fn reference(shape: &Shape) -> RefOr<Schema> {
    (shape.reference)()
}

fn parameter(
    name: &str,
    place: ParameterIn,
    schema: RefOr<Schema>,
    about: &str,
    example: Option<&String>,
) -> utoipa::openapi::path::Parameter {
    let required = if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(about))
        .schema(Some(schema))
        .example(example.map(|example| example.clone().into()))
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

pub(crate) fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}
