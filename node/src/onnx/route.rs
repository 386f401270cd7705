//! What a path and method ask of the ONNX server.

use http::Method;

/// A request by its path and method.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /`: the probe of Azure's inference server.
    Probe,
    /// `GET /v2`.
    Server,
    /// `GET /swagger.json`.
    Swagger,
    /// `GET /v2/health/live`.
    Live,
    /// `GET /v2/health/ready`.
    Ready,
    /// `GET /v2/models`.
    Models,
    /// `GET /v2/models/{name}[/versions/{version}]/ready`.
    ModelReady { name: String },
    /// `GET /v2/models/{name}[/versions/{version}]`.
    Metadata { name: String, version: Option<String> },
    /// A request that runs the model.
    Call(Call),
    /// The path exists, with these methods.
    WrongMethod(&'static str),
    /// No such path.
    Nothing,
}

/// The protocol of a request that runs the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `POST /v2/models/{name}[/versions/{version}]/infer`; any name is the model's, and the answer repeats it.
    Infer { name: String, version: Option<String> },
    /// `POST /score`.
    Score,
}

// === impl Route ===

impl Route {
    /// Resolves a request.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        const READ: &str = "GET, HEAD";
        let read =
            |route| if method == Method::GET || method == Method::HEAD { route } else { Self::WrongMethod(READ) };
        let post = |call| if method == Method::POST { Self::Call(call) } else { Self::WrongMethod("POST") };
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let model = |name: &str, version: Option<&str>, rest: &[&str]| {
            let (name, version) = (decode(name), version.map(decode));
            match rest {
                [] => read(Self::Metadata { name, version }),
                ["ready"] => read(Self::ModelReady { name }),
                ["infer"] => post(Call::Infer { name, version }),
                _ => Self::Nothing,
            }
        };
        match segments[..] {
            [""] => read(Self::Probe),
            ["score"] => post(Call::Score),
            ["swagger.json"] => read(Self::Swagger),
            ["v2"] => read(Self::Server),
            ["v2", "health", "live"] => read(Self::Live),
            ["v2", "health", "ready"] => read(Self::Ready),
            ["v2", "models"] => read(Self::Models),
            ["v2", "models", name, "versions", version, ref rest @ ..] => model(name, Some(version), rest),
            ["v2", "models", name, ref rest @ ..] => model(name, None, rest),
            _ => Self::Nothing,
        }
    }
}

/// Undoes percent-encoding; what is not well-formed stays as it is.
fn decode(segment: &str) -> String {
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve() {
        let infer = |name: &str, version: Option<&str>| {
            Route::Call(Call::Infer { name: name.to_owned(), version: version.map(str::to_owned) })
        };
        let metadata = |name: &str, version: Option<&str>| Route::Metadata {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        for (method, path, route) in [
            ("GET", "/", Route::Probe),
            ("HEAD", "/", Route::Probe),
            ("POST", "/", Route::WrongMethod("GET, HEAD")),
            ("GET", "/v2", Route::Server),
            ("GET", "/v2/", Route::Server),
            ("GET", "/swagger.json", Route::Swagger),
            ("POST", "/swagger.json", Route::WrongMethod("GET, HEAD")),
            ("GET", "/v2/health/live", Route::Live),
            ("GET", "/v2/health/ready", Route::Ready),
            ("GET", "/v2/models", Route::Models),
            ("GET", "/v2/models/digits", metadata("digits", None)),
            ("GET", "/v2/models/digits/versions/1", metadata("digits", Some("1"))),
            ("GET", "/v2/models/digits/ready", Route::ModelReady { name: "digits".to_owned() }),
            ("GET", "/v2/models/digits/versions/1/ready", Route::ModelReady { name: "digits".to_owned() }),
            ("POST", "/v2/models/digits/infer", infer("digits", None)),
            ("POST", "/v2/models/a%20b%zz/versions/green/infer", infer("a b%zz", Some("green"))),
            ("GET", "/v2/models/digits/infer", Route::WrongMethod("POST")),
            ("POST", "/score", Route::Call(Call::Score)),
            ("GET", "/score", Route::WrongMethod("POST")),
            ("GET", "/v2/models/digits/config", Route::Nothing),
            ("GET", "/v2/models/digits/versions", Route::Nothing),
            ("GET", "/v3", Route::Nothing),
        ] {
            let method = method.parse().expect("a method");
            assert_eq!(Route::of(&method, path), route, "{method} {path}");
        }
    }
}
