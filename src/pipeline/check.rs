//! Validation of a pipeline document: every error with its path. Changes nothing.

use std::collections::HashSet;
use std::hash::Hash;

use secrecy::ExposeSecret as _;
use url::Url;

use super::FieldError;
use super::check_auth::{Findings, header_faults, url_faults};
use super::check_request::request_faults;
use super::document::{
    DestinationDocument, Document, GivenFunction, MappingDocument, SourceDocument,
};
use super::given_secret::GivenSecret;
use super::host_checks::HostChecks;
use super::preflight::Preflight;
use super::secret_text::{edge_fault, shared_secret_fault, strong_secret_fault};
use crate::domain::invisible::first_invisible;
use crate::functions::Function;
use crate::mapping::CompiledMapping;
use crate::settings::Settings;

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 100;
/// The maximum length of a secret, in bytes.
const MAX_SECRET: usize = 512;
/// Every error of the document.
pub(super) async fn check(
    document: &Document,
    settings: &Settings,
    preflight: &dyn Preflight,
    hosts: &mut HostChecks,
) -> Vec<FieldError> {
    let mut checking = Checking::of(document, settings);
    let functions = checking.functions.iter().map(async |(path, function)| {
        preflight.check_function(function).await.map_err(|why| FieldError::new(path.clone(), why))
    });
    let checked = futures_util::future::join_all(functions).await;
    checking.faults.extend(checked.into_iter().filter_map(Result::err));
    let refused = hosts.check(checking.urls, preflight).await;
    checking.faults.extend(refused);
    checking.faults
}

/// The errors that are found without resolving a name or running a function.
pub(super) fn check_offline(document: &Document, settings: &Settings) -> Vec<FieldError> {
    Checking::of(document, settings).faults
}

struct Checking<'a> {
    faults: Vec<FieldError>,
    settings: &'a Settings,
    /// Well-formed URLs, still to be checked against the address policy.
    urls: Vec<(String, Url)>,
    /// Functions within the size limit, still to be loaded.
    functions: Vec<(String, Function)>,
}

impl<'a> Checking<'a> {
    fn of(document: &Document, settings: &'a Settings) -> Self {
        let mut checking =
            Self { faults: Vec::new(), settings, urls: Vec::new(), functions: Vec::new() };
        checking.names("sources", document.sources.iter().map(|source| source.name.as_str()));
        for (index, source) in document.sources.iter().enumerate() {
            checking.source(&format!("sources[{index}]"), source);
        }
        checking.write_keys(document);
        checking
    }
}

impl Checking<'_> {
    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(FieldError::new(path, message));
    }

    fn source(&mut self, path: &str, source: &SourceDocument) {
        if let Some(key) = &source.write_key {
            self.secret(&format!("{path}.write_key"), key, write_key_fault);
        }
        for (field, message) in source.limits().check() {
            self.fault(format!("{path}.{field}"), message);
        }
        let below = format!("{path}.destinations");
        self.names(&below, source.destinations.iter().map(|one| one.name.as_str()));
        for (index, destination) in source.destinations.iter().enumerate() {
            self.destination(&format!("{below}[{index}]"), destination);
        }
    }

    fn destination(&mut self, path: &str, destination: &DestinationDocument) {
        if let Some(secret) = &destination.shared_secret {
            let fault = if destination.allow_weak_secret {
                shared_secret_fault
            } else {
                strong_secret_fault
            };
            self.secret(&format!("{path}.shared_secret"), secret, fault);
        }
        for (field, message) in destination.settings().check() {
            self.fault(format!("{path}.{field}"), message);
        }
        let findings = Findings::of(destination);
        for (field, message) in findings.faults {
            self.fault(format!("{path}.{field}"), message);
        }
        let urls = findings.urls.into_iter();
        self.urls.extend(urls.map(|(field, url)| (format!("{path}.{field}"), url)));
        let below = format!("{path}.mappings");
        let limit = self.settings.mappings_per_destination as usize;
        if destination.mappings.len() > limit {
            let count = destination.mappings.len();
            self.fault(
                &below,
                format!("should be at most {limit} (mappings_per_destination), not {count}"),
            );
        }
        self.names(&below, destination.mappings.iter().map(|one| one.name.as_str()));
        for (index, mapping) in destination.mappings.iter().enumerate() {
            for (header, message) in header_faults(destination, mapping) {
                self.fault(format!("{below}[{index}].headers.{header}"), message);
            }
            self.mapping(&format!("{below}[{index}]"), mapping);
        }
    }

    fn mapping(&mut self, path: &str, mapping: &MappingDocument) {
        if let Some(function) = &mapping.function {
            self.function(&format!("{path}.function"), function);
        }
        for (field, message) in url_faults(mapping) {
            self.fault(format!("{path}.{field}"), message);
        }
        let definition = mapping.definition();
        for (field, message) in definition.check() {
            self.fault(format!("{path}.{field}"), message);
        }
        for (field, message) in request_faults(&definition) {
            self.fault(format!("{path}.{field}"), message);
        }
        match CompiledMapping::compile(&definition) {
            Ok(compiled) => {
                let url = compiled.fixed_url().cloned();
                self.urls.extend(url.map(|url| (format!("{path}.url"), url)));
            }
            Err(faults) => {
                for fault in faults {
                    self.fault(format!("{path}.{}", fault.path), fault.message);
                }
            }
        }
    }

    fn function(&mut self, path: &str, given: &GivenFunction) {
        if given.file.is_some() {
            return self.fault(
                format!("{path}.file"),
                "should be a source: files are read where `postrider apply` runs",
            );
        }
        if given.source.is_none() {
            return self.fault(path, "has neither source nor file");
        }
        match Function::of(&given.definition()) {
            Ok(function) => self.functions.push((format!("{path}.source"), function)),
            Err((field, message)) => self.fault(format!("{path}.{field}"), message),
        }
    }

    fn names<'n>(&mut self, path: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen = HashSet::new();
        for (index, name) in names.enumerate() {
            let path = format!("{path}[{index}].name");
            if let Some(message) = name_fault(name) {
                self.fault(path, message);
            } else if !seen.insert(name) {
                self.fault(path, format!("{name:?} is a duplicate: a name is the identity"));
            }
        }
    }

    fn secret(&mut self, path: &str, given: &GivenSecret, fault: fn(&str) -> Option<&'static str>) {
        match given {
            GivenSecret::Kept => {}
            GivenSecret::Value(hidden) => {
                let text = hidden.0.expose_secret();
                let message = match text.len() {
                    0 => Some("is empty"),
                    1..=MAX_SECRET => fault(text),
                    _ => Some("is longer than 512 bytes"),
                };
                if let Some(message) = message {
                    self.fault(path, message);
                }
            }
            GivenSecret::Env(_) | GivenSecret::File(_) => self.fault(
                path,
                "should be a value: variables and files are read where `postrider apply` runs",
            ),
        }
    }

    fn write_keys(&mut self, document: &Document) {
        let keys = document.sources.iter().enumerate().filter_map(|(index, source)| {
            match source.write_key.as_ref()? {
                GivenSecret::Value(hidden) => {
                    Some((index, crate::settings::secrets::digest(hidden.0.expose_secret())))
                }
                GivenSecret::Env(_) | GivenSecret::File(_) | GivenSecret::Kept => None,
            }
        });
        for index in repeated(keys) {
            self.fault(
                format!("sources[{index}].write_key"),
                "is a duplicate: a write key identifies one source",
            );
        }
    }
}

/// The indices of repeated values.
fn repeated<T: Eq + Hash>(values: impl Iterator<Item = (usize, T)>) -> Vec<usize> {
    let mut seen = HashSet::new();
    values.filter_map(|(index, value)| (!seen.insert(value)).then_some(index)).collect()
}

fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.chars().count() > MAX_NAME {
        return Some(format!("should have at most {MAX_NAME} characters"));
    }
    if name == "." || name == ".." {
        return Some(format!("{name:?} is no name: in a path it means another place"));
    }
    if let Some(char) = first_invisible(name) {
        let code = u32::from(char);
        return Some(format!(
            "contains the invisible character U+{code:04X}: another name looks the same"
        ));
    }
    if name.trim() != name || name.chars().any(|one| one == '/' || one.is_control()) {
        return Some(format!(
            "{name:?} should have no slash, no control characters and no leading or trailing space"
        ));
    }
    None
}

fn write_key_fault(key: &str) -> Option<&'static str> {
    // A write key is also a user name of Basic authentication, which a colon ends.
    let fits = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let fault = || (!fits).then_some("should have visible ASCII characters only, and no colon");
    edge_fault(key).or_else(fault)
}
