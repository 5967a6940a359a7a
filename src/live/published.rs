//! An item of a feed as its subscribers get it: each form of it is rendered once, for the first of them.

use std::sync::OnceLock;

use bytes::Bytes;

use super::position::Position;

/// A form that an item is streamed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// JSON, for the API.
    Json,
    /// A row of a page.
    Html,
}

/// A published item.
#[derive(Debug)]
pub struct Published<T> {
    /// Where it is in its feed.
    pub position: Position,
    /// The item.
    pub item: T,
    json: OnceLock<Bytes>,
    html: OnceLock<Bytes>,
}

impl<T> Published<T> {
    pub(super) const fn new(position: Position, item: T) -> Self {
        Self { position, item, json: OnceLock::new(), html: OnceLock::new() }
    }

    /// The bytes of a form, which depend on nothing but the item.
    pub(super) fn rendered(&self, form: Rendering, render: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let known = match form {
            Rendering::Json => &self.json,
            Rendering::Html => &self.html,
        };
        known.get_or_init(|| render(self)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_rendered_once() {
        let position = Position { epoch: 1, recording: 0, number: 1 };
        let published = Published::new(position, 7);
        let mut rendered = 0;
        for _ in 0..50 {
            let bytes = published.rendered(Rendering::Json, |it| {
                rendered += 1;
                Bytes::from(it.item.to_string())
            });
            assert_eq!(bytes, "7");
        }
        assert_eq!(rendered, 1);
        assert_eq!(published.rendered(Rendering::Html, |_| Bytes::from_static(b"<li>")), "<li>");
    }
}
