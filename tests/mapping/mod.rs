//! Mappings: validation and rendering, against vectors and by property.

mod faults;
mod limits;
mod properties;
mod requests;
mod vectors;

use bytes::Bytes;
use postrider::domain::mapping::MappingDefinition;
use postrider::json;
use postrider::mapping::{CompiledMapping, RenderError, Rendered};
use serde_json::{Value, json};

/// Compiles a valid mapping; its URL is optional.
fn compiled(mut mapping: Value) -> CompiledMapping {
    mapping.as_object_mut().unwrap().entry("url").or_insert_with(|| json!("https://example.com"));
    let definition: MappingDefinition = serde_json::from_value(mapping.clone()).unwrap();
    CompiledMapping::compile(&definition).unwrap_or_else(|faults| panic!("{mapping}: {faults:?}"))
}

/// The request for an event, given as JSON text.
fn request(mapping: Value, event: &str) -> Result<Rendered, RenderError> {
    let event = json::parse(event.as_bytes()).unwrap();
    compiled(mapping).render(&Bytes::from(json::to_string(&event)))
}

/// The body that a mapping's data gives for an event, or the error.
fn body(data: Value, event: &str) -> Result<String, String> {
    match request(json!({"data": data}), event) {
        Ok(rendered) => Ok(String::from_utf8(rendered.body.to_vec()).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}
