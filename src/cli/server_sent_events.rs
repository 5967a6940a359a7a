//! The client's side of server-sent events: bytes as they come, into events with their id.

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerSentEvent {
    /// Its type; empty for a message.
    pub(super) kind: String,
    /// Its data, lines joined.
    pub(super) data: String,
}

/// Reads a stream of events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// Bytes of a line that is not complete.
    rest: Vec<u8>,
    current: ServerSentEvent,
    has_data: bool,
    next_id: Option<String>,
    /// The id of the last event, to return with.
    last_id: Option<String>,
}

impl EventReader {
    /// The events that these bytes complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<ServerSentEvent> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        events
    }

    /// The connection has ended: what is not complete is dropped. The id to return with.
    pub(super) fn end(&mut self) -> Option<&str> {
        self.rest.clear();
        self.current = ServerSentEvent::default();
        self.has_data = false;
        self.last_id.as_deref()
    }

    fn line(&mut self, line: &str) -> Option<ServerSentEvent> {
        if line.is_empty() {
            self.last_id = self.next_id.take().or(self.last_id.take());
            let event = std::mem::take(&mut self.current);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.current.kind),
            "id" => self.next_id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_their_bytes_are_cut() {
        let text = ": watching\nretry: 1000\nid: a-0-0\n\nid: a-0-1\ndata: one\ndata: more\r\n\r\n\
                    event: missed\ndata: {\"missed\":3}\nid: a-0-4\n\ndata: cut";
        let event = |kind: &str, data: &str| ServerSentEvent {
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        let expected = [event("", "one\nmore"), event("missed", "{\"missed\":3}")];
        for size in [1, 2, 7, text.len()] {
            let mut reader = EventReader::default();
            let pieces = text.as_bytes().chunks(size);
            let events: Vec<_> = pieces.flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(events, expected, "{size} bytes at once");
            assert_eq!(reader.end(), Some("a-0-4"));
            assert_eq!(reader.read(b"data: whole\n\n"), [event("", "whole")]);
        }
    }
}
