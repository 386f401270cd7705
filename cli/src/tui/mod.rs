//! `berth tui`: the screen of the operator.
//!
//! A pure machine and a thin shell. [`app`] is the state and [`app::App::update`] what messages make of it, [`draw`] turns
//! it into frames; neither reads a clock or waits. [`feed`] and [`log`] follow what the coordinators tell, [`act`] does
//! what a key asks of the world. Frames are drawn only when something changed, forty a second at most. Every screen has a
//! text twin (`--once`), drawn by the same code.

mod act;
mod app;
mod board;
mod change;
mod complete;
mod dialog;
mod draw;
mod feed;
mod history;
mod keys;
mod list;
mod log;
mod mouse;
mod rows;
mod steady;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use berth_client::{
    Client,
    api::{BoardUpdate, Event},
};
use berth_core::error::{Code, Error};
use futures::{Stream, StreamExt};
use ratatui::{
    Terminal,
    backend::{Backend, ClearType, TestBackend},
    crossterm::event::{KeyEvent, MouseEvent},
};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    args::TuiArgs,
    contexts::Contexts,
    output::{Fault, Ink, Output, now_ms},
};
use act::Act;
use app::App;
use steady::Steady;
use view::{Page, View, Word};

/// The least time between two frames: a tenth of a second from a change to the screen leaves no room for more.
const FRAME: Duration = Duration::from_millis(25);

/// A frame that took long to draw is followed by a pause this many times as long: over a slow line, or with ten thousand
/// replicas, the screen leaves the processor to others.
const REST: u32 = 4;

/// Messages that wait for the screen: beyond that their senders wait.
const MESSAGES_MAX: usize = 64;

/// How long the text of what is edited may take to come: nothing else is done meanwhile.
const DRAFT: Duration = Duration::from_secs(3);

/// What comes to the screen.
#[derive(Debug)]
enum Msg {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Resized,
    /// A second passed; the time of day.
    Tick(u64),
    /// A part of what the coordinators tell.
    Board(Box<BoardUpdate>),
    /// Events, and whether their stream began anew.
    Events(Vec<Event>, bool),
    /// Nothing new comes in, and why.
    Frozen(String),
    /// The text of a page.
    Page(Page, Vec<String>),
    /// More lines of a page.
    Lines(Page, Vec<String>),
    /// What is to be answered before something is done.
    Question(Vec<String>, Act),
    Done(String),
    Failed(String),
}

/// Where keys come from and where a person edits; what tests stand in for.
trait World {
    /// Keys, as they are pressed.
    type Keys: Stream<Item = Msg> + Unpin;

    /// Begins to read keys.
    fn keys(&mut self) -> Self::Keys;

    /// Lets a person edit a text. Nobody reads keys meanwhile.
    async fn edit(&mut self, text: &str) -> io::Result<String>;

    /// Hands text to the clipboard.
    fn copy(&mut self, text: &str);
}

/// Runs the screen, or prints it once.
pub(crate) async fn run(client: Client, out: Output, args: TuiArgs) -> Result<(), Fault> {
    let view = match args.screen.as_deref().or(args.once.as_deref()) {
        None => View::Dashboard,
        Some(word) => match View::of_word(word) {
            Word::Open(view) => view,
            Word::Quit | Word::Unknown => return Err(unknown_screen(word).into()),
        },
    };
    if args.once.is_some() {
        return once(&client, out, view, args.size).await;
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::new(Code::Invalid, "the screen needs a terminal")
            .try_("print a screen once with `berth tui --once dashboard`")
            .into());
    }
    let mut app = App::new(view, args.read_only, now_ms());
    // A file that cannot be read is no reason to look at no cluster.
    app.contexts = Contexts::load().map(|found| found.contexts.into_keys().collect()).unwrap_or_default();
    // Puts the terminal back as it was, also after a panic.
    drop(ratatui::init());
    let ended = match Terminal::new(Steady::new(io::stdout())) {
        Ok(mut terminal) => {
            drive(&mut terminal, client, app, &mut terminal::Real::new(args.mouse), out.is_colored()).await
        }
        Err(error) => Err(error),
    };
    ratatui::restore();
    ended.map_err(|error| Error::new(Code::Internal, "the terminal failed").why(error.to_string()).into())
}

fn unknown_screen(word: &str) -> Error {
    let names = view::ALIASES.iter().flat_map(|alias| alias.names).copied();
    let error = Error::new(Code::Invalid, format!("no screen is called `{word}`"));
    if crate::args::command().find_subcommand(word).is_some() {
        return error
            .try_(format!("`berth {word}` is a verb of its own; `berth tui --once aliases` lists the screens"));
    }
    match berth_core::error::nearest(word, names) {
        Some(near) => error.try_(format!("did you mean `{near}`?")),
        None => error.try_("`berth tui --once aliases` lists them"),
    }
}

/// Prints a screen as text.
async fn once(client: &Client, out: Output, view: View, size: (u16, u16)) -> Result<(), Fault> {
    let mut app = App::new(view.clone(), true, now_ms());
    for update in client.board().await? {
        app.update(Msg::Board(Box::new(update)));
    }
    app.update(Msg::Events(client.events().await?, true));
    if let View::Page(page) = view {
        // The page that a person would see, also where it says that there is none.
        let lines = if page.kind.is_log() { log::tail(client, &page).await } else { act::page(client, &page).await };
        app.update(Msg::Page(page, lines));
    }
    out.line(text_of(&mut app, size));
    Ok(())
}

/// Draws a frame as text, without what trails.
fn text_of(app: &mut App, (width, height): (u16, u16)) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| draw::frame(app, frame, false)) {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
        cells.map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Takes what comes and draws until somebody leaves.
async fn drive<B: Backend, W: World>(
    terminal: &mut Terminal<B>,
    client: Client,
    mut app: App,
    world: &mut W,
    color: bool,
) -> Result<(), B::Error> {
    let (mut shell, mut inbox) = Shell::of(client);
    let mut keys = world.keys();
    let mut next_frame = Instant::now();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut acts = shell.first(&app);
    let mut is_dirty = true;
    loop {
        for act in std::mem::take(&mut acts) {
            match act {
                Act::Quit => return Ok(()),
                Act::Context(name) => match client_of(&name) {
                    Ok(client) => {
                        // Whatever the other cluster still says is said to nobody.
                        (shell, inbox) = Shell::of(client);
                        let contexts = std::mem::take(&mut app.contexts);
                        app = App::new(View::Dashboard, app.read_only, now_ms());
                        app.contexts = contexts;
                        app.say(format!("this is the cluster of {name}"), Ink::Green);
                        forget(terminal)?;
                    }
                    Err(error) => acts.extend(app.update(failed(&error))),
                },
                Act::Redraw => forget(terminal)?,
                Act::Copy(text) => world.copy(&text),
                Act::Edit(of) => {
                    drop(keys);
                    let msg = shell.edit(world, &of).await;
                    keys = world.keys();
                    forget(terminal)?;
                    acts.extend(msg.map(|msg| app.update(msg)).unwrap_or_default());
                }
                act => shell.spawn(act),
            }
        }
        let msg = tokio::select! {
            biased;
            Some(msg) = keys.next() => msg,
            // Before what comes in: a flood of news is drawn, too.
            () = sleep_until(next_frame), if is_dirty => {
                let begun = Instant::now();
                terminal.draw(|frame| draw::frame(&mut app, frame, color))?;
                is_dirty = false;
                next_frame = begun + FRAME.max(begun.elapsed() * REST);
                continue;
            }
            _ = seconds.tick() => Msg::Tick(now_ms()),
            Some(msg) = inbox.recv() => msg,
        };
        is_dirty = true;
        acts = app.update(msg);
        shell.leave(&app);
    }
}

/// Lets the next frame draw everything. `Terminal::clear` would ask the terminal where its cursor is, and whoever reads
/// the keys may take the answer.
fn forget<B: Backend>(terminal: &mut Terminal<B>) -> Result<(), B::Error> {
    terminal.backend_mut().clear_region(ClearType::All)?;
    terminal.swap_buffers();
    Ok(())
}

/// Makes a client of the cluster of a context.
fn client_of(name: &str) -> Result<Client, Error> {
    Ok(Client::new(crate::verbs::cluster::options(Contexts::load()?.named(name)?)?))
}

/// What runs beside the screen.
struct Shell {
    /// What tells the screen; it ends with the shell.
    _feeds: [Running; 2],
    client: Client,
    sender: mpsc::Sender<Msg>,
    /// Who reads the log of a page.
    reader: Option<(Page, Running)>,
}

/// A task that ends with whoever holds it.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Shell ===

impl Shell {
    /// Begins to follow a cluster.
    fn of(client: Client) -> (Self, mpsc::Receiver<Msg>) {
        let (sender, inbox) = mpsc::channel(MESSAGES_MAX);
        let feeds = [
            Running(tokio::spawn(feed::board(client.clone(), sender.clone())).abort_handle()),
            Running(tokio::spawn(feed::events(client.clone(), sender.clone())).abort_handle()),
        ];
        (Self { _feeds: feeds, client, sender, reader: None }, inbox)
    }

    /// Returns what a screen that is opened from outside begins with.
    fn first(&self, app: &App) -> Vec<Act> {
        if let View::Page(page) = &app.view { vec![Act::Open(page.clone())] } else { Vec::new() }
    }

    /// Stops reading a log that nobody looks at any more.
    fn leave(&mut self, app: &App) {
        if self.reader.as_ref().is_some_and(|(page, _)| app.view != View::Page(page.clone())) {
            self.reader = None;
        }
    }

    /// Does one thing beside the screen, which goes on meanwhile.
    fn spawn(&mut self, act: Act) {
        let (client, screen) = (self.client.clone(), self.sender.clone());
        if let Act::Open(page) = &act
            && page.kind.is_log()
        {
            let task = tokio::spawn(log::follow(client, page.clone(), screen));
            self.reader = Some((page.clone(), Running(task.abort_handle())));
            return;
        }
        tokio::spawn(async move {
            let msg = match act {
                Act::Open(page) => {
                    let lines = act::page(&client, &page).await;
                    Msg::Page(page, lines)
                }
                Act::AskDrain(nodes) => match act::ask_drain(&client, nodes).await {
                    Ok((question, act)) => Msg::Question(question, act),
                    Err(error) => failed(&error),
                },
                Act::AskUndo { endpoint, name } => match act::ask_undo(&client, &endpoint, &name).await {
                    Ok((question, act)) => Msg::Question(question, act),
                    Err(error) => failed(&error),
                },
                Act::AskTraffic(wish) => match act::ask_traffic(&client, wish).await {
                    Ok((question, act)) => Msg::Question(question, act),
                    Err(error) => failed(&error),
                },
                act => match act::change(&client, act).await {
                    Ok(text) => Msg::Done(text),
                    Err(error) => failed(&error),
                },
            };
            // A screen that is gone wants no answer.
            let _ = screen.send(msg).await;
        });
    }

    /// Fetches what is to be edited, lets a person edit it, and finds out what that would change.
    async fn edit(&self, world: &mut impl World, of: &view::Subject) -> Option<Msg> {
        let draft = match timeout(DRAFT, act::draft(&self.client, of)).await {
            Ok(Ok(draft)) => draft,
            Ok(Err(error)) => return Some(failed(&error)),
            Err(_) => return Some(Msg::Failed("no coordinator answers in time".to_owned())),
        };
        let edited = match world.edit(&draft.text).await {
            Ok(edited) => edited,
            Err(error) => return Some(Msg::Failed(format!("the editor failed: {error}"))),
        };
        if edited == draft.text {
            return Some(Msg::Done("nothing was changed".to_owned()));
        }
        let (client, screen) = (self.client.clone(), self.sender.clone());
        tokio::spawn(async move {
            let msg = match act::ask_edited(&client, draft, &edited).await {
                Ok(Some((question, act))) => Msg::Question(question, act),
                Ok(None) => Msg::Done("nothing would change".to_owned()),
                Err(error) => failed(&error),
            };
            // A screen that is gone wants no answer.
            let _ = screen.send(msg).await;
        });
        None
    }
}

fn failed(error: &Error) -> Msg {
    // One line has to do: the reason, and of several problems the first.
    let problem = error.problems.first().map(|problem| format!("{}: {}", problem.field, problem.what));
    let why = problem.or_else(|| Some(error.why.clone()).filter(|why| !why.is_empty()));
    Msg::Failed(format!("error: {}{}", error.what, why.map(|why| format!(": {why}")).unwrap_or_default()))
}
