//! The side that asks.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use http::Request;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    By, Error, Reason, Receiver, Sender, Settings,
    connection::Connection,
    handle,
    state::{Role, Shared, State},
};

/// Opens streams. The connection ends in order when all of these and their streams are gone.
pub(crate) struct Client(Shared);

/// A place for one stream.
pub(crate) struct Place(OwnedSemaphorePermit);

/// Begins a connection on a stream.
pub(crate) fn client<S>(stream: S, settings: Settings) -> (Client, Connection<S>) {
    let state = Rc::new(RefCell::new(State::new(Role::Client, settings)));
    state.borrow_mut().openers = 1;
    (Client(Rc::clone(&state)), Connection::new(stream, state))
}

// === impl Client ===

impl Client {
    /// Returns whether it still takes requests.
    pub(crate) fn is_usable(&self) -> bool {
        let state = self.0.borrow();
        state.ended.is_none() && !state.is_leaving && !state.output.is_broken()
    }

    /// Returns whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.borrow().is_idle()
    }

    /// Takes a place if the peer allows one stream more.
    pub(crate) fn try_place(&self) -> Option<Place> {
        let mut state = self.0.borrow_mut();
        loop {
            let place = Arc::clone(&state.places).try_acquire_owned().ok()?;
            if let Some(place) = state.pay(place) {
                return Some(Place(place));
            }
        }
    }

    /// Waits until the peer allows one stream more, each in its turn.
    pub(crate) async fn place(&self) -> Result<Place, Error> {
        loop {
            if let Some(place) = self.try_place() {
                return Ok(place);
            }
            let places = Arc::clone(&self.0.borrow().places);
            let place = Box::pin(places.acquire_owned()).await;
            let mut state = self.0.borrow_mut();
            let gone = |_| state.ended.unwrap_or(Error::Away(Reason::NO_ERROR, By::Peer));
            let place = place.map_err(gone)?;
            // Not where the peer takes fewer by now, and nobody who had one has paid for it.
            if let Some(place) = state.pay(place) {
                return Ok(Place(place));
            }
        }
    }

    /// Sends the head of a request, with `is_end` all of it.
    pub(crate) fn ask(&self, place: Place, request: &Request<()>, is_end: bool) -> Result<(Receiver, Sender), Error> {
        let key = self.0.borrow_mut().open(request, is_end, place.0)?;
        Ok(handle::halves(&self.0, key))
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        self.0.borrow_mut().openers += 1;
        Self(Rc::clone(&self.0))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.borrow_mut().opener_gone();
    }
}
