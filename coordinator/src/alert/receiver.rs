//! Who can be told of alerts: named in a coordinator's own settings, never in an endpoint's file. Whoever may write such a
//! file must not thereby run programs on coordinators, or make them call addresses of their network; and a URL that is a
//! secret stays out of the log.

use std::{fmt, path::PathBuf};

use berth_core::{error::Problems, model::is_word};
use http::Uri;

/// Receivers of one coordinator.
const RECEIVERS_MAX: usize = 32;

/// Somebody who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertReceiver {
    /// What rules call it.
    pub name: String,
    /// How it is told.
    pub kind: ReceiverKind,
}

/// How a receiver is told.
#[derive(Clone, PartialEq, Eq)]
pub enum ReceiverKind {
    /// By a POST of JSON.
    Webhook {
        /// Where; often a secret.
        url: Uri,
    },
    /// By a program of the coordinator's host, which gets the JSON on its standard input.
    Exec {
        /// The program; it gets no arguments.
        program: PathBuf,
    },
}

// === impl AlertReceiver ===

impl AlertReceiver {
    /// Reads `NAME=URL`.
    pub fn webhook(text: &str) -> Result<Self, String> {
        let (name, url) = split(text, "NAME=URL")?;
        let url: Uri = url.parse().map_err(|_| format!("what `{name}` names is no URL"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
            return Err(format!("what `{name}` names does not begin with http:// or https:// and a host"));
        }
        Ok(Self { name, kind: ReceiverKind::Webhook { url } })
    }

    /// Reads `NAME=PROGRAM`.
    pub fn exec(text: &str) -> Result<Self, String> {
        let (name, program) = split(text, "NAME=PROGRAM")?;
        let program = PathBuf::from(program);
        if !program.is_absolute() {
            return Err(format!("the program of `{name}` is no absolute path"));
        }
        Ok(Self { name, kind: ReceiverKind::Exec { program } })
    }

    pub(super) fn needs_tls(&self) -> bool {
        matches!(&self.kind, ReceiverKind::Webhook { url } if url.scheme_str() == Some("https"))
    }

    /// Notes what is wrong with a list of them.
    pub(crate) fn check(receivers: &[Self], problems: &mut Problems) {
        if receivers.len() > RECEIVERS_MAX {
            problems.add("alert_receivers", format!("more than {RECEIVERS_MAX}"));
        }
        for (at, receiver) in receivers.iter().enumerate() {
            if receivers[..at].iter().any(|other| other.name == receiver.name) {
                problems.add("alert_receivers", format!("two are called `{}`", receiver.name));
            }
        }
    }
}

fn split(text: &str, expected: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once('=').ok_or_else(|| format!("expected {expected}"))?;
    let name = name.trim();
    if !is_word(name) {
        return Err(format!("`{name}` is no name: expected {expected}"));
    }
    Ok((name.to_owned(), rest.trim().to_owned()))
}

// === impl ReceiverKind ===

impl ReceiverKind {
    /// Returns its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Exec { .. } => "exec",
        }
    }
}

impl fmt::Debug for ReceiverKind {
    /// Shows a URL's host alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { url } => write!(f, "Webhook({})", url.host().unwrap_or_default()),
            Self::Exec { program } => write!(f, "Exec({})", program.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_read_and_their_secrets_are_not_shown() {
        let hook = AlertReceiver::webhook("pager=https://hooks.example/T0/secret").expect("a webhook");
        assert_eq!((hook.name.as_str(), hook.kind.word(), hook.needs_tls()), ("pager", "webhook", true));
        assert!(!format!("{hook:?}").contains("secret"));
        assert!(AlertReceiver::exec("ops=/usr/local/bin/tell").is_ok());
        for (refused, why) in [
            (AlertReceiver::webhook("https://hooks.example/secret"), "expected NAME=URL"),
            (AlertReceiver::webhook("two words=http://a"), "is no name"),
            (AlertReceiver::webhook("pager=ftp://a/"), "http:// or https://"),
            (AlertReceiver::webhook("pager=/secret"), "http:// or https://"),
            (AlertReceiver::exec("ops=tell"), "no absolute path"),
        ] {
            let error = refused.expect_err(why);
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let mut problems = Problems::default();
        AlertReceiver::check(&[hook.clone(), hook], &mut problems);
        assert!(!problems.is_empty());
    }
}
