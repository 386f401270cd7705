//! The API over HTTP and JSON, and the page for people.
//!
//! There is one API: every route here is a method of the published protos, its JSON is the standard mapping of its
//! messages, and a request goes through the same services as a gRPC call of the same name. Nothing here knows what a
//! method does; a new one has its route, its place in `/openapi.json` and its line in the viewer without a change.

mod answer;
mod call;
mod guard;
mod openapi;
mod page;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod promises;
mod routes;
mod swagger;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use berth_core::error::{Code, Error, nearest};

use guard::Guard;
use routes::Routes;

/// What the routes share.
#[derive(Clone)]
struct Rest(Arc<Inner>);

struct Inner {
    routes: Routes,
    /// The document, written once: it changes with the program alone.
    openapi: String,
    /// The services that gRPC calls reach.
    services: Router,
    guard: Guard,
}

/// Returns the routes beside `services`, which answer them. `advertise` is how this member is called by others.
pub(crate) fn router(services: Router, advertise: &str) -> Result<Router, Error> {
    let routes = Routes::read()?;
    let openapi = openapi::document(&routes).to_string();
    let rest = Rest(Arc::new(Inner { routes, openapi, services, guard: Guard::new(advertise) }));
    Ok(Router::new()
        .route("/api/v1/{service}/{method}", any(answer_call))
        .route("/openapi.json", get(document))
        .route("/endpoints/{endpoint}/swagger.json", get(endpoint_document))
        .with_state(rest)
        .merge(page::router()))
}

async fn document(State(rest): State<Rest>, uri: Uri, headers: HeaderMap) -> Response {
    match rest.0.guard.check(&uri, &headers) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], rest.0.openapi.clone()).into_response(),
        Err(error) => answer::refused(&error),
    }
}

async fn endpoint_document(
    State(rest): State<Rest>,
    Path(endpoint): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let inner = &rest.0;
    inner.guard.check(&uri, &headers).map_err(|error| answer::refused(&error))?;
    let found = swagger::describe(&inner.routes, &inner.services, &endpoint, &headers).await;
    found.map(|document| json(StatusCode::OK, document.to_string())).map_err(|error| answer::refused(&error))
}

async fn answer_call(State(rest): State<Rest>, request: Request) -> Response {
    let inner = &rest.0;
    if let Err(error) = inner.guard.check(request.uri(), request.headers()) {
        return answer::refused(&error);
    }
    let path = request.uri().path();
    let Some(route) = inner.routes.find(path) else {
        let near = nearest(path, inner.routes.iter().map(|route| route.path.as_str()));
        let try_ = near.map_or_else(|| "`/openapi.json` lists them".to_owned(), |near| format!("`{near}`"));
        return answer::refused(&Error::new(Code::RouteNotFound, format!("there is no route `{path}`")).try_(try_));
    };
    if request.method() != route.verb() {
        let error = Error::new(Code::Invalid, format!("`{path}` is not called by {}", request.method()));
        let mut response = answer::refused(&error.try_(format!("{} {path}", route.verb())));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, route.allow());
        return response;
    }
    match call::call(route, inner.services.clone(), request).await {
        Ok(response) => response,
        Err(error) => answer::refused(&error),
    }
}

/// Makes a response of JSON.
fn json(status: StatusCode, text: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, text.into()).into_response()
}
