//! Tells the connections of one core that no new requests are taken.
//!
//! Every connection asks each time it is woken, so asking must cost a load and nothing shared with other cores: the one
//! token of the node is awaited once per core.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Whether a core drains, and who wants to know.
#[derive(Default)]
pub(super) struct Drain {
    begun: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

/// One who wants to know, always from the same task.
pub(super) struct Draining {
    drain: Rc<Drain>,
    id: Option<u64>,
}

// === impl Drain ===

impl Drain {
    /// Says so to everyone, once and for all.
    pub(super) fn begin(&self) {
        self.begun.set(true);
        self.waiting.take().into_values().for_each(Waker::wake);
    }

    /// Returns whether it was said.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Returns a future that is ready once the core drains.
    pub(super) fn watch(self: &Rc<Self>) -> Draining {
        Draining { drain: self.clone(), id: None }
    }
}

// === impl Draining ===

impl Future for Draining {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.drain.begun.get() {
            return Poll::Ready(());
        }
        if self.id.is_none() {
            let id = self.drain.next.get();
            self.drain.next.set(id + 1);
            self.drain.waiting.borrow_mut().insert(id, cx.waker().clone());
            self.id = Some(id);
        }
        Poll::Pending
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.drain.waiting.borrow_mut().remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn who_asked_before_and_who_asks_later_both_hear_of_it() {
        let drain = Rc::new(Drain::default());
        let woken = futures::task::noop_waker();
        let mut cx = Context::from_waker(&woken);
        let (mut early, gone) = (pin!(drain.watch()), drain.watch());
        assert!(early.as_mut().poll(&mut cx).is_pending());
        assert!(pin!(gone).poll(&mut cx).is_pending());
        assert_eq!(drain.waiting.borrow().len(), 1, "who is gone is forgotten");
        drain.begin();
        assert!(early.poll(&mut cx).is_ready());
        assert!(pin!(drain.watch()).poll(&mut cx).is_ready());
    }
}
