//! The editor a person has chosen, and what may be edited of an endpoint or a deployment.

use std::io::{self, Read as _, Write as _};

use berth_client::{
    Client,
    api::{PlanRequest, PutDeploymentRequest, PutEndpointRequest},
};
use berth_core::error::{Code, Error, Problem, nearest};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tempfile::NamedTempFile;

/// The largest text that is taken back from an editor.
const EDITED_BYTES_MAX: u64 = 1 << 20;

/// Fields of files, by the names that they have here.
const RENAMED: &[(&str, &str)] = &[
    ("constraints", "label_rules"),
    ("max_body_mib", "max_body_bytes"),
    ("mirror_settings", "mirror_rules"),
    ("code_configuration", "code"),
    ("cpu", "cpu_milli"),
    ("memory", "memory_mib"),
    ("disk", "disk_mib"),
    ("lost_after", "lost_after_ms"),
];

/// What came back, and the file it is in: whoever cannot use it leaves it there, for what was typed not to be lost.
pub(crate) struct Edited {
    pub(crate) text: String,
    pub(crate) file: NamedTempFile,
}

/// What a person edits: the text, and what it was made of.
pub(crate) struct Draft {
    pub(crate) text: String,
    of: Wanted,
}

/// What is to become of what was edited, unless somebody else changed it meanwhile.
pub(crate) enum Wanted {
    Endpoint(Box<PutEndpointRequest>),
    Deployment(Box<PutDeploymentRequest>),
}

// === impl Wanted ===

impl Wanted {
    /// Asks what it would change.
    pub(crate) fn plan(&self) -> PlanRequest {
        let mut ask = PlanRequest::default();
        match self {
            Self::Endpoint(request) => ask.endpoints.push((**request).clone()),
            Self::Deployment(request) => ask.deployments.push((**request).clone()),
        }
        ask
    }
}

// === impl Draft ===

impl Draft {
    /// Writes down what may be changed of an endpoint.
    pub(crate) async fn of_endpoint(client: &Client, name: &str) -> Result<Self, Error> {
        let found = client.get_endpoint(name).await?;
        let text = crate::output::as_yaml(&found.spec)?;
        let request = PutEndpointRequest { name: found.name, if_revision: Some(found.revision), ..Default::default() };
        Ok(Self { text, of: Wanted::Endpoint(Box::new(request)) })
    }

    /// Writes down what may be changed of a deployment.
    pub(crate) async fn of_deployment(client: &Client, endpoint: &str, name: &str) -> Result<Self, Error> {
        let found = client.get_deployment(endpoint, name).await?;
        let text = crate::output::as_yaml(&found.spec)?;
        let request = PutDeploymentRequest {
            endpoint: found.endpoint,
            name: found.name,
            if_revision: Some(found.revision),
            ..Default::default()
        };
        Ok(Self { text, of: Wanted::Deployment(Box::new(request)) })
    }

    /// Reads what it became.
    pub(crate) fn edited(self, text: &str) -> Result<Wanted, Error> {
        let value = crate::yaml::json(text)?;
        Ok(match self.of {
            Wanted::Endpoint(mut request) => {
                request.spec = Some(fitted(value)?);
                Wanted::Endpoint(request)
            }
            Wanted::Deployment(mut request) => {
                request.spec = Some(fitted(value)?);
                Wanted::Deployment(request)
            }
        })
    }
}

/// Reads a specification, or says which of its fields cannot be read and which nobody knows.
fn fitted<T: DeserializeOwned + Serialize>(value: Value) -> Result<T, Error> {
    let unfit = Error::new(Code::Invalid, "what was edited does not fit");
    let read: T = serde_path_to_error::deserialize(&value).map_err(|error| {
        let (field, what) = (error.path().to_string(), told(&error.inner().to_string()));
        if field == "." {
            return unfit.clone().why(what);
        }
        Error { problems: vec![Problem { field, what, try_: String::new() }], ..unfit.clone() }
    })?;
    let known = serde_json::to_value(&read).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let mut problems = Vec::new();
    find_unknown("", &value, &known, &mut problems);
    if problems.is_empty() { Ok(read) } else { Err(Error { code: Code::UnknownField, problems, ..unfit }) }
}

/// Finds what was typed and not read: a message that is written down again has every field that it may have. What was parsed
/// is of bounded depth, so the recursion is.
fn find_unknown(path: &str, typed: &Value, known: &Value, problems: &mut Vec<Problem>) {
    match (typed, known) {
        (Value::Object(typed), Value::Object(known)) => {
            for (key, value) in typed {
                let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => find_unknown(&field, value, known, problems),
                    None => problems.push(Problem { try_: meant(key, known), what: "unknown field".to_owned(), field }),
                }
            }
        }
        (Value::Array(typed), Value::Array(known)) => {
            for (at, (typed, known)) in typed.iter().zip(known).enumerate() {
                find_unknown(&format!("{path}[{at}]"), typed, known, problems);
            }
        }
        _ => {}
    }
}

/// Names the field that a word was probably meant to be.
fn meant(key: &str, known: &serde_json::Map<String, Value>) -> String {
    let renamed = RENAMED.iter().find(|(file, here)| *file == key && known.contains_key(*here));
    let near = renamed.map(|(_, here)| *here).or_else(|| nearest(key, known.keys().map(String::as_str)));
    near.map(|name| format!("`{name}`")).unwrap_or_default()
}

/// Turns what the reader of JSON says about a type into words of a file.
fn told(said: &str) -> String {
    const WORDS: &[(&[&str], &str)] = &[
        (&["u8", "u16", "u32", "u64", "i32", "i64"], "a whole number"),
        (&["f32", "f64"], "a number"),
        (&["a boolean"], "true or false"),
        (&["a string"], "text"),
        (&["a sequence"], "a list"),
        (&["a map"], "a mapping"),
    ];
    let typed = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    let Some((found, expected)) = typed.and_then(|said| said.split_once(", expected ")) else {
        return said.to_owned();
    };
    let expected = match WORDS.iter().find(|(words, _)| words.contains(&expected)) {
        Some((_, plain)) => plain,
        None if expected.starts_with("struct ") => "a mapping",
        None => expected,
    };
    let found = match found.split_once(' ').unwrap_or((found, "")) {
        ("string", text) => text.to_owned(),
        ("map", _) => "a mapping".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("null", _) => "nothing".to_owned(),
        _ => found.to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// Writes a text down for an editor.
pub(crate) fn written(text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("berth-").suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file)
}

/// Lets a person edit a file, and reads what it holds then.
pub(crate) async fn edited(file: NamedTempFile) -> io::Result<Edited> {
    // The variable may hold arguments, so a shell reads it, as git does.
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let command = format!("{} \"$1\"", editor.as_deref().unwrap_or("vi"));
    let status = tokio::process::Command::new("sh").args(["-c", &command, "sh"]).arg(file.path()).status().await?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    // Editors replace the file rather than write into it.
    let mut text = String::new();
    std::fs::File::open(file.path())?.take(EDITED_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Edited { text, file })
}

#[cfg(test)]
mod tests {
    use berth_client::store::{DeploymentSpec, EndpointSpec};

    use super::*;

    #[test]
    fn a_value_of_another_type_is_told_with_its_field() {
        for (text, field, what) in [
            ("priority: high", "priority", "expected a whole number, found \"high\""),
            ("priority: -1", "priority", "expected a whole number, found integer `-1`"),
            ("instance_count: {min: 2}", "instance_count", "expected a whole number, found a mapping"),
            ("resources: {cpu_milli: [1]}", "resources.cpu_milli", "expected a whole number, found a list"),
            ("resources: all", "resources", "expected a mapping, found \"all\""),
            ("environment_variables: {LEVEL: 3}", "environment_variables.LEVEL", "expected text, found integer `3`"),
        ] {
            let read = fitted::<DeploymentSpec>(crate::yaml::json(text).expect("YAML"));
            let problems = read.expect_err(text).problems;
            let told: Vec<_> = problems.iter().map(|problem| (problem.field.as_str(), problem.what.as_str())).collect();
            assert_eq!(told, [(field, what)], "{text}");
        }
        let whole = fitted::<DeploymentSpec>(serde_json::json!("all")).expect_err("no mapping");
        assert_eq!((whole.why.as_str(), whole.problems.len()), ("expected a mapping, found \"all\"", 0));
    }

    #[test]
    fn what_nobody_knows_is_told_with_the_nearest_name() {
        fn unknown<T: DeserializeOwned + Serialize + std::fmt::Debug>(text: &str) -> Vec<(String, String)> {
            let error = fitted::<T>(crate::yaml::json(text).expect("YAML")).expect_err(text);
            assert_eq!(error.code, Code::UnknownField, "{error:?}");
            error.problems.into_iter().map(|problem| (problem.field, problem.try_)).collect()
        }
        for (text, field, try_) in [
            ("prioriti: 5", "prioriti", "`priority`"),
            ("resources: {cpu_mili: 500}", "resources.cpu_mili", "`cpu_milli`"),
            ("resources: {cpu: 2}", "resources.cpu", "`cpu_milli`"),
            ("constraints: {zone: a}", "constraints", "`label_rules`"),
            ("label_rules: {zone: {value: [a]}}", "label_rules.zone.value", "`values`"),
            ("disconnect: {lost_after: 9}", "disconnect.lost_after", "`lost_after_ms`"),
            ("zzzzzzzzz: 1", "zzzzzzzzz", ""),
        ] {
            assert_eq!(unknown::<DeploymentSpec>(text), [(field.to_owned(), try_.to_owned())], "{text}");
        }
        let both = unknown::<EndpointSpec>("max_body_mib: 5\nalerts: [{when: errors > 1}, {wen: p99 > 1}]\n");
        let both: Vec<_> = both.iter().map(|(field, try_)| (field.as_str(), try_.as_str())).collect();
        assert_eq!(both, [("alerts[1].wen", "`when`"), ("max_body_mib", "`max_body_bytes`")]);
    }

    /// Every field of what is edited is known, whatever it holds.
    #[test]
    fn what_was_written_down_is_known() {
        let text = "tags: {any: thing}\nenvironment_variables: {LEVEL: debug}\ngpu: {ask: {memory: {mib: 1}}}\n\
                    runtime: {runtime: {command: {argv: [a]}}}\nspread: {by: zone, max_per_domain: 1}\npriority: null\n\
                    label_rules: {zone: {not: true, values: [a]}}\nresources: {cpu_milli: 1}\n";
        let read = fitted::<DeploymentSpec>(crate::yaml::json(text).expect("YAML")).expect("known");
        let again = crate::output::as_yaml(&read).expect("has a JSON form");
        assert_eq!(fitted::<DeploymentSpec>(crate::yaml::json(&again).expect("YAML")), Ok(read));
        let hedging = serde_json::json!({"hedging": {"after": {"delay_ms": 3}, "budget_percent": 1}});
        assert!(fitted::<EndpointSpec>(hedging).is_ok());
    }
}
