//! The query parameters of each list for OpenAPI, from the table that lists are parsed by.

use utoipa::openapi::path::{Parameter as Described, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{HeaderBuilder, Object, ObjectBuilder, RefOr, Required, Response, Schema};

use crate::service::parameters::{self, Parameter, Values};

/// The parameters of each list.
const PARAMETERS: [(&str, &[Parameter]); 17] = [
    ("/deliveries", parameters::DELIVERIES),
    ("/attempts", parameters::ATTEMPTS),
    ("/dead-letters", parameters::DEAD_LETTERS),
    ("/events", parameters::EVENTS),
    ("/events/stream", parameters::LIVE_EVENTS),
    ("/events/export", parameters::EXPORTED_EVENTS),
    ("/deliveries/export", parameters::EXPORTED_DELIVERIES),
    ("/attempts/export", parameters::EXPORTED_ATTEMPTS),
    ("/jobs", parameters::JOBS),
    ("/redrives", parameters::JOBS_OF_AN_ACTION),
    ("/discards", parameters::JOBS_OF_AN_ACTION),
    ("/backfills", parameters::JOBS_OF_AN_ACTION),
    ("/audit", parameters::AUDIT),
    ("/destinations", parameters::DESTINATIONS),
    ("/mappings", parameters::MAPPINGS),
    ("/mappings/{source}/{destination}/{mapping}/revisions", parameters::REVISIONS),
    ("/statistics", parameters::STATISTICS),
];

fn parameters_of(path: &str) -> &'static [Parameter] {
    PARAMETERS.iter().find(|(known, _)| *known == path).map_or(&[], |(_, parameters)| parameters)
}

/// The query parameters of a path.
pub(super) fn parameters(path: &str) -> impl Iterator<Item = Described> {
    parameters_of(path).iter().map(|parameter| {
        ParameterBuilder::new()
            .name(parameter.name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(parameter.about))
            .schema(Some(schema(&parameter.values)))
            .build()
    })
}

/// Describes the `Link` header of a paginated list.
pub(super) fn describe_link(path: &str, answer: &mut Response) {
    if parameters_of(path).iter().any(|parameter| parameter.name == "before") {
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        let about = "The next page, as `rel=\"next\"`; absent on the last page";
        let link = HeaderBuilder::new().schema(Some(Schema::Object(text))).description(Some(about));
        answer.headers.insert("Link".to_owned(), RefOr::T(link.build()));
    }
}

/// The pattern of public ids with this prefix.
pub(super) fn id_pattern(prefix: &str) -> String {
    format!("^{prefix}[0-9a-f]{{12}}7[0-9a-f]{{3}}[89ab][0-9a-f]{{15}}$")
}

/// The pattern of how long ago.
const AGO: &str = "^[0-9]{1,4}[smhd]$";

fn schema(values: &Values) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let object: Object = match *values {
        Values::Text(most) => text.max_length(Some(most)).build(),
        Values::Words(words) => text.enum_values(Some(words())).build(),
        Values::Status => text.pattern(Some("^([1-9]xx|[1-9][0-9]{2})$")).build(),
        Values::Time => {
            let ago = ObjectBuilder::new().schema_type(Type::String).pattern(Some(AGO)).build();
            let time = text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build();
            return Schema::AnyOf(AnyOfBuilder::new().item(time).item(ago).build());
        }
        Values::Id(noun) => text.pattern(Some(id_pattern(noun.prefix()))).build(),
        Values::Whole(least, most) => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most))
            .build(),
        Values::Flag => ObjectBuilder::new().schema_type(Type::Boolean).build(),
    };
    Schema::Object(object)
}
