//! Paths of sources, destinations and mappings: the target of a request, its page and its breadcrumbs.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::super::error::PageError;
use super::super::format::encoded;
use super::super::untrusted::Untrusted;
use crate::pipeline::Target;
use crate::service::test_sends::Names;

/// The source, destination or mapping that the request's path names.
#[derive(Clone, Debug)]
pub(super) struct PathTarget(pub(super) Target);

/// As [`PathTarget`]; none for the root, which is the parent of sources.
#[derive(Clone, Debug)]
pub(super) struct ParentTarget(pub(super) Option<Target>);

impl<S: Send + Sync> FromRequestParts<S> for PathTarget {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let names = RawPathParams::from_request_parts(parts, state).await;
        let names = names.map_err(|error| PageError::malformed(error.body_text()))?;
        let names = names.iter().map(|(_, name)| name.to_owned());
        let target = Target::at(names).ok_or_else(|| PageError::not_found("such page"))?;
        Ok(Self(target))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ParentTarget {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let target = PathTarget::from_request_parts(parts, state).await;
        Ok(Self(target.ok().map(|PathTarget(target)| target)))
    }
}

/// The target with this name below `parent`, or the source with this name.
pub(super) fn child(parent: Option<&Target>, name: &str) -> Target {
    let name = name.to_owned();
    match parent.cloned() {
        None => Target::Source(name),
        Some(Target::Source(source)) => Target::Destination(source, name),
        Some(
            Target::Destination(source, destination) | Target::Mapping(source, destination, _),
        ) => Target::Mapping(source, destination, name),
    }
}

/// The target of a mapping.
pub(super) fn mapping((source, destination, mapping): &Names) -> Target {
    Target::Mapping(source.clone(), destination.clone(), mapping.clone())
}

/// The path of a target's page.
pub(super) fn path(target: &Target) -> String {
    let parent = target.parent().map(|parent| path(&parent)).unwrap_or_default();
    let noun = match target {
        Target::Source(_) => "sources",
        Target::Destination(..) => "destinations",
        Target::Mapping(..) => "mappings",
    };
    format!("{parent}/{noun}/{}", encoded(target.name()))
}

/// A link to a parent.
pub(super) struct Breadcrumb {
    pub(super) name: Untrusted,
    pub(super) path: String,
}

/// Links to the parents of a target, from its source down.
pub(super) fn breadcrumbs(target: &Target) -> Vec<Breadcrumb> {
    target.parent().map(|parent| breadcrumbs_to(&parent)).unwrap_or_default()
}

/// Links to a target and its parents, from its source down.
pub(super) fn breadcrumbs_to(target: &Target) -> Vec<Breadcrumb> {
    let mut links = breadcrumbs(target);
    links.push(Breadcrumb { name: target.name().into(), path: path(target) });
    links
}
