//! The OpenAPI 3.1 document, collected from the handlers. What every operation has in common
//! (security, errors, shared parameters) is added here.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayItems, KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContactBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, Object, ObjectBuilder,
    OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{Problem, query};
use crate::pipeline::FieldError;

/// The base path of the admin API.
pub(super) const BASE: &str = "/api/v1";
const PROBLEM: &str = "application/problem+json";
const BEARER: &str = "token";

const ABOUT: &str = "\
The admin API of a webhook delivery service. Authenticate with `Authorization: Bearer TOKEN`; create a \
token with `postrider tokens create`. The role viewer reads; operator also redrives, discards, tests and \
connects; admin also changes sources, destinations, mappings and tokens. A token with a destination scope \
sees these destinations only.

Errors are problem details (RFC 9457): `code` for programs, `detail` for people, `faults` with the path \
of each invalid field. Every response has an `X-Request-Id`; the one of the request is used where it is \
valid. `RateLimit` has the remaining quota of the token in the current minute.";

/// The error responses, by status.
const ERRORS: [(&str, &str); 12] = [
    ("400", "The request is malformed: its path, query or JSON cannot be parsed"),
    ("401", "The request has no active token"),
    ("403", "The token's role or scope does not allow it"),
    ("404", "Not found"),
    ("409", "The current state does not allow it"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON"),
    ("422", "The request is invalid: `faults` has each invalid field"),
    ("429", "The rate limit of the token is exceeded: see `Retry-After`"),
    ("500", "An internal error: see the log of the service"),
    ("503", "The service is overloaded or shutting down"),
    ("507", "The disk is full"),
];

/// The whole document: the admin API and the machine endpoints.
pub(super) fn document(nouns: OpenApi, machines: OpenApi) -> OpenApi {
    let mut document = OpenApiBuilder::new().info(info()).components(Some(components())).build();
    document.merge(machines);
    document = document.nest(BASE, nouns);
    open_flattened(&mut document);
    let schemas = document.components.iter().flat_map(|it| it.schemas.clone()).collect();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete(method, path, operation);
            if method != "patch" {
                request_schema(method, operation, &schemas);
            }
        }
    }
    document
}

/// The objects among the schemas, by what refers to them.
fn objects(document: &OpenApi) -> BTreeMap<String, Object> {
    let schemas = document.components.iter().flat_map(|it| it.schemas.iter());
    let objects = schemas.filter_map(|(name, schema)| {
        let RefOr::T(Schema::Object(object)) = schema else { return None };
        Some((format!("#/components/schemas/{name}"), object.clone()))
    });
    objects.collect()
}

/// Schemas that deny unknown fields allow them where they are flattened into another one.
fn open_flattened(document: &mut OpenApi) {
    let objects = objects(document);
    let schemas = document.components.iter_mut().flat_map(|it| it.schemas.values_mut());
    schemas.for_each(|schema| open_parts(schema, &objects));
}

fn open_parts(schema: &mut RefOr<Schema>, objects: &BTreeMap<String, Object>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            object.properties.values_mut().for_each(|it| open_parts(it, objects));
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                open_parts(items, objects);
            }
        }
        Schema::AllOf(all) => {
            for part in &mut all.items {
                let RefOr::Ref(to) = part else { continue };
                let Some(object) = objects.get(&to.ref_location) else { continue };
                let mut open = object.clone();
                open.additional_properties = None;
                *part = RefOr::T(Schema::Object(open));
            }
        }
        Schema::OneOf(_) | Schema::AnyOf(_) | _ => {}
    }
}

/// Read-only fields: allowed in a request, and ignored.
const READ_ONLY: [&str; 4] = ["id", "created_at", "revision", "connection"];

/// The schema of a request body: the names in the path are optional, and read-only fields are left
/// out.
fn request_schema(
    method: &str,
    operation: &mut Operation,
    schemas: &BTreeMap<String, RefOr<Schema>>,
) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::Ref(to)) = &content.schema else { continue };
        let name = to.ref_location.rsplit('/').next().unwrap_or_default();
        match schemas.get(name) {
            Some(RefOr::T(Schema::Object(object))) if method == "put" => {
                let mut object = object.clone();
                object.required.retain(|it| !matches!(&**it, "name" | "source" | "destination"));
                content.schema = Some(RefOr::T(Schema::Object(object)));
            }
            Some(RefOr::T(Schema::AllOf(all))) => {
                let mut all = all.clone();
                for part in &mut all.items {
                    let RefOr::T(Schema::Object(object)) = part else { continue };
                    object.required.retain(|it| !READ_ONLY.contains(&&**it));
                    object.properties.retain(|it, _| !READ_ONLY.contains(&&**it));
                }
                content.schema = Some(RefOr::T(Schema::AllOf(all)));
            }
            _ => {}
        }
    }
}

fn info() -> utoipa::openapi::Info {
    InfoBuilder::new()
        .title("Postrider")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .contact(Some(ContactBuilder::new().name(Some("Postrider's operators")).build()))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()))
        .build()
}

fn components() -> Components {
    let mut components = Components::new();
    components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    components.schemas.insert(FieldError::name().into_owned(), FieldError::schema());
    components
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Completes an operation: its id, path parameters, security and error responses.
fn complete(method: &str, path: &str, operation: &mut Operation) {
    operation.operation_id = Some(operation_id(method, path));
    let inner = path.strip_prefix(BASE).unwrap_or(path);
    let mut parameters = operation.parameters.take().unwrap_or_default();
    let placeholders = path.split(['{', '}']).skip(1).step_by(2);
    parameters.extend(placeholders.map(|name| RefOr::T(path_parameter(name, inner))));
    if method == "get" {
        parameters.extend(query::parameters(inner).map(RefOr::T));
        if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
            query::describe_link(inner, answer);
        }
    }
    operation.parameters = (!parameters.is_empty()).then_some(parameters);
    for response in operation.responses.responses.values_mut() {
        as_problem(response);
    }
    if path == inner {
        // The machine endpoints need no token and return no problem details.
        return;
    }
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])]);
    let mut errors = vec!["400", "401", "403", "404", "422", "429", "500", "503"];
    if operation.request_body.is_some() {
        errors.extend(["413", "415"]);
    }
    if method != "get" {
        errors.extend(["409", "507"]);
    }
    if method == "post" {
        operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
    }
    if operation.responses.responses.contains_key("412") {
        operation.parameters.get_or_insert_default().push(RefOr::T(if_match()));
    }
    // The HTTP server answers this itself, without problem details.
    let head = ResponseBuilder::new().description("The request header is too large").build();
    operation.responses.responses.insert("431".to_owned(), RefOr::T(head));
    for status in errors {
        let said = ERRORS.iter().find(|(it, _)| *it == status).map_or("", |(_, words)| words);
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(said)));
    }
}

/// `get /api/v1/jobs/{id}` is `get_jobs_id`.
fn operation_id(method: &str, path: &str) -> String {
    let parts = path.strip_prefix(BASE).unwrap_or(path).split(|c: char| !c.is_ascii_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    format!("{method}_{}", parts.join("_"))
}

/// The path parameters; a name has one meaning everywhere.
fn path_parameter(name: &str, path: &str) -> Parameter {
    let noun = path.split('/').nth(1).unwrap_or_default();
    let (description, schema) = match (name, noun) {
        ("number", _) => ("The revision's number", whole_number()),
        ("name", "inspectors") => ("The inspector's name", text("^[a-z0-9_-]{1,64}$")),
        ("name", _) => ("The token's name", text("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")),
        ("id", "events") => ("The event's id", text(&query::id_pattern("evt_"))),
        ("id", "deliveries") => ("The delivery's id", text(&query::id_pattern("dlv_"))),
        ("id", "jobs" | "redrives" | "discards") => {
            ("The job's id", text(&query::id_pattern("job_")))
        }
        ("source", _) => ("The source's name", text(NAME)),
        ("destination", _) => ("The destination's name", text(NAME)),
        ("mapping", _) => ("The mapping's name", text(NAME)),
        (_, _) => ("", text(".")),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn idempotency_key() -> Parameter {
    let schema =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$")).build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Makes the request idempotent: repeated with the same key within a day, it returns the \
             stored response",
        ))
        .schema(Some(Schema::Object(schema)))
        .build()
}

fn if_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The ETags of which the current one must be one"))
        .schema(Some(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build())))
        .build()
}

/// A name: no slash, no control characters, no leading or trailing space.
const NAME: &str =
    r"^[^\s/\x00-\x1f\x7f-\x9f]([^/\x00-\x1f\x7f-\x9f]{0,98}[^\s/\x00-\x1f\x7f-\x9f])?$";

fn text(pattern: &str) -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build())
}

fn whole_number() -> Schema {
    Schema::Object(
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .minimum(Some(1))
            .build(),
    )
}

fn problem(description: &str) -> utoipa::openapi::Response {
    let schema = RefOr::Ref(Ref::from_schema_name(Problem::name()));
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

/// Sets the media type of a response with problem details.
fn as_problem(response: &mut RefOr<utoipa::openapi::Response>) {
    let RefOr::T(response) = response else { return };
    let reference = format!("#/components/schemas/{}", Problem::name());
    let is_problem = response.content.values().any(|content| {
        let RefOr::T(content) = content else { return false };
        matches!(&content.schema, Some(RefOr::Ref(to)) if to.ref_location == reference)
    });
    if is_problem {
        *response = problem(&response.description.clone());
    }
}
