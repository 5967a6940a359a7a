//! W3C Trace Context of an event's request, propagated to receivers. Stored with the event, so that a
//! retry after a restart is part of the same trace.

/// The maximum length of a propagated `tracestate`: the minimum that the standard requires.
const STATE_BYTES: usize = 512;

/// A trace context: the trace and the parent span of what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace id; never all zeros.
    pub trace_id: [u8; 16],
    /// The parent span id; never all zeros.
    pub parent_id: [u8; 8],
    /// Whether the trace is sampled.
    pub sampled: bool,
    /// The `tracestate`, propagated unchanged.
    pub state: Option<Box<str>>,
}

impl Trace {
    /// Parses a `traceparent` and its `tracestate`; none when it is invalid or of an unknown version. A
    /// `tracestate` that is too long or not printable is dropped.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let version = bytes::<1>(parts.next()?)?[0];
        let trace_id = bytes(parts.next()?)?;
        let parent_id = bytes(parts.next()?)?;
        let flags = bytes::<1>(parts.next()?)?[0];
        // Later versions may append fields; version 0 has none, and version 255 is invalid.
        let is_known = version != 0xff && (version > 0 || parts.next().is_none());
        let is_not_zero = trace_id != [0; 16] && parent_id != [0; 8];
        (is_known && is_not_zero).then(|| Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
            state: tracestate.map(str::trim).filter(|it| is_state(it)).map(Into::into),
        })
    }

    /// The same trace with this span as the parent.
    #[must_use]
    pub fn child(&self, span_id: [u8; 8]) -> Self {
        Self { parent_id: span_id, ..self.clone() }
    }

    /// The `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let (trace_id, parent_id) = (hex::encode(self.trace_id), hex::encode(self.parent_id));
        format!("00-{trace_id}-{parent_id}-{:02x}", u8::from(self.sampled))
    }

    /// The `traceparent`, a space, and the `tracestate`, as one text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.traceparent();
        if let Some(state) = &self.state {
            text.push(' ');
            text.push_str(state);
        }
        text
    }

    /// Parses [`Trace::to_text`].
    #[must_use]
    pub fn parse_text(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            Some((traceparent, state)) => Self::parse(traceparent, Some(state)),
            None => Self::parse(text, None),
        }
    }
}

fn is_state(text: &str) -> bool {
    let fits = (1..=STATE_BYTES).contains(&text.len());
    fits && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t')
}

/// Exactly `N` bytes in lowercase hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lowercase = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (is_lowercase && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_context_round_trips() {
        for (parent, state) in [(PARENT, None), (PARENT, Some("congo=t61rcWkgMzE,rojo=00f067"))] {
            let trace = Trace::parse(parent, state).expect("a trace");
            assert_eq!(trace.traceparent(), parent);
            assert_eq!(Trace::parse_text(&trace.to_text()), Some(trace));
        }
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!Trace::parse(&unsampled, None).expect("a trace").sampled);
    }

    #[test]
    fn a_child_span_keeps_the_trace_and_its_state() {
        let trace = Trace::parse(PARENT, Some("a=b")).expect("a trace");
        let child = trace.child([0xab; 8]);
        assert_eq!(child.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-abababababababab-01");
        assert_eq!(child.state, trace.state);
    }

    #[test]
    fn later_versions_of_traceparent_are_parsed_as_version_0() {
        let later = PARENT.replacen("00", "cc", 1) + "-what-comes-next";
        assert_eq!(Trace::parse(&later, None).expect("a trace").traceparent(), PARENT);
        let flags = PARENT.replace("-01", "-ff");
        assert_eq!(Trace::parse(&flags, None).expect("a trace").traceparent(), PARENT);
    }

    #[test]
    fn an_invalid_trace_context_is_ignored() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(text, None), None, "{text}");
        }
        for state in ["", "é=1", "a=\r\nb", &"x".repeat(513)] {
            let trace = Trace::parse(PARENT, Some(state)).expect("a trace");
            assert_eq!(trace.state, None, "{state}");
        }
    }
}
