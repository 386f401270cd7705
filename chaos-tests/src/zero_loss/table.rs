//! The README's table: what the kept measurement counted, and beside it what a kept run of CI did.
//!
//! The measurement and the test of CI write the same lines, a [`Row`] each. They are read here and nowhere else.

use std::{fmt, time::Duration};

use super::{Event, Plan, Row};
use crate::protocol::Protocol;

/// Between these two the README's table lies.
const MARKS: [&str; 2] = ["<!-- begin of the table of events -->\n", "<!-- end of the table of events -->\n"];

// === impl Row ===

impl Row {
    /// Reads a line as it is displayed; any other line is no row. One without a protocol is of a measurement that knew
    /// HTTP/1.1 alone.
    pub fn read(line: &str) -> Option<Self> {
        let event = Event::ALL.into_iter().find(|event| line.starts_with(event.name()))?;
        let mut words = line[event.name().len()..].split_whitespace().peekable();
        let protocol = words.peek().and_then(|word| Protocol::read(word));
        if protocol.is_some() {
            words.next();
        }
        let mut figures: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        if protocol.is_none() {
            let (requests, lost) = (figures.get(1)?, figures.get(2)?);
            figures.insert(2, requests.saturating_sub(*lost));
        }
        let [strikes, requests, answered, lost, refused, cut, latency @ ..] = figures.as_slice() else { return None };
        let latency = <[u64; 3]>::try_from(latency).ok()?.map(Duration::from_millis);
        let [strikes, requests, answered] = [*strikes, *requests, *answered];
        let [lost, refused, cut] = [*lost, *refused, *cut];
        let protocol = protocol.unwrap_or(Protocol::Http1);
        Some(Self { event, protocol, strikes, requests, answered, lost, refused, cut, latency, why: Vec::new() })
    }

    /// Reads the rows of a whole output, for each event in their order those of its protocols: the last ones where an event
    /// was measured again.
    ///
    /// # Errors
    ///
    /// The event of which there is none.
    pub fn read_all(output: &str) -> Result<Vec<Vec<Self>>, Event> {
        let rows: Vec<_> = output.lines().filter_map(Self::read).collect();
        let last = |event| {
            let of = |protocol| rows.iter().rfind(|row| row.event == event && row.protocol == protocol).cloned();
            let found: Vec<_> = Protocol::ALL.into_iter().filter_map(of).collect();
            if found.is_empty() { Err(event) } else { Ok(found) }
        };
        Event::ALL.into_iter().map(last).collect()
    }
}

// === impl Plan ===

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coordinators, nodes, instances, rate_per_second, outage, strict, protocols, .. } = self;
        write!(f, "{coordinators} coordinators, {nodes} nodes, {instances} instances, ")?;
        write!(f, "{rate_per_second} requests a second ({}), ", titles(protocols))?;
        write!(f, "an outage of {} s", outage.as_secs())?;
        f.write_str(if *strict { ", requests are not repeated in planned changes (--strict)" } else { "" })
    }
}

/// Lists protocols in the order of their counts.
fn titles(protocols: &[Protocol]) -> String {
    protocols.iter().map(|protocol| protocol.title()).collect::<Vec<_>>().join(" · ")
}

/// Writes the table of two kept outputs: of the measurement, and of a run of CI.
///
/// # Errors
///
/// What the table cannot say, and of which output.
pub fn table(kept: &str, ci: &str) -> Result<String, String> {
    let rows = |of: &str, output: &str| {
        Row::read_all(output).map_err(|event| format!("{of} has nothing of `{}`", event.name()))
    };
    let mut text =
        "| event | times | requests | lost | sent again (refused, cut) | in CI: times | requests | lost | sent \
                    again |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (measured, in_ci) in rows("the measurement", kept)?.iter().zip(rows("the run of CI", ci)?) {
        let event = measured[0].event.name();
        text += &format!("| {event} | {} | {} |\n", cells(measured), cells(&in_ci));
    }
    Ok(format!("{text}\nMeasured: {}. CI: {}.\n", head(kept), head(ci)))
}

/// Writes what became of an event's requests: how many of each protocol, and the sums of the rest.
fn cells(rows: &[Row]) -> String {
    let sum = |of: fn(&Row) -> u64| thousands(rows.iter().map(of).sum());
    let event = rows[0].event;
    // Where requests may be repeated, or their ingress ends, callers send some again.
    let may_be = event.is_crash() || event.ends_an_ingress();
    let again = match may_be {
        true => format!("{}, {}", sum(|row| row.refused), sum(|row| row.cut)),
        false => "none may be".to_owned(),
    };
    let requests = rows.iter().map(|row| thousands(row.requests)).collect::<Vec<_>>().join(" · ");
    format!("{} | {requests} | {} | {again}", rows[0].strikes, sum(|row| row.lost))
}

/// Returns what an output says before its rows.
fn head(output: &str) -> String {
    output.lines().take_while(|line| !line.starts_with("event ")).collect::<Vec<_>>().join("; ")
}

/// Puts a table between the README's marks; none where a mark is missing.
pub fn put(readme: &str, table: &str) -> Option<String> {
    let (before, rest) = readme.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], table, MARKS[1], after].concat())
}

/// Writes a count as people read it.
fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::PLAN, *};

    fn row(event: Event, protocol: Protocol, requests: u64) -> Row {
        let latency = [60, 188, 345].map(Duration::from_millis);
        let answered = requests - 1;
        Row { event, protocol, strikes: 4, requests, answered, lost: 1, refused: 2, cut: 3, latency, why: Vec::new() }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for (event, protocol) in Event::ALL.into_iter().flat_map(|event| Protocol::ALL.map(|speaks| (event, speaks))) {
            let written = row(event, protocol, 12_000);
            assert_eq!(Row::read(&written.to_string()), Some(written));
        }
        let older = "node kill                 10   100000     3     2598   108      53      59     144";
        let read = Row::read(older).expect("it is a row");
        assert_eq!(
            (read.protocol, [read.requests, read.answered, read.lost, read.refused, read.cut]),
            (Protocol::Http1, [100_000, 99_997, 3, 2_598, 108])
        );
        for line in [
            Row::heading().as_str(),
            "",
            "node kill",
            "node kill 1 2 3",
            "node kill 4 4 4 4 4 4 4 x",
            "node kill grpc 4 4 4 4 4 4 4 4",
            "node kill spdy 4 4 4 4 4 4 4 4 4",
            "3 nodes",
        ] {
            assert_eq!(Row::read(line), None, "{line}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_every_event_of_its_last_measurement() {
        let lines = |requests| {
            let of = |event| Protocol::ALL.map(|protocol| row(event, protocol, requests).to_string()).join("\n");
            Event::ALL.map(of).join("\n")
        };
        let kept = format!("release build\n3 nodes\n{}\n{}\n{}\n", Row::heading(), lines(7), lines(1_234_567));
        let ci = format!("{PLAN}\n{}\n{}\n", Row::heading(), lines(400));
        let made = table(&kept, &ci).expect("every event is there");
        for line in [
            "| rolling update | 4 | 1,234,567 · 1,234,567 · 1,234,567 | 3 | none may be | 4 | 400 · 400 · 400 | 3 | none may be |",
            "| all coordinators dead | 4 | 1,234,567 · 1,234,567 · 1,234,567 | 3 | 6, 9 | 4 | 400 · 400 · 400 | 3 | 6, 9 |",
            "Measured: release build; 3 nodes. CI: 3 coordinators, 3 nodes, 2 instances, 100 requests a second (HTTP/1.1 · HTTP/2 · gRPC), an outage of 6 s.",
        ] {
            assert!(made.lines().any(|made| made == line), "{line} is not in\n{made}");
        }
        assert_eq!(made.lines().count(), 2 + Event::ALL.len() + 2);
        let missing = kept.replace("leader kill", "leader loss");
        assert_eq!(table(&missing, &ci), Err("the measurement has nothing of `leader kill`".to_owned()));
    }

    #[test]
    fn a_table_replaces_what_is_between_the_marks() {
        let [begin, end] = MARKS;
        let readme = format!("a\n{begin}old\n{end}b\n");
        let made = put(&readme, "new\n").expect("it has both marks");
        assert_eq!(made, format!("a\n{begin}new\n{end}b\n"));
        assert_eq!(put(&made, "new\n"), Some(made.clone()));
        assert_eq!(put("a\nb\n", "new\n"), None);
    }
}
