//! The imported file is valid: it is checked as `apply` checks it. What would be refused is left out with the
//! reason, so that the rest can be applied.

use serde_json::{Value, json};

use super::report::{Imported, Kind};
use crate::pipeline::{Document, FieldError, offline_faults};
use crate::settings::Settings;

/// A secret that is not known yet, for the check.
const STAND_IN: &str = "q7Zr2Wm9Xc4Vb8Nk3Lp6Td1Hf5Gs0JyA";

/// Leaves out what would be refused.
pub(super) fn ensure(imported: &mut Imported) {
    split_large_destinations(imported);
    // Each round leaves something out.
    while let Some(fault) = first_fault(&imported.document) {
        leave_out(imported, &fault);
    }
}

fn first_fault(document: &Value) -> Option<FieldError> {
    let mut document = document.clone();
    give_secrets(&mut document);
    match serde_json::from_value::<Document>(document) {
        Ok(document) => offline_faults(&document, &Settings::default()).into_iter().next(),
        Err(error) => Some(FieldError::new("", error.to_string())),
    }
}

/// Replaces variables by values, as the command line does.
fn give_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("env") => {
            *value = json!({"value": STAND_IN});
        }
        Value::Object(fields) => fields.values_mut().for_each(give_secrets),
        Value::Array(items) => items.iter_mut().for_each(give_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Leaves out the smallest part that the fault is in: a mapping, a destination's auth, a destination, a source.
fn leave_out(imported: &mut Imported, fault: &FieldError) {
    let Imported { document, findings } = imported;
    let Some(sources) = document["sources"].as_array_mut() else { return };
    let indices = Indices::of(&fault.path);
    let Some(source) = indices.source.filter(|at| *at < sources.len()) else {
        findings.add("", &fault.path, Kind::LeftOut, fault.message.clone());
        sources.clear();
        return;
    };
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let at = name(&sources[source]);
    let destinations = sources[source]["destinations"].as_array_mut();
    let destination =
        destinations.zip(indices.destination).filter(|(all, index)| *index < all.len());
    let Some((destinations, index)) = destination else {
        findings.add(&at, &fault.path, Kind::LeftOut, fault.message.clone());
        sources.remove(source);
        return;
    };
    let at = format!("{at}/{}", name(&destinations[index]));
    let mappings = destinations[index]["mappings"].as_array_mut();
    if let Some((mappings, mapping)) =
        mappings.zip(indices.mapping).filter(|(all, index)| *index < all.len())
    {
        let at = format!("{at}/{}", name(&mappings[mapping]));
        let message = format!("the mapping is left out: {}", fault.message);
        findings.add(&at, indices.field(&fault.path), Kind::LeftOut, message);
        mappings.remove(mapping);
        return;
    }
    let field = indices.field(&fault.path);
    let part = field.split('.').next().unwrap_or_default().to_owned();
    let fields = destinations[index].as_object_mut();
    if part != "name" && fields.is_some_and(|fields| fields.remove(&part).is_some()) {
        let message = format!("{}: the destination is disabled until it is written", fault.message);
        findings.add(&at, field, Kind::ToDo, message);
        destinations[index]["enabled"] = Value::from(false);
        return;
    }
    findings.add(&at, field, Kind::LeftOut, fault.message.clone());
    destinations.remove(index);
}

/// The indices in a path such as `sources[0].destinations[1].mappings[2].url`.
struct Indices {
    source: Option<usize>,
    destination: Option<usize>,
    mapping: Option<usize>,
}

impl Indices {
    fn of(path: &str) -> Self {
        let index = |name: &str| {
            let (_, rest) = path.split_once(&format!("{name}["))?;
            rest.split_once(']')?.0.parse().ok()
        };
        Self {
            source: index("sources"),
            destination: index("destinations"),
            mapping: index("mappings"),
        }
    }

    /// The field in the innermost object.
    fn field<'p>(&self, path: &'p str) -> &'p str {
        let list = match (self.mapping, self.destination) {
            (Some(_), _) => "mappings[",
            (None, Some(_)) => "destinations[",
            (None, None) => "sources[",
        };
        let rest = path.split_once(list).and_then(|(_, rest)| rest.split_once("]."));
        rest.map_or("", |(_, field)| field)
    }
}

/// A destination with more mappings than one may have becomes several.
fn split_large_destinations(imported: &mut Imported) {
    let Imported { document, findings } = imported;
    let limit = Settings::default().mappings_per_destination as usize;
    for source in document["sources"].as_array_mut().into_iter().flatten() {
        let of_source = source["name"].as_str().unwrap_or_default().to_owned();
        let Some(destinations) = source["destinations"].as_array_mut() else { continue };
        let mut split = Vec::new();
        for mut destination in std::mem::take(destinations) {
            let mappings = destination["mappings"].as_array().cloned().unwrap_or_default();
            if mappings.len() <= limit {
                split.push(destination);
                continue;
            }
            let name = destination["name"].as_str().unwrap_or_default().to_owned();
            let message = format!("more than {limit} mappings: they are in several destinations");
            findings.add(&format!("{of_source}/{name}"), "subscriptions", Kind::Changed, message);
            for (number, part) in mappings.chunks(limit).enumerate() {
                if number > 0 {
                    destination["name"] = format!("{name} part {}", number + 1).into();
                }
                destination["mappings"] = part.to_vec().into();
                split.push(destination.clone());
            }
        }
        *destinations = split;
    }
}
