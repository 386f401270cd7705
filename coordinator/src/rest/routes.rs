//! Which methods there are, read from the protos this program was built with.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, Method};
use berth_core::error::{Code, Error};
use prost_reflect::{DescriptorPool, MethodDescriptor};

/// The package whose services have routes.
const PACKAGE: &str = "berth.api.v1";

/// How the names of methods begin that change nothing. Whatever is called otherwise is a POST.
const READS: &[&str] =
    &["Get", "List", "Show", "Explain", "Info", "Members", "Events", "Follow", "Logs", "Check", "SaveSnapshot"];

/// One method over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// `/api/v1/endpoints/set-traffic`.
    pub(super) path: String,
    /// The method.
    pub(super) method: MethodDescriptor,
}

/// Every route, by path.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    pub(super) pool: DescriptorPool,
    by_path: BTreeMap<String, Route>,
}

// === impl Routes ===

impl Routes {
    /// Reads them from the descriptors.
    pub(super) fn read() -> Result<Self, Error> {
        let pool = DescriptorPool::decode(berth_proto::DESCRIPTORS)
            .map_err(|error| Error::new(Code::Internal, "the protos cannot be read").why(error.to_string()))?;
        let mut by_path = BTreeMap::new();
        for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
            for method in service.methods() {
                let path = format!("/api/v1/{}/{}", kebab(service.name()), kebab(method.name()));
                by_path.insert(path.clone(), Route { path, method });
            }
        }
        Ok(Self { pool, by_path })
    }

    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        self.by_path.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.by_path.values()
    }
}

// === impl Route ===

impl Route {
    /// Returns whether it is a GET: it changes nothing and all it takes fits into a query.
    pub(super) fn is_read(&self) -> bool {
        let input = self.method.input();
        let fits = input.fields().all(|field| !field.is_map() && field.kind().as_message().is_none());
        let is_named = input.get_field_by_name("request_id").is_some();
        let reads = READS.iter().any(|prefix| self.method.name().starts_with(prefix));
        reads && fits && !is_named && !self.method.is_client_streaming()
    }

    /// Returns whether its body is bytes and its first message is the query.
    pub(super) fn is_upload(&self) -> bool {
        self.method.is_client_streaming()
    }

    pub(super) fn verb(&self) -> Method {
        if self.is_read() { Method::GET } else { Method::POST }
    }

    pub(super) fn allow(&self) -> HeaderValue {
        HeaderValue::from_static(if self.is_read() { "GET" } else { "POST" })
    }

    /// Returns where gRPC calls it.
    pub(super) fn grpc_path(&self) -> String {
        format!("/{}/{}", self.method.parent_service().full_name(), self.method.name())
    }
}

/// Writes `SetTraffic` as `set-traffic`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_a_post() {
        let routes = Routes::read().expect("our protos");
        assert!(routes.iter().count() >= 35, "every method has a route");
        for (path, read) in [
            ("/api/v1/endpoints/get", true),
            ("/api/v1/endpoints/set-traffic", false),
            ("/api/v1/endpoints/list-keys", true),
            ("/api/v1/deployments/explain", true),
            ("/api/v1/watch/events", true),
            ("/api/v1/boards/follow", true),
            ("/api/v1/plans/plan", false),
            ("/api/v1/assets/upload", false),
            ("/api/v1/cluster/add-member", false),
            ("/api/v1/cluster/transfer-leadership", false),
            ("/api/v1/cluster/get-settings", true),
            ("/api/v1/cluster/set-settings", false),
        ] {
            assert_eq!(routes.find(path).map(Route::is_read), Some(read), "{path}");
        }
        for route in routes.iter().filter(|route| route.method.input().get_field_by_name("request_id").is_some()) {
            assert!(!route.is_read(), "{} takes a request id", route.path);
        }
    }
}
