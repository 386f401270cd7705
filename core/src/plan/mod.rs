//! The planner: from what is and what should be to the steps between them.
//!
//! A plan is a value. It reads the whole state through indexes and takes no hint about what changed, so start-up,
//! failover and steady state are one path; each step is judged again when it is applied. Planning a state that a plan
//! has already changed gives nothing new, and with faults off every deployment comes to rest.

mod condemned;
mod draft;
mod drain;
mod evacuate;
mod group;
mod lost;
mod parts;
mod place;
mod preempt;
mod report;
mod reserve;
mod rollout;
mod surplus;
mod view;

pub use report::Report;
pub use view::View;

use crate::{state::Plan, time::LogTime};
use draft::Draft;

/// Plans every step that is due at `now`, and says what could not be planned and why.
pub fn plan(view: &View<'_>, now: LogTime) -> (Vec<Plan>, Report) {
    let mut draft = Draft::open(view, now);
    condemned::leave(&mut draft);
    lost::spare_returned(&mut draft);
    lost::wait_for_lost(&mut draft);
    surplus::stop_surplus(&mut draft);
    rollout::retire_outdated(&mut draft);
    drain::finish_drains(&mut draft);
    reserve::release_useless(&mut draft);
    place::place_missing(&mut draft);
    rollout::make_room(&mut draft);
    evacuate::force_off(&mut draft);
    reserve::restore(&mut draft);
    drain::serve_acknowledged(&mut draft);
    evacuate::bound_by_wish(&mut draft);
    draft.close()
}
