//! Trace context: where a sender's trace stands, handed on to receivers as W3C Trace Context has it.
//! Kept with the event, so that a retry after a restart is still part of the trace.

/// What of a `tracestate` is handed on: as much as every participant has to.
const STATE_BYTES: usize = 512;

/// Where a trace stands: its id, and the span that what comes next is a child of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace; never all zeros.
    pub trace_id: [u8; 16],
    /// The span before; never all zeros.
    pub parent_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// What participants noted: a `tracestate`, handed on as it came.
    pub state: Option<Box<str>>,
}

impl Trace {
    /// Reads a `traceparent`, and the `tracestate` beside it; none when it is not one, or of a kind
    /// that cannot be read. A `tracestate` that is too long or not printable is left out.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let version = bytes::<1>(parts.next()?)?[0];
        let trace_id = bytes(parts.next()?)?;
        let parent_id = bytes(parts.next()?)?;
        let flags = bytes::<1>(parts.next()?)?[0];
        // Later versions may say more at the end; this one says no more, and 255 is none.
        let is_known = version != 0xff && (version > 0 || parts.next().is_none());
        let is_something = trace_id != [0; 16] && parent_id != [0; 8];
        (is_known && is_something).then(|| Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
            state: tracestate.map(str::trim).filter(|it| is_state(it)).map(Into::into),
        })
    }

    /// The same trace with this span as the one before.
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

    /// As one text: the `traceparent`, and after a blank the `tracestate`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.traceparent();
        if let Some(state) = &self.state {
            text.push(' ');
            text.push_str(state);
        }
        text
    }

    /// Reads [`Trace::to_text`] back.
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

/// Small hexadecimal digits only, as many as it takes.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_small = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (is_small && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        for (parent, state) in [(PARENT, None), (PARENT, Some("congo=t61rcWkgMzE,rojo=00f067"))] {
            let trace = Trace::parse(parent, state).expect("a trace");
            assert_eq!(trace.traceparent(), parent);
            assert_eq!(Trace::parse_text(&trace.to_text()), Some(trace));
        }
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!Trace::parse(&unsampled, None).expect("a trace").sampled);
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let trace = Trace::parse(PARENT, Some("a=b")).expect("a trace");
        let child = trace.child([0xab; 8]);
        assert_eq!(child.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-abababababababab-01");
        assert_eq!(child.state, trace.state);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = PARENT.replacen("00", "cc", 1) + "-what-comes-next";
        assert_eq!(Trace::parse(&later, None).expect("a trace").traceparent(), PARENT);
        let flags = PARENT.replace("-01", "-ff");
        assert_eq!(Trace::parse(&flags, None).expect("a trace").traceparent(), PARENT);
    }

    #[test]
    fn what_is_no_trace_is_none() {
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
