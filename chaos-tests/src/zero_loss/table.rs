//! The README's table: what the kept measurement counted, and beside it what every run of CI counts.
//!
//! The measurement and the test of CI write the same lines, a [`Row`] each. They are read here and nowhere else.

use std::{fmt, time::Duration};

use super::{Event, Plan, Row};

/// Between these two the README's table lies.
const MARKS: [&str; 2] = ["<!-- begin of the table of events -->\n", "<!-- end of the table of events -->\n"];

// === impl Row ===

impl Row {
    /// Reads a line as it is displayed; any other line is no row.
    pub fn read(line: &str) -> Option<Self> {
        let event = Event::ALL.into_iter().find(|event| line.starts_with(event.name()))?;
        let figures = line[event.name().len()..].split_whitespace().map(|word| word.parse().ok());
        let figures: Vec<u64> = figures.collect::<Option<_>>()?;
        let [strikes, requests, lost, refused, cut, latency @ ..] = figures.as_slice() else { return None };
        let latency = <[u64; 3]>::try_from(latency).ok()?.map(Duration::from_millis);
        let [strikes, requests, lost, refused, cut] = [*strikes, *requests, *lost, *refused, *cut];
        Some(Self { event, strikes, requests, lost, refused, cut, latency, why: Vec::new() })
    }

    /// Reads the rows of a whole output, one for each event in their order: the last one where an event was measured again.
    ///
    /// # Errors
    ///
    /// The event of which there is none.
    pub fn read_all(output: &str) -> Result<Vec<Self>, Event> {
        let rows: Vec<_> = output.lines().filter_map(Self::read).collect();
        let last = |event| rows.iter().rfind(|row| row.event == event).cloned().ok_or(event);
        Event::ALL.into_iter().map(last).collect()
    }
}

// === impl Plan ===

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coordinators, nodes, instances, rate_per_second, outage, .. } = self;
        write!(f, "{coordinators} coordinators, {nodes} nodes, {instances} instances, ")?;
        write!(f, "{rate_per_second} requests a second, an outage of {} s", outage.as_secs())
    }
}

/// Writes the table of a kept output and of what CI does.
///
/// # Errors
///
/// The event of which the output has no row.
pub fn table(kept: &str, ci: &Plan) -> Result<String, Event> {
    let mut text =
        "| event | times | requests | lost | sent again (refused, cut) | in every run of CI: times, requests, lost |\n\
                    |---|---|---|---|---|---|\n"
            .to_owned();
    for Row { event, strikes, requests, lost, refused, cut, .. } in Row::read_all(kept)? {
        // Where requests may be repeated, or their ingress ends, callers send some again.
        let may_be = event.is_crash() || event.ends_an_ingress();
        let again = if may_be { format!("{refused}, {cut}") } else { "none may be".to_owned() };
        let [requests, lost, least] = [requests, lost, ci.requests].map(thousands);
        let in_ci = format!("{}, {least} or more, 0", ci.strikes_of(event));
        text += &format!("| {} | {strikes} | {requests} | {lost} | {again} | {in_ci} |\n", event.name());
    }
    let mut head = kept.lines().take_while(|line| *line != Row::heading());
    let head = head.by_ref().collect::<Vec<_>>().join("; ");
    Ok(format!("{text}\nMeasured: {head}. CI: {ci}.\n"))
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
    use super::*;

    const CI: Plan = Plan {
        coordinators: 3,
        nodes: 3,
        instances: 2,
        rate_per_second: 100,
        requests: 400,
        strikes: 3,
        outage: Duration::from_secs(6),
        strict: false,
    };

    fn row(event: Event, requests: u64) -> Row {
        let latency = [60, 188, 345].map(Duration::from_millis);
        Row { event, strikes: 4, requests, lost: 1, refused: 2, cut: 3, latency, why: Vec::new() }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for event in Event::ALL {
            let written = row(event, 12_000);
            assert_eq!(Row::read(&written.to_string()), Some(written));
        }
        for line in
            [Row::heading().as_str(), "", "node kill", "node kill 1 2 3", "node kill 4 4 4 4 4 4 4 x", "3 nodes"]
        {
            assert_eq!(Row::read(line), None, "{line}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_every_event_of_its_last_measurement() {
        let lines = |requests| Event::ALL.map(|event| row(event, requests).to_string()).join("\n");
        let kept = format!("release build\n3 nodes\n{}\n{}\n{}\n", Row::heading(), lines(7), lines(1_234_567));
        let made = table(&kept, &CI).expect("every event is there");
        for line in [
            "| rolling update | 4 | 1,234,567 | 1 | none may be | 3, 400 or more, 0 |",
            "| all coordinators dead | 4 | 1,234,567 | 1 | 2, 3 | 2, 400 or more, 0 |",
            "Measured: release build; 3 nodes. CI: 3 coordinators, 3 nodes, 2 instances, 100 requests a second, an outage of 6 s.",
        ] {
            assert!(made.lines().any(|made| made == line), "{line} is not in\n{made}");
        }
        assert_eq!(made.lines().count(), 2 + Event::ALL.len() + 2);
        let missing = kept.replace("leader kill", "leader loss");
        assert_eq!(table(&missing, &CI), Err(Event::LeaderKill));
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
