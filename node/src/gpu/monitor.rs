//! The thread that asks NVML, and what the rest of the node may read of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use berth_core::{
    defaults::DEFAULTS,
    health::{CardWatch, DeviceSign, DriverAnswer, inventory},
    model::Device,
};
use nvml_wrapper::{EventSet, Nvml, bitmasks::event::EventTypes, enums::event::XidError, error::NvmlError};
use tokio::sync::watch;

use super::look::{CardLook, Look, look};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(DEFAULTS.device_look_interval.0);
/// Longest wait for an event: how long a monitor that is no longer wanted may take to notice.
const EVENT_WAIT: Duration = Duration::from_millis(250);
/// Wait before a library that stopped working is opened anew: a driver that is reset takes seconds.
const REOPEN_AFTER: Duration = Duration::from_secs(2);
/// Wait before a host that never had a GPU is asked again: its driver may be loaded later, and looking for it is cheap.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Events that are taken from a set before it is given up.
const LEFT_BEHIND_MAX: usize = 64;
/// What the driver says when it does not know which error it was.
const XID_UNKNOWN: u32 = 999;

/// What a host was found to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What can be given to replicas.
    pub devices: Vec<Device>,
    /// Why the driver lists none, in a sentence.
    pub why_none: Option<String>,
    /// Whether there should be some: the library is there and does not work.
    pub is_broken: bool,
    /// What is wrong with cards that do not answer, a sentence each.
    pub sick: Vec<String>,
}

/// What was seen last of every card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuView {
    /// What the last look saw.
    pub look: Look,
    /// What to say of each card, with the age of that look.
    pub signs: Vec<DeviceSign>,
}

/// Asks NVML on a thread of its own. Dropping it lets the thread end when it next comes by.
#[derive(Debug)]
pub struct GpuMonitor {
    shared: Arc<Shared>,
    _stop: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    state: Mutex<State>,
    first_look: Condvar,
    /// Counts faults of cards, so that nobody waits for the next heartbeat to tell.
    faults: watch::Sender<u64>,
    /// Counts looks.
    looks: watch::Sender<u64>,
    /// What the host has.
    devices: watch::Sender<Vec<Device>>,
}

/// What is listened to.
struct Ears<'nvml> {
    nvml: &'nvml Nvml,
    events: Option<Events<'nvml>>,
    /// Cards that cannot send events.
    deaf: BTreeSet<String>,
}

/// Which card cannot be listened to, and whether it ever can.
struct Refusal {
    at: usize,
    is_for_good: bool,
}

/// The events of the cards that send any.
struct Events<'nvml> {
    set: EventSet<'nvml>,
    /// What the driver calls each card.
    handles: Vec<(usize, String)>,
}

#[derive(Debug, Default)]
struct State {
    /// What the driver answered last; nothing until it has.
    found: Option<Found>,
    /// Whether it ever listed what there is.
    has_listed: bool,
    look: Look,
    cards: BTreeMap<String, CardWatch>,
}

// === impl GpuMonitor ===

impl GpuMonitor {
    /// Starts to watch the cards of the host, through the library at `library` or the one the loader finds. The devices in
    /// `before` are what the host had when it was last asked: they are expected until the driver says otherwise.
    pub fn start(library: Option<&Path>, before: Vec<Device>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let started = berth_core::time::Instant::from_millis(0);
        let expected = before.iter().map(|device| (device.card().to_owned(), CardWatch::expected(started)));
        let state = State { cards: expected.collect(), ..State::default() };
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(state),
            first_look: Condvar::new(),
            faults: watch::Sender::new(0),
            looks: watch::Sender::new(0),
            devices: watch::Sender::new(before),
        });
        let (library, of_thread) = (library.map(Path::to_owned), Arc::clone(&shared));
        thread::Builder::new().name("gpus".to_owned()).spawn(move || watch_cards(library, &of_thread, &stopped))?;
        Ok(Self { shared, _stop: stop })
    }

    /// Waits for the first answer and returns what the host has. Where none came by then, that is what it had before.
    pub fn found(&self, within: Duration) -> Found {
        let state = self.shared.state();
        let waiting = self.shared.first_look.wait_timeout_while(state, within, |state| state.found.is_none());
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.found.clone().unwrap_or_else(|| Found {
            devices: self.shared.devices.borrow().clone(),
            why_none: Some(format!("the NVIDIA driver has not answered within {} s", within.as_secs())),
            is_broken: true,
            sick: Vec::new(),
        })
    }

    /// Watches what the host has: cards come and go, are cut and made whole, and a driver may be loaded late.
    pub fn devices(&self) -> watch::Receiver<Vec<Device>> {
        self.shared.devices.subscribe()
    }

    /// Returns what was seen last, without waiting for anything.
    pub fn view(&self) -> GpuView {
        let now = self.shared.now();
        let state = self.shared.state();
        GpuView {
            look: state.look.clone(),
            signs: state.cards.iter().map(|(uuid, watch)| watch.sign(uuid, now)).collect(),
        }
    }

    /// Takes the processes of each card that the last look could not find on this host.
    pub(crate) fn unfound(&self, processes: BTreeMap<String, BTreeSet<u32>>) {
        let mut state = self.shared.state();
        for (card, processes) in processes {
            if let Some(watch) = state.cards.get_mut(&card) {
                watch.unfound(processes);
            }
        }
    }

    /// Watches for faults of any card.
    pub fn faults(&self) -> watch::Receiver<u64> {
        self.shared.faults.subscribe()
    }

    /// Watches for looks that ended.
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.shared.looks.subscribe()
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> berth_core::time::Instant {
        berth_core::time::Instant::from_millis(self.started.elapsed().as_millis() as u64)
    }

    fn known(&self) -> Vec<String> {
        self.state().cards.keys().cloned().collect()
    }

    /// Takes an answer: what the host has follows from it, and whoever waits for the first one goes on.
    fn answered(&self, answer: &DriverAnswer, found: Found) {
        let devices = inventory(&self.devices.borrow(), answer);
        let (is_changed, is_broken) = (*self.devices.borrow() != devices, found.is_broken);
        let before = self.state().found.replace(Found { devices: devices.clone(), ..found });
        // Who declares GPUs looks at both: what there is, and whether there should be more.
        if is_changed || before.is_none_or(|before| before.is_broken != is_broken) {
            self.devices.send_replace(devices);
        }
        if is_changed {
            tracing::info!(devices = self.devices.borrow().len(), "what this host has of GPUs changed");
        }
        self.first_look.notify_all();
    }

    /// Takes an error of the driver as a whole.
    fn failed(&self, error: &NvmlError) {
        let (why, is_missing) = (in_words(error), matches!(error, NvmlError::LibloadingError(_)));
        let found = Found { why_none: Some(why.clone()), is_broken: !is_missing, ..Found::default() };
        let (is_new, has_listed) = {
            let state = self.state();
            (state.found.as_ref().is_none_or(|found| found.why_none.as_ref() != Some(&why)), state.has_listed)
        };
        if is_new && has_listed {
            tracing::warn!(%error, "the NVIDIA driver stopped working; it is opened anew");
        }
        // A library that worked and is gone is being replaced: what runs has it loaded.
        let answer = if is_missing && !has_listed { DriverAnswer::Absent } else { DriverAnswer::Silent };
        if answer == DriverAnswer::Absent {
            self.state().cards.clear();
        }
        self.answered(&answer, found);
    }

    fn took(&self, look: Look) {
        let now = self.now();
        let mut faults = 0;
        let (answer, sick) = {
            let mut state = self.state();
            if !std::mem::replace(&mut state.has_listed, true) {
                // What is not even sick was taken out before this process began.
                state.cards.retain(|uuid, _| look.cards.iter().any(|card| card.uuid == *uuid));
            }
            for card in &look.cards {
                let answer = match &card.fault {
                    None => Ok(card.ecc_uncorrected),
                    Some(why) => Err(why.clone()),
                };
                let watch = state.cards.entry(card.uuid.clone()).or_default();
                if watch.looked(answer, now) {
                    faults += 1;
                    tracing::warn!(card = card.uuid, fault = card.fault, "a GPU has a fault");
                }
                let hid = state.look.cards.iter().any(|before| before.uuid == card.uuid && before.hides_memory());
                if card.hides_memory() && !hid {
                    let watch = state.cards.entry(card.uuid.clone()).or_default();
                    watch.note("the driver does not tell how much memory a process holds: no share is enforced".into());
                }
            }
            for why in look.nameless.iter().filter(|why| !state.look.nameless.contains(why)) {
                tracing::warn!(why, "a GPU does not say which one it is");
            }
            let before = std::mem::replace(&mut state.look, look);
            state.look.keep_identity_of(&before);
            (state.look.answer(), state.look.sick())
        };
        let is_none = matches!(&answer, DriverAnswer::Listed { devices, .. } if devices.is_empty());
        let why_none = is_none.then(|| "the NVIDIA driver lists no GPU".to_owned());
        self.answered(&answer, Found { why_none, is_broken: false, sick, devices: Vec::new() });
        self.looks.send_modify(|looks| *looks += 1);
        self.count(faults);
    }

    /// Lists the cards that answered the last look, in order.
    fn answering(&self) -> Vec<String> {
        let state = self.state();
        let answers = state.look.cards.iter().filter(|card| card.fault.is_none());
        let mut cards: Vec<_> = answers.map(|card| card.uuid.clone()).collect();
        cards.sort();
        cards
    }

    fn heard(&self, card: &str, xid: u32) {
        let text = berth_core::health::xid_text(xid);
        let is_fault = self.state().cards.entry(card.to_owned()).or_default().xid(xid);
        tracing::warn!(card, xid, is_fault, "a GPU reports {text}");
        self.count(u64::from(is_fault));
    }

    fn count(&self, faults: u64) {
        if faults > 0 {
            self.faults.send_modify(|count| *count += faults);
        }
    }
}

// === impl Look ===

impl Look {
    /// Lets a card that does not answer keep what was known of it.
    fn keep_identity_of(&mut self, before: &Self) {
        for card in self.cards.iter_mut().filter(|card| card.fault.is_some()) {
            if let Some(known) = before.cards.iter().find(|known| known.uuid == card.uuid) {
                let CardLook { model, memory_mib, is_cut, slices, .. } = known.clone();
                (card.model, card.memory_mib, card.is_cut, card.slices) = (model, memory_mib, is_cut, slices);
            }
        }
    }
}

/// Watches until it is told to stop. Nothing a driver answers ends it: one may be loaded, mended or replaced at any time.
fn watch_cards(library: Option<PathBuf>, shared: &Shared, stop: &mpsc::Receiver<()>) {
    loop {
        let opened = match &library {
            Some(path) => Nvml::builder().lib_path(path.as_os_str()).init(),
            None => Nvml::init(),
        };
        let ended = match opened {
            Ok(nvml) => watch_with(&nvml, shared, stop),
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        shared.failed(&error);
        let wait = if shared.known().is_empty() { ASK_AGAIN_AFTER } else { REOPEN_AFTER };
        if is_over(stop, wait) {
            return;
        }
    }
}

/// Looks and listens until it is told to stop, or the library has to be opened anew.
fn watch_with(nvml: &Nvml, shared: &Shared, stop: &mpsc::Receiver<()>) -> Result<(), NvmlError> {
    let mut ears = Ears { nvml, events: None, deaf: BTreeSet::new() };
    loop {
        let is_first = !shared.state().has_listed;
        shared.took(look(nvml, &shared.known(), is_first)?);
        ears.follow(shared);
        let next_look = Instant::now() + LOOK_EVERY;
        while let Some(left) = next_look.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let wait = left.min(EVENT_WAIT);
            match ears.events.as_ref().map(|events| events.wait(wait)) {
                Some(Ok((card, xid))) => shared.heard(&card, xid),
                Some(Err(NvmlError::Timeout)) => {}
                // It would say so again at once: a new set is made after the next look.
                Some(Err(error)) => {
                    tracing::warn!(%error, "the NVIDIA driver stopped sending events; it is asked for them anew");
                    ears.events = None;
                }
                None => {
                    if is_over(stop, wait) {
                        return Ok(());
                    }
                }
            }
            if is_over(stop, Duration::ZERO) {
                return Ok(());
            }
        }
    }
}

// === impl Ears ===

impl<'nvml> Ears<'nvml> {
    /// Listens to every card that answers and can send events, whatever came, went or failed since.
    fn follow(&mut self, shared: &Shared) {
        let mut cards = shared.answering();
        cards.retain(|card| !self.deaf.contains(card));
        let is_heard = |events: &Events<'_>| events.handles.iter().map(|(_, card)| card).eq(&cards);
        if self.events.as_ref().is_some_and(is_heard) {
            return;
        }
        let fresh = self.listen(cards);
        // What came until the new set was there, only the old one was told.
        if let Some(old) = std::mem::replace(&mut self.events, fresh) {
            for (card, xid) in std::iter::from_fn(|| old.wait(Duration::ZERO).ok()).take(LEFT_BEHIND_MAX) {
                shared.heard(&card, xid);
            }
        }
    }

    fn listen(&mut self, mut cards: Vec<String>) -> Option<Events<'nvml>> {
        while !cards.is_empty() {
            match Events::register(self.nvml, &cards) {
                Ok(events) => return Some(events),
                // A refusal frees the whole set, so the others begin anew without that card.
                Err(Refusal { at, is_for_good }) => {
                    let card = cards.remove(at);
                    if is_for_good {
                        tracing::info!(card, "this GPU sends no events; only looks show its faults");
                        self.deaf.insert(card);
                    }
                }
            }
        }
        None
    }
}

// === impl Events ===

impl<'nvml> Events<'nvml> {
    /// Registers all cards, or says which one cannot be.
    fn register(nvml: &'nvml Nvml, cards: &[String]) -> Result<Self, Refusal> {
        let refused =
            |at| move |error: NvmlError| Refusal { at, is_for_good: matches!(error, NvmlError::NotSupported) };
        let mut set = nvml.create_event_set().map_err(refused(0))?;
        let mut handles = Vec::new();
        for (at, uuid) in cards.iter().enumerate() {
            let device = nvml.device_by_uuid(uuid.as_str()).map_err(refused(at))?;
            let types = device.supported_event_types().map_err(refused(at))?;
            if !types.contains(EventTypes::CRITICAL_XID_ERROR) {
                return Err(Refusal { at, is_for_good: true });
            }
            handles.push((handle_of(&device), uuid.clone()));
            let registered = device.register_events(EventTypes::CRITICAL_XID_ERROR, set);
            set = registered.map_err(|failed| refused(at)(failed.error))?;
        }
        Ok(Self { set, handles })
    }

    /// Waits for one event and returns the card and its XID.
    fn wait(&self, wait: Duration) -> Result<(String, u32), NvmlError> {
        let event = self.set.wait(wait.as_millis().max(1) as u32)?;
        let xid = match event.event_data {
            Some(XidError::Value(xid)) => u32::try_from(xid).unwrap_or(XID_UNKNOWN),
            _ => XID_UNKNOWN,
        };
        let handle = handle_of(&event.device);
        let known = self.handles.iter().find(|(known, _)| *known == handle).map(|(_, uuid)| uuid.clone());
        Ok((known.map_or_else(|| event.device.uuid(), Ok)?, xid))
    }
}

/// Returns what the driver calls a device, to know it again when it can no longer say who it is.
fn handle_of(device: &nvml_wrapper::Device<'_>) -> usize {
    #[expect(unsafe_code, reason = "the wrapper marks every look at a raw handle")]
    // SAFETY: the handle is compared and never given back to the library.
    let handle = unsafe { device.handle() };
    handle.addr()
}

/// Waits, and returns whether the monitor is no longer wanted.
fn is_over(stop: &mpsc::Receiver<()>, wait: Duration) -> bool {
    !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}

fn in_words(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => "the NVML library is not on this host".to_owned(),
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".to_owned(),
        NvmlError::LibRmVersionMismatch => {
            "the NVIDIA driver was updated and the host was not started again since".to_owned()
        }
        NvmlError::NoPermission => "this user may not ask the NVIDIA driver".to_owned(),
        other => format!("the NVIDIA driver answers `{other}`"),
    }
}
