//! The place of a piece of work in a distributed trace, as the W3C recommendation Trace Context has it
//! (w3.org/TR/trace-context).

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::DeploymentId;

/// A span, by its trace and its own id. As text it is a `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// A span of a trace. `None` when either id is all zeros, which means that there is none.
    #[must_use]
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled })
    }

    /// Reads a `traceparent`. A later version is read as far as this one goes; anything else is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = bytes::<1>(version)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = bytes::<1>(flags)?;
        Self::new(bytes(trace)?, bytes(span)?, flags & 1 == 1)
    }

    /// The span of a deployment, in the trace of the request that asked for it, or in one of its own. It follows from the
    /// record alone: what is done after a restart joins it.
    #[must_use]
    pub fn of_deployment(id: &DeploymentId, request: Option<&Self>) -> Self {
        let digest: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&digest[..16]);
        span.copy_from_slice(&digest[16..24]);
        let sampled = request.is_none_or(|request| request.sampled);
        Self { trace: request.map_or(trace, |request| request.trace), span, sampled }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn sibling(&self, span: [u8; 8]) -> Self {
        Self { span, ..*self }
    }

    /// The trace's id.
    #[must_use]
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span's id.
    #[must_use]
    pub fn span(&self) -> [u8; 8] {
        self.span
    }

    /// Whether whoever began the trace wants it kept.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id as 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), u8::from(self.sampled))
    }
}

impl TryFrom<String> for TraceContext {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no traceparent"))
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower-case hex digits, and no more than are needed.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    if text.len() != 2 * N || !lower {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back() {
        let context = TraceContext::parse(PARENT).expect("the example of the recommendation");
        assert_eq!(context.to_string(), PARENT);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
        // A later version may have more behind it.
        assert_eq!(TraceContext::parse(&PARENT.replacen("00", "01", 1).replace("-01", "-01-more")), Some(context));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let upper = PARENT.to_uppercase();
        let more = format!("{PARENT}-x");
        for bad in ["", "00", "x", zeros, &upper, &more, &PARENT.replacen("00", "ff", 1), "00-é-é-é"] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_deployments_span_follows_from_its_record() {
        let id = DeploymentId("01k".into());
        let request = TraceContext::parse(PARENT);
        let of = |request: Option<&TraceContext>| TraceContext::of_deployment(&id, request);
        assert_eq!(of(None), of(None));
        assert_eq!(of(request.as_ref()).trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(of(request.as_ref()).span(), of(None).span());
        assert_ne!(TraceContext::of_deployment(&DeploymentId("01l".into()), None).trace_id(), of(None).trace_id());
    }
}
