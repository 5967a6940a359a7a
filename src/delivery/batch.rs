//! Packs: rendered deliveries of one mapping revision that go in one request: one as it is, or, where
//! the mapping batches, those with the same method, URL and headers as a JSON array. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use smallvec::{SmallVec, smallvec};

use super::queue::lease_of;
use crate::domain::digest::sha256;
use crate::domain::id::{Noun, PublicId, RevisionId};
use crate::domain::mapping::Batching;
use crate::domain::trace::Trace;
use crate::mapping::Rendered;
use crate::store::{LeaseRef, LeasedDelivery};

/// One as a rule, which then needs no allocation of its own; where events share requests, many.
pub(super) type Few<T> = SmallVec<[T; 1]>;

/// A delivery with what it sends.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) delivery: LeasedDelivery,
    pub(super) rendered: Rendered,
    /// What the insert function wrote about it.
    pub(super) console: Option<String>,
}

/// Deliveries that share a request; in each, method, URL and headers are the same.
#[derive(Debug)]
pub(super) struct Pack {
    /// What they were rendered with.
    pub(super) revision_id: RevisionId,
    pub(super) items: Few<Item>,
    /// Whether the body is an array of what the items send.
    pub(super) is_array: bool,
    bytes: usize,
}

impl Pack {
    fn new(revision_id: RevisionId, is_array: bool, items: Few<Item>) -> Self {
        let bytes = items.iter().map(array_bytes).sum::<usize>() + 1;
        Self { revision_id, items, is_array, bytes }
    }

    /// Sorts items into as few packs as the limits allow, in their order.
    pub(super) fn sort(
        revision_id: RevisionId,
        batching: Option<Batching>,
        items: Few<Item>,
    ) -> Few<Self> {
        let Some(batching) = batching else {
            let alone =
                items.into_iter().map(|item| Self::new(revision_id, false, smallvec![item]));
            return alone.collect();
        };
        let size = usize::try_from(batching.size).unwrap_or(usize::MAX);
        let mut packs: Few<Self> = Few::new();
        // The pack that still takes items of a kind; most often there is one kind.
        let mut open: HashMap<String, usize> = HashMap::new();
        let mut last = None;
        for item in items {
            let known = last
                .filter(|at: &usize| is_same(&packs[*at].items[0].rendered, &item.rendered))
                .or_else(|| open.get(&kind(&item.rendered)).copied());
            let at = match known.filter(|at| packs[*at].takes(&item, size)) {
                Some(at) => {
                    packs[at].push(item);
                    at
                }
                None => {
                    open.insert(kind(&item.rendered), packs.len());
                    packs.push(Self::new(revision_id, true, smallvec![item]));
                    packs.len() - 1
                }
            };
            last = Some(at);
        }
        packs
    }

    fn takes(&self, item: &Item, size: usize) -> bool {
        self.items.len() < size && self.bytes + array_bytes(item) <= Batching::BODY_BYTES
    }

    fn push(&mut self, item: Item) {
        self.bytes += array_bytes(&item);
        self.items.push(item);
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Both halves, the first one the larger by at most one.
    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = self.items.drain(self.items.len().div_ceil(2)..).collect();
        [self.items, second].map(|items| Self::new(self.revision_id, self.is_array, items))
    }

    /// Takes out what does not fit; returns the leases.
    pub(super) fn take_out(&mut self, fits: impl Fn(&LeasedDelivery) -> bool) -> Vec<LeaseRef> {
        let mut leases = Vec::new();
        self.items.retain(|item| {
            let stays = fits(&item.delivery);
            if !stays {
                leases.push(lease_of(&item.delivery));
            }
            stays
        });
        if !leases.is_empty() {
            self.bytes = self.items.iter().map(array_bytes).sum::<usize>() + 1;
        }
        leases
    }

    /// Its deliveries.
    pub(super) fn into_deliveries(self) -> impl Iterator<Item = LeasedDelivery> {
        self.items.into_iter().map(|item| item.delivery)
    }

    /// Its deliveries, to be looked at.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &LeasedDelivery> {
        self.items.iter().map(|item| &item.delivery)
    }

    /// Its deliveries, to be changed.
    pub(super) fn deliveries_mut(&mut self) -> impl Iterator<Item = &mut LeasedDelivery> {
        self.items.iter_mut().map(|item| &mut item.delivery)
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

    /// The headers of its request. Only several items need them again, when they are halved.
    pub(super) fn headers(&mut self) -> HeaderMap {
        match self.items.as_mut_slice() {
            [only] => std::mem::take(&mut only.rendered.headers),
            [first, ..] => first.rendered.headers.clone(),
            [] => HeaderMap::new(),
        }
    }

    /// The trace that all of it is part of; none when its events are not of the same one.
    pub(super) fn trace(&self) -> Option<&Trace> {
        let trace = self.items.first()?.delivery.event.trace.as_deref()?;
        let of = |item: &Item| item.delivery.event.trace.as_ref().map(|it| it.trace_id);
        let is_shared = self.items.iter().all(|item| of(item) == Some(trace.trace_id));
        is_shared.then_some(trace)
    }

    /// What `webhook-id` says: a delivery alone has its own id; several have one that follows from
    /// theirs, so that the same ones sent again have it again.
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

/// What an item takes in an array: its bytes and a comma, or the bracket in the comma's place.
fn array_bytes(item: &Item) -> usize {
    item.rendered.body.len() + 1
}

fn is_same(one: &Rendered, other: &Rendered) -> bool {
    one.method == other.method && one.url == other.url && one.headers == other.headers
}

/// Method, URL and headers in one text. Headers in another order are another kind: that costs a
/// request, nothing else.
fn kind(rendered: &Rendered) -> String {
    let mut text = format!("{} {}\n", rendered.method, rendered.url);
    push_headers(&mut text, &rendered.headers);
    text
}

fn push_headers(text: &mut String, headers: &HeaderMap) {
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push(':');
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        text.push('\n');
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
