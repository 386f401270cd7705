//! A terminal that does not flicker: a frame arrives whole, and one that changes nothing is not sent at all.
//!
//! ratatui writes only the cells that changed, but resets colours and hides the cursor with every frame, and clears the
//! screen in a write of its own: over a slow line that is seen. Here what a frame changes is one write, and a terminal that
//! knows synchronized updates is told to show all of it at once; others ignore what they are told.

use std::{
    io::{self, BufWriter, Write},
    iter::once,
};

use ratatui::{
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    crossterm::{
        queue,
        terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
    },
    layout::{Position, Size},
};

/// What most frames fit into: a whole screen of 200 columns and 60 lines with its colours.
const FRAME_BYTES: usize = 64 << 10;

/// Writes frames for a terminal.
pub(super) struct Steady<W: Write> {
    inner: CrosstermBackend<BufWriter<W>>,
    /// A frame has begun and nothing of it is shown yet.
    is_begun: bool,
    /// Whether the cursor is hidden, as far as is known.
    is_hidden: bool,
}

// === impl Steady ===

impl<W: Write> Steady<W> {
    pub(super) fn new(out: W) -> Self {
        let inner = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, out));
        Self { inner, is_begun: false, is_hidden: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_begun, true) { Ok(()) } else { queue!(self.inner, BeginSynchronizedUpdate) }
    }
}

impl<W: Write> Backend for Steady<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content;
        if let Some(first) = content.next() {
            self.begin()?;
            self.inner.draw(once(first).chain(content))?;
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_hidden, true) { Ok(()) } else { self.inner.hide_cursor() }
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.is_hidden = false;
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    /// Belongs to the frame that follows, which shows what is there instead.
    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        // Whoever had the terminal meanwhile may have shown the cursor.
        self.is_hidden = false;
        self.begin()?;
        self.inner.clear_region(clear_type)
    }

    fn append_lines(&mut self, n: u16) -> io::Result<()> {
        self.inner.append_lines(n)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    /// Ends a frame.
    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_begun) {
            queue!(self.inner, EndSynchronizedUpdate)?;
        }
        Write::flush(&mut self.inner)
    }
}
