//! `berth tui`: the screen of the operator.
//!
//! [`app`] is the state and what keys make of it, [`draw`] turns it into frames, [`feed`] keeps it fresh, [`act`] does
//! what a key asks of the world. Frames are drawn only when something changed, twenty a second at most. Every screen has
//! a text twin (`--once`), drawn by the same code.

mod act;
mod app;
mod board;
mod dialog;
mod draw;
mod feed;
mod list;
mod rows;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use berth_client::Client;
use berth_core::error::{Code, Error};
use futures::{Stream, StreamExt};
use ratatui::{
    Terminal,
    backend::{Backend, TestBackend},
    crossterm::event::{Event as TerminalEvent, EventStream, KeyEvent},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};

use crate::{
    args::TuiArgs,
    output::{Fault, Ink, Output, now_ms},
};
use act::Act;
use app::App;
use board::Board;
use view::{Page, View, Word};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// Messages that wait for the screen: beyond that their senders wait.
const MESSAGES_MAX: usize = 64;

/// What comes to the screen.
#[derive(Debug)]
enum Msg {
    Key(KeyEvent),
    Resized,
    Board(Arc<Board>),
    /// Nothing new comes in, and why.
    Frozen(String),
    Page(Page, Vec<String>),
    Done(String),
    Failed(String),
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
    let app = App::new(view, args.read_only, now_ms());
    let keys = EventStream::new().filter_map(async |event| match event {
        Ok(TerminalEvent::Key(key)) if key.is_press() => Some(Msg::Key(key)),
        Ok(TerminalEvent::Resize(..)) => Some(Msg::Resized),
        _ => None,
    });
    // Puts the terminal back as it was, also after a panic.
    let mut terminal = ratatui::init();
    let ended = drive(&mut terminal, client, app, Box::pin(keys), out.is_colored()).await;
    ratatui::restore();
    ended.map_err(|error| Error::new(Code::Internal, "the terminal failed").why(error.to_string()).into())
}

fn unknown_screen(word: &str) -> Error {
    let names = view::ALIASES.iter().flat_map(|alias| alias.names).copied();
    let error = Error::new(Code::Invalid, format!("no screen is called `{word}`"));
    match berth_core::error::nearest(word, names) {
        Some(near) => error.try_(format!("did you mean `{near}`?")),
        None => error.try_("`berth tui --once aliases` lists them"),
    }
}

/// Prints a screen as text.
async fn once(client: &Client, out: Output, view: View, size: (u16, u16)) -> Result<(), Fault> {
    let events: VecDeque<_> = client.events().await?.into();
    let board = feed::look(client, &events).await?;
    let mut app = App::new(view, true, now_ms());
    app.take_board(Arc::new(board));
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

/// Takes what comes and draws until somebody leaves. Generic over the terminal and the keys, so that tests drive it.
async fn drive<B: Backend>(
    terminal: &mut Terminal<B>,
    client: Client,
    mut app: App,
    mut keys: impl Stream<Item = Msg> + Unpin,
    color: bool,
) -> Result<(), B::Error> {
    let (sender, mut inbox) = mpsc::channel(MESSAGES_MAX);
    let again = Arc::new(Notify::new());
    let feed = tokio::spawn(feed::run(client.clone(), Arc::clone(&again), sender.clone()));
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_dirty = true;
    loop {
        let msg = tokio::select! {
            biased;
            Some(msg) = keys.next() => msg,
            Some(msg) = inbox.recv() => msg,
            _ = seconds.tick() => {
                app.tick(now_ms());
                is_dirty = true;
                continue;
            }
            _ = frames.tick(), if is_dirty => {
                terminal.draw(|frame| draw::frame(&mut app, frame, color))?;
                is_dirty = false;
                continue;
            }
        };
        is_dirty = true;
        let acts = match msg {
            Msg::Key(key) => app.key(key),
            Msg::Resized => Vec::new(),
            Msg::Board(board) => {
                app.take_board(board);
                Vec::new()
            }
            Msg::Frozen(why) => {
                app.freeze(why);
                Vec::new()
            }
            Msg::Page(page, lines) => {
                app.take_page(page, lines);
                Vec::new()
            }
            Msg::Done(text) => {
                app.say(text, Ink::Green);
                again.notify_one();
                Vec::new()
            }
            Msg::Failed(text) => {
                app.say(text, Ink::Red);
                Vec::new()
            }
        };
        for act in acts {
            match act {
                Act::Quit => {
                    feed.abort();
                    return Ok(());
                }
                Act::Refresh => again.notify_one(),
                Act::Copy(text) => copy(&text),
                act => spawn(&client, &sender, act),
            }
        }
    }
}

/// Does one thing beside the screen, which goes on meanwhile.
fn spawn(client: &Client, screen: &mpsc::Sender<Msg>, act: Act) {
    let (client, screen) = (client.clone(), screen.clone());
    tokio::spawn(async move {
        let msg = match act {
            Act::Open(page) => match act::fetch(&client, &page).await {
                Ok(lines) => Msg::Page(page, lines),
                Err(error) => Msg::Page(page, error.to_string().lines().map(str::to_owned).collect()),
            },
            act => match act::change(&client, act).await {
                Ok(text) => Msg::Done(text),
                Err(error) => Msg::Failed(format!("error: {}", error.what)),
            },
        };
        // A screen that is gone wants no answer.
        let _ = screen.send(msg).await;
    });
}

/// Hands text to the terminal's clipboard, through ssh as well (OSC 52).
fn copy(text: &str) {
    use ratatui::crossterm::{clipboard::CopyToClipboard, execute};
    // A terminal that knows no clipboard ignores it.
    let _ = execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text));
}
