//! Batches: rendered deliveries of one mapping revision that share a request. Without batching a batch
//! is one delivery; with it, deliveries with equal method, URL and headers form a JSON array. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use smallvec::{SmallVec, smallvec};

use super::lease::lease_of;
use crate::domain::digest::sha256;
use crate::domain::id::{Noun, PublicId, RevisionId};
use crate::domain::mapping::Batching;
use crate::domain::trace::Trace;
use crate::mapping::Rendered;
use crate::store::{LeaseRef, LeasedDelivery};

/// Inline for one element, the common case; on the heap for a batch.
pub(super) type OneOrMany<T> = SmallVec<[T; 1]>;

/// A rendered delivery.
#[derive(Debug)]
pub(super) struct BatchItem {
    pub(super) delivery: LeasedDelivery,
    pub(super) rendered: Rendered,
    /// The insert function's console output.
    pub(super) console: Option<String>,
}

/// The deliveries of one request: equal in method, URL and headers.
#[derive(Debug)]
pub(super) struct Batch {
    /// The mapping revision that rendered them.
    pub(super) revision_id: RevisionId,
    pub(super) items: OneOrMany<BatchItem>,
    /// Whether the body is a JSON array of the items' bodies.
    pub(super) is_array: bool,
    bytes: usize,
}

impl Batch {
    fn new(revision_id: RevisionId, is_array: bool, items: OneOrMany<BatchItem>) -> Self {
        let bytes = items.iter().map(array_bytes).sum::<usize>() + 1;
        Self { revision_id, items, is_array, bytes }
    }

    /// Groups items, in order, into as few batches as the size limits allow.
    pub(super) fn group(
        revision_id: RevisionId,
        batching: Option<Batching>,
        items: OneOrMany<BatchItem>,
    ) -> OneOrMany<Self> {
        let Some(batching) = batching else {
            let single =
                items.into_iter().map(|item| Self::new(revision_id, false, smallvec![item]));
            return single.collect();
        };
        let size = usize::try_from(batching.size).unwrap_or(usize::MAX);
        let mut batches: OneOrMany<Self> = OneOrMany::new();
        // The batch that still has room, by group key; usually there is one group.
        let mut open: HashMap<String, usize> = HashMap::new();
        let mut last = None;
        for item in items {
            let known = last
                .filter(|at: &usize| is_same_group(&batches[*at].items[0].rendered, &item.rendered))
                .or_else(|| open.get(&group_key(&item.rendered)).copied());
            let at = match known.filter(|at| batches[*at].has_room_for(&item, size)) {
                Some(at) => {
                    batches[at].push(item);
                    at
                }
                None => {
                    open.insert(group_key(&item.rendered), batches.len());
                    batches.push(Self::new(revision_id, true, smallvec![item]));
                    batches.len() - 1
                }
            };
            last = Some(at);
        }
        batches
    }

    fn has_room_for(&self, item: &BatchItem, size: usize) -> bool {
        self.items.len() < size && self.bytes + array_bytes(item) <= Batching::BODY_BYTES
    }

    fn push(&mut self, item: BatchItem) {
        self.bytes += array_bytes(&item);
        self.items.push(item);
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Splits it in half; the first half is the larger by at most one.
    pub(super) fn split(mut self) -> [Self; 2] {
        let second = self.items.drain(self.items.len().div_ceil(2)..).collect();
        [self.items, second].map(|items| Self::new(self.revision_id, self.is_array, items))
    }

    /// Keeps the deliveries that `keep` accepts; returns the leases of the others.
    pub(super) fn retain(&mut self, keep: impl Fn(&LeasedDelivery) -> bool) -> Vec<LeaseRef> {
        let mut removed = Vec::new();
        self.items.retain(|item| {
            let stays = keep(&item.delivery);
            if !stays {
                removed.push(lease_of(&item.delivery));
            }
            stays
        });
        if !removed.is_empty() {
            self.bytes = self.items.iter().map(array_bytes).sum::<usize>() + 1;
        }
        removed
    }

    /// Its deliveries, by value.
    pub(super) fn into_deliveries(self) -> impl Iterator<Item = LeasedDelivery> {
        self.items.into_iter().map(|item| item.delivery)
    }

    /// Its deliveries.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &LeasedDelivery> {
        self.items.iter().map(|item| &item.delivery)
    }

    /// The exact bytes of the request's body.
    pub(super) fn body(&self) -> Bytes {
        let bodies = || self.items.iter().map(|item| &item.rendered.body);
        if !self.is_array {
            return bodies().next().cloned().unwrap_or_default();
        }
        let mut body = Vec::with_capacity(self.bytes);
        for (index, item) in bodies().enumerate() {
            body.push(if index == 0 { b'[' } else { b',' });
            body.extend_from_slice(item);
        }
        body.push(b']');
        Bytes::from(body)
    }

    /// The request's headers. A batch of several keeps its own copy: it is needed again after a split.
    pub(super) fn headers(&mut self) -> HeaderMap {
        match self.items.as_mut_slice() {
            [only] => std::mem::take(&mut only.rendered.headers),
            [first, ..] => first.rendered.headers.clone(),
            [] => HeaderMap::new(),
        }
    }

    /// The trace context of all its events; none when they belong to different traces.
    pub(super) fn trace(&self) -> Option<&Trace> {
        let trace = self.items.first()?.delivery.event.trace.as_deref()?;
        let of = |item: &BatchItem| item.delivery.event.trace.as_ref().map(|it| it.trace_id);
        let is_shared = self.items.iter().all(|item| of(item) == Some(trace.trace_id));
        is_shared.then_some(trace)
    }

    /// The `webhook-id`: the delivery's public id for one, a digest of all ids for several. Resending the
    /// same deliveries gives the same id.
    pub(super) fn webhook_id(&self) -> String {
        if let [only] = self.items.as_slice() {
            let delivery = &only.delivery;
            return PublicId::new(Noun::Delivery, delivery.accepted_at, delivery.id.0).to_string();
        }
        let keys: Vec<u8> =
            self.items.iter().flat_map(|item| item.delivery.id.0.to_be_bytes()).collect();
        let first = self.items.first().map_or(0, |item| item.delivery.accepted_at.as_micros());
        let digest = sha256(&[&first.to_be_bytes(), &keys]);
        format!("bat_{}", hex::encode(&digest[..16]))
    }
}

/// An item's bytes in the array: its body and one separator or bracket.
fn array_bytes(item: &BatchItem) -> usize {
    item.rendered.body.len() + 1
}

fn is_same_group(one: &Rendered, other: &Rendered) -> bool {
    one.method == other.method && one.url == other.url && one.headers == other.headers
}

/// Method, URL and headers as text. Headers in another order give another key, which costs one request
/// more.
fn group_key(rendered: &Rendered) -> String {
    let mut text = format!("{} {}\n", rendered.method, rendered.url);
    for (name, value) in &rendered.headers {
        text.push_str(name.as_str());
        text.push(':');
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
