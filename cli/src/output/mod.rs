//! The only place that prints.
//!
//! Answers go to stdout, everything about them (errors, warnings, progress, who answered) to stderr, so that a pipe gets
//! the answer and nothing else. A reader that went away is not an error.

mod fault;
mod progress;
pub(crate) mod query;
mod style;
mod table;
mod tsv;
mod yaml;

pub(crate) use fault::{Fault, Misused, NO_ANSWER};
pub(crate) use progress::Progress;
pub(crate) use query::Query;
pub(crate) use style::{Ink, state_ink};
pub(crate) use table::{Cell, Table};

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::error::{Code, Error, Problem};
use serde::Serialize;
use serde_json::Value;

/// Returns whether the environment declines colours, by the convention of no-color.org: set, and not to nothing.
pub(crate) fn declines_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty())
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// Aligned columns, more of them.
    Wide,
    /// JSON: the API's own messages.
    #[value(alias = "jsonc")]
    Json,
    /// The same as YAML.
    #[value(alias = "yamlc")]
    Yaml,
    /// Names alone, one per line.
    Name,
    /// The JSON's values with tabs between them, a line per item; for the shell, best with --query.
    Tsv,
    /// Aligned columns of what a query picked, as `az` has them.
    #[value(skip)]
    Picked,
}

/// Where and how to print.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    format: Format,
    query: Option<Query>,
    color: bool,
    quiet: bool,
    /// Takes what would be printed, for a verb whose answer is shown elsewhere.
    kept: Option<Arc<Mutex<String>>>,
}

/// What a listing prints in each format.
pub(crate) trait Listed: Serialize {
    /// The columns; those after `narrow` only when wide.
    const COLUMNS: &'static [&'static str];
    /// How many columns fit without `-o wide`.
    const NARROW: usize;

    /// Returns the name that other verbs take.
    fn name(&self) -> String;

    /// Returns one cell per column.
    fn cells(&self, now_ms: u64) -> Vec<Cell>;
}

// === impl Output ===

impl Output {
    /// Decides on colours once: only for people, and only if they did not decline.
    pub(crate) fn new(format: Format, quiet: bool, no_color: bool) -> Self {
        let color = !no_color && io::stdout().is_terminal() && io::stderr().is_terminal();
        Self { format, query: None, color, quiet, kept: None }
    }

    /// Creates one that prints nothing and keeps what people would read.
    pub(crate) fn keeping() -> Self {
        Self { kept: Some(Arc::default()), ..Self::default() }
    }

    /// Returns what was kept, as lines.
    pub(crate) fn kept(&self) -> Vec<String> {
        let kept = self.kept.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).clone());
        kept.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Keeps a line instead of printing it, if that is wanted.
    fn keep(&self, text: &str) -> bool {
        let Some(kept) = &self.kept else { return false };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(text);
        kept.push('\n');
        true
    }

    /// Prints only what the expression names of every answer: as JSON, unless a format was asked for that can show it.
    pub(crate) fn with_query(mut self, query: Option<Query>, is_asked: bool) -> Self {
        if query.is_some() {
            self.format = match self.format {
                Format::Table | Format::Wide if is_asked => Format::Picked,
                Format::Table | Format::Wide | Format::Name => Format::Json,
                other => other,
            };
        }
        self.query = query;
        self
    }

    /// Returns whether programs read the answer.
    pub(crate) fn is_for_programs(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml | Format::Tsv | Format::Picked)
    }

    /// Returns whether an answer is lines of values, and nothing was picked from it.
    pub(crate) fn is_lines(&self) -> bool {
        self.format == Format::Tsv && self.query.is_none()
    }

    /// Returns whether colours are wanted.
    pub(crate) fn is_colored(&self) -> bool {
        self.color
    }

    /// Returns whether only names are printed.
    pub(crate) fn is_names(&self) -> bool {
        self.format == Format::Name
    }

    /// Prints a line of the answer.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if self.keep(text.as_ref()) {
            return;
        }
        write_all(&mut io::stdout().lock(), text.as_ref(), true);
    }

    /// Prints bytes of the answer as they are, and ends the line for people.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let newline = io::stdout().is_terminal() && !bytes.ends_with(b"\n");
        let end: &[u8] = if newline { b"\n" } else { b"" };
        ignore(out.write_all(bytes).and_then(|()| out.write_all(end)).and_then(|()| out.flush()));
    }

    /// Begins a screen anew: a terminal is cleared, a pipe gets an empty line before what follows.
    pub(crate) fn fresh_screen(&self) {
        if self.is_for_programs() || self.is_names() {
            return;
        }
        let text = if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "\n" };
        write_all(&mut io::stdout().lock(), text, false);
    }

    /// Prints a sentence about what was done, unless it should be quiet or a program listens.
    pub(crate) fn done(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.is_for_programs() && self.format != Format::Name {
            self.line(text);
        }
    }

    /// Prints what was done: a sentence for people, a value for programs.
    pub(crate) fn did<T: Serialize>(&self, value: &T, name: &str, text: impl AsRef<str>) -> Result<(), Error> {
        self.value(value, name, || self.done(text))
    }

    /// Prints a remark about the answer for programs: one line of JSON beside it.
    pub(crate) fn note_json<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        self.note(serde_json::to_string(value).map_err(not_json)?);
        Ok(())
    }

    /// Prints a remark beside the answer.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.keep(text.as_ref()) {
            write_all(&mut io::stderr().lock(), text.as_ref(), true);
        }
    }

    /// Prints a remark in grey beside the answer.
    pub(crate) fn aside(&self, text: impl AsRef<str>) {
        self.note(self.paint(text.as_ref(), Ink::Grey));
    }

    /// Prints warnings, one per line.
    pub(crate) fn warnings(&self, warnings: &[Problem]) {
        for warning in warnings {
            let try_ = if warning.try_.is_empty() { String::new() } else { format!(" (try: {})", warning.try_) };
            self.note(format!("{} {}: {}{try_}", self.paint("warning:", Ink::Yellow), warning.field, warning.what));
        }
    }

    /// Prints a value as the format has it; `human` for people.
    pub(crate) fn value<T: Serialize>(&self, value: &T, name: &str, human: impl FnOnce()) -> Result<(), Error> {
        match self.format {
            Format::Json | Format::Yaml | Format::Tsv | Format::Picked => self.structured(value)?,
            Format::Name => self.line(name),
            Format::Table | Format::Wide => human(),
        }
        Ok(())
    }

    /// Prints a list as the format has it.
    pub(crate) fn list<T: Listed>(&self, items: &[T], nothing: &str) -> Result<(), Error> {
        match self.format {
            Format::Json | Format::Yaml | Format::Tsv | Format::Picked => self.structured(&items)?,
            Format::Name => items.iter().for_each(|item| self.line(item.name())),
            Format::Table | Format::Wide if items.is_empty() => self.note(nothing),
            Format::Table | Format::Wide => self.line(self.table(items).render(self.color)),
        }
        Ok(())
    }

    /// Prints more rows of a list that was begun.
    pub(crate) fn rows<T: Listed>(&self, items: &[T]) {
        match self.format {
            Format::Name => items.iter().for_each(|item| self.line(item.name())),
            _ => self.table(items).render_rows(self.color).iter().for_each(|row| self.line(row)),
        }
    }

    /// Lays a list out as a table.
    pub(crate) fn table<T: Listed>(&self, items: &[T]) -> Table {
        let width = if self.format == Format::Wide { T::COLUMNS.len() } else { T::NARROW };
        let mut table = Table::new(&T::COLUMNS[..width]);
        let now_ms = now_ms();
        for item in items {
            let mut cells = item.cells(now_ms);
            cells.truncate(width);
            table.push(cells);
        }
        table
    }

    /// Renders a table with this output's colours.
    pub(crate) fn rendered(&self, table: &Table) -> String {
        table.render(self.color)
    }

    /// Colours text.
    pub(crate) fn paint(&self, text: &str, ink: Ink) -> String {
        style::paint(text, ink, self.color)
    }

    /// Starts a progress display.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.quiet, self.color, io::stderr().is_terminal())
    }

    /// Prints one item of a stream as a line of JSON.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        let value = self.picked(value)?;
        if self.format == Format::Tsv {
            tsv::render(&value).iter().for_each(|line| self.line(line));
        } else {
            self.line(value.to_string());
        }
        Ok(())
    }

    fn structured<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        let value = self.picked(value)?;
        match self.format {
            Format::Tsv => tsv::render(&value).iter().for_each(|line| self.line(line)),
            Format::Picked => self.line(table::of_values(&value).render(self.color)),
            Format::Yaml => self.line(yaml::render(&value).trim_end()),
            _ => self.line(serde_json::to_string_pretty(&value).map_err(not_json)?),
        }
        Ok(())
    }

    /// Returns an answer as JSON, or the part of it that was asked for.
    fn picked<T: Serialize>(&self, value: &T) -> Result<Value, Error> {
        let value = serde_json::to_value(value).map_err(not_json)?;
        let Some(query) = &self.query else { return Ok(value) };
        let picked = query.pick(&value)?;
        if picked.is_null() {
            self.note(query.found_nothing());
        }
        Ok(picked)
    }

    /// Prints why a verb failed and returns how the process ends.
    pub(crate) fn fault(&self, fault: &Fault) -> ExitCode {
        if fault.is_told() {
            return ExitCode::from(fault.exit());
        }
        let is_read_by_programs = self.is_for_programs() && self.format != Format::Picked;
        let text = if is_read_by_programs { fault.as_json() } else { fault.as_text(self.color) };
        write_all(&mut io::stderr().lock(), &text, true);
        ExitCode::from(fault.exit())
    }
}

/// Writes a value as YAML.
pub(crate) fn as_yaml<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(yaml::render(&serde_json::to_value(value).map_err(not_json)?))
}

/// Returns the time of day for ages; a clock before the epoch shows no ages.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn not_json(error: serde_json::Error) -> Error {
    Error::new(Code::Internal, "the answer has no JSON form").why(error.to_string())
}

fn write_all(out: &mut impl Write, text: &str, newline: bool) {
    let end = if newline { "\n" } else { "" };
    ignore(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

/// A closed pipe ends the process quietly, as it does for every tool; anything else cannot be told to anybody.
fn ignore(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}
