//! A log as a page follows it.

use std::collections::BTreeMap;

use berth_client::{Client, Error, api::LogsRequest};
use tokio::sync::mpsc;

use super::{
    Msg,
    view::{Page, PageKind, Subject},
};

/// Lines of the past that a page begins with.
const TAIL_LINES: u64 = 500;

/// A line longer than this is cut in parts: no screen is that wide.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Replicas whose lines may be unfinished at once.
const OPEN_MAX: usize = 1_000;

/// Reads a log for as long as its page is looked at.
pub(super) async fn follow(client: Client, page: Page, screen: mpsc::Sender<Msg>) {
    // What was read before is read again.
    if screen.send(Msg::Page(page.clone(), Vec::new())).await.is_err() {
        return;
    }
    let ended = read(&client, &page, &screen, page.kind != PageKind::PreviousLogs).await;
    let last = last_line(ended).unwrap_or_else(|| "— the log ends here; ctrl-r reads it again".to_owned());
    // A screen that is gone wants no answer.
    let _ = screen.send(Msg::Lines(page, vec![last])).await;
}

/// Says why there is nothing more to read where that is no end of a log.
fn last_line(ended: Result<bool, Error>) -> Option<String> {
    match ended {
        Ok(true) => None,
        Ok(false) => Some("nothing was written".to_owned()),
        Err(error) => Some(format!("— {}", error.to_string().replace('\n', " "))),
    }
}

/// Reads what a log holds now: the page that [`follow`] begins with.
pub(super) async fn tail(client: &Client, page: &Page) -> Vec<String> {
    let (sender, mut lines) = mpsc::channel(1);
    let mut all = Vec::new();
    let reading = async {
        let ended = read(client, page, &sender, false).await;
        drop(sender);
        ended
    };
    let collecting = async {
        while let Some(Msg::Lines(_, more)) = lines.recv().await {
            all.extend(more);
        }
    };
    let (ended, ()) = tokio::join!(reading, collecting);
    all.extend(last_line(ended));
    all
}

/// Hands lines over as they come and returns whether there were any.
async fn read(client: &Client, page: &Page, screen: &mpsc::Sender<Msg>, follow: bool) -> Result<bool, Error> {
    let (endpoint, deployment, replica) = match &page.of {
        Subject::Deployment { endpoint, name } => (endpoint.clone(), name.clone(), String::new()),
        Subject::Replica { id, endpoint, deployment } => (endpoint.clone(), deployment.clone(), id.clone()),
        _ => return Ok(false),
    };
    let (prepare, previous) = (page.kind == PageKind::PrepareLogs, page.kind == PageKind::PreviousLogs);
    let request = LogsRequest {
        endpoint,
        deployment,
        // The one that failed last is another one than that under the cursor.
        replica: if previous { String::new() } else { replica },
        tail_lines: TAIL_LINES,
        follow,
        prepare,
        previous,
        ..LogsRequest::default()
    };
    // Where there are several, each names its own from its first line on.
    let several = request.replica.is_empty()
        && !previous
        && client.list_replicas(&request.endpoint, &request.deployment).await?.len() > 1;
    let mut stream = client.logs(request).await?;
    let (mut open, mut any) = (Lines { several, ..Lines::default() }, false);
    while let Some(chunk) = stream.next().await? {
        let lines = open.take(&chunk.replica, &chunk.data);
        any |= !lines.is_empty();
        if !lines.is_empty() && screen.send(Msg::Lines(page.clone(), lines)).await.is_err() {
            return Ok(any);
        }
    }
    let rest = open.rest();
    any |= !rest.is_empty();
    // A screen that is gone wants no answer.
    let _ = screen.send(Msg::Lines(page.clone(), rest)).await;
    Ok(any)
}

/// Puts lines together from pieces of several replicas.
#[derive(Debug, Default)]
struct Lines {
    open: BTreeMap<String, Vec<u8>>,
    /// Whether lines of several replicas are expected.
    several: bool,
}

// === impl Lines ===

impl Lines {
    /// Takes a piece of one replica's log and returns the lines it ends. With several replicas each names its own.
    fn take(&mut self, replica: &str, piece: &[u8]) -> Vec<String> {
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(replica) {
            self.open.clear();
        }
        self.open.entry(replica.to_owned()).or_default().extend_from_slice(piece);
        let several = self.several || self.open.len() > 1;
        let Some(open) = self.open.get_mut(replica) else { return Vec::new() };
        let mut lines = Vec::new();
        let mut begin = 0;
        while begin < open.len() {
            let end = open[begin..].iter().position(|byte| *byte == b'\n').map(|end| begin + end);
            let (end, next) = match end {
                Some(end) => (end, end + 1),
                None if open.len() - begin >= LINE_BYTES_MAX => (begin + LINE_BYTES_MAX, begin + LINE_BYTES_MAX),
                None => break,
            };
            lines.push(named(several, replica, &open[begin..end]));
            begin = next;
        }
        open.drain(..begin);
        lines
    }

    /// Returns what has no end yet.
    fn rest(self) -> Vec<String> {
        let several = self.several || self.open.len() > 1;
        let some = self.open.iter().filter(|(_, rest)| !rest.is_empty());
        some.map(|(replica, rest)| named(several, replica, rest)).collect()
    }
}

fn named(several: bool, replica: &str, line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    if several { format!("{} {text}", crate::view::short_id(replica)) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_say_whose_they_are() {
        let mut lines = Lines::default();
        assert_eq!(lines.take("a1", b"one\ntw"), ["one"]);
        assert_eq!(lines.take("a1", b"o\r\n\nth"), ["two", ""]);
        assert_eq!(lines.take("b2", b"first\n"), ["b2 first"]);
        assert_eq!(lines.take("a1", b"ree\n"), ["a1 three"]);
        assert_eq!(lines.take("a1", &[b'x'; LINE_BYTES_MAX + 3]).len(), 1, "no line grows for ever");
        assert_eq!(lines.rest(), ["a1 xxx"]);
        let mut lines = Lines { several: true, ..Lines::default() };
        assert_eq!(lines.take("a1", b"one\n"), ["a1 one"], "the first line, too");
    }
}
