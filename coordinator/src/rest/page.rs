//! The page for people: what the cluster is doing, read-only, and a viewer of the API.
//!
//! Six files inside the program, written as they are served: no build chain, nothing fetched from elsewhere. They know
//! the cluster through the API alone.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// A page may use what this member serves and nothing else; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Every file: its path, its media type, its text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/docs", "text/html; charset=utf-8", include_str!("page/docs.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/page/make.js", "text/javascript; charset=utf-8", include_str!("page/make.js")),
    ("/page/status.js", "text/javascript; charset=utf-8", include_str!("page/status.js")),
    ("/page/docs.js", "text/javascript; charset=utf-8", include_str!("page/docs.js")),
];

/// Returns the routes of the files.
pub(super) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, media, text)| {
        router.route(path, get(move || async move { file(media, text) }))
    })
}

fn file(media: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
