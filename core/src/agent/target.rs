//! Probe targets: what a runtime answers when it is asked how it is.

use super::ProbeKind;
use crate::model::{DeploymentSpec, HttpRoute, Runtime};

/// How a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeTarget {
    /// `GET` of this path; any status from 200 to 399 passes.
    Http(String),
    /// A connection that is accepted.
    Connect,
}

// === impl ProbeTarget ===

impl ProbeTarget {
    /// Returns how to ask a process of `spec`.
    ///
    /// Routes of the environment win. A program that names none may speak anything (gRPC, say), so the only fair
    /// question is whether it accepts a connection.
    pub fn of(spec: &DeploymentSpec, kind: ProbeKind) -> Self {
        let route: Option<&HttpRoute> = match kind {
            ProbeKind::Liveness => spec.environment.liveness_route.as_ref(),
            ProbeKind::Readiness => spec.environment.readiness_route.as_ref(),
        };
        match (&spec.runtime, route) {
            (Runtime::Onnx, _) if kind == ProbeKind::Liveness => Self::Http("/v2/health/live".to_owned()),
            (Runtime::Onnx, _) => Self::Http("/v2/health/ready".to_owned()),
            (_, Some(route)) => Self::Http(rooted(&route.path)),
            (Runtime::Python, None) => Self::Http("/".to_owned()),
            (Runtime::Command(_), None) => Self::Connect,
        }
    }
}

/// Some of Azure's samples write routes without their first slash.
fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_is_asked_in_its_own_words() {
        let route = |path: &str| Some(HttpRoute { path: path.into(), port: 5_001 });
        for (runtime, live, kind, expected) in [
            (Runtime::Python, None, ProbeKind::Liveness, ProbeTarget::Http("/".into())),
            (Runtime::Python, route("live"), ProbeKind::Liveness, ProbeTarget::Http("/live".into())),
            (Runtime::Python, route("/live"), ProbeKind::Readiness, ProbeTarget::Http("/".into())),
            (Runtime::Onnx, route("/x"), ProbeKind::Liveness, ProbeTarget::Http("/v2/health/live".into())),
            (Runtime::Onnx, None, ProbeKind::Readiness, ProbeTarget::Http("/v2/health/ready".into())),
            (Runtime::Command(vec![]), None, ProbeKind::Readiness, ProbeTarget::Connect),
            (Runtime::Command(vec![]), route("/ping"), ProbeKind::Liveness, ProbeTarget::Http("/ping".into())),
        ] {
            let mut spec = DeploymentSpec::new(runtime.clone());
            spec.environment.liveness_route = live.clone();
            assert_eq!(ProbeTarget::of(&spec, kind), expected, "{runtime:?} {live:?} {kind:?}");
        }
    }
}
