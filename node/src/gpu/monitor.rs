//! The thread that asks NVML, and what the rest of the node may read of it.

use std::{
    collections::BTreeMap,
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
    health::{CardWatch, DeviceSign},
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
/// What the driver says when it does not know which error it was.
const XID_UNKNOWN: u32 = 999;

/// What a host was found to have when its monitor started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What can be given to replicas.
    pub devices: Vec<Device>,
    /// Why there is none, in a sentence.
    pub why_none: Option<String>,
    /// Whether there should be some: the library is there and does not work.
    pub is_broken: bool,
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
}

/// The events of the cards that send any.
struct Events<'nvml> {
    set: EventSet<'nvml>,
    /// What the driver calls each card.
    handles: Vec<(usize, String)>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<Found>,
    look: Look,
    cards: BTreeMap<String, CardWatch>,
}

// === impl GpuMonitor ===

impl GpuMonitor {
    /// Starts to watch the cards of the host, through the library at `library` or the one the loader finds.
    pub fn start(library: Option<&Path>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::default(),
            first_look: Condvar::new(),
            faults: watch::Sender::new(0),
            looks: watch::Sender::new(0),
        });
        let (library, of_thread) = (library.map(Path::to_owned), Arc::clone(&shared));
        thread::Builder::new().name("gpus".to_owned()).spawn(move || watch_cards(library, &of_thread, &stopped))?;
        Ok(Self { shared, _stop: stop })
    }

    /// Waits for the first look and returns what the host has. A driver that has not answered by then counts as none.
    pub fn found(&self, within: Duration) -> Found {
        let state = self.shared.state();
        let waiting = self.shared.first_look.wait_timeout_while(state, within, |state| state.found.is_none());
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.found.clone().unwrap_or_else(|| Found {
            devices: Vec::new(),
            why_none: Some(format!("the NVIDIA driver has not answered within {} s", within.as_secs())),
            is_broken: true,
        })
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

    fn settle(&self, found: Found) {
        self.state().found.get_or_insert(found);
        self.first_look.notify_all();
    }

    fn known(&self) -> Vec<String> {
        self.state().cards.keys().cloned().collect()
    }

    fn took(&self, look: Look) {
        let now = self.now();
        let mut faults = 0;
        {
            let mut state = self.state();
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
            }
            let before = std::mem::replace(&mut state.look, look);
            state.look.keep_identity_of(&before);
        }
        let devices = self.state().look.devices();
        let why_none = devices.is_empty().then(|| "the NVIDIA driver lists no GPU".to_owned());
        self.settle(Found { devices, why_none, is_broken: false });
        self.looks.send_modify(|looks| *looks += 1);
        self.count(faults);
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
                let CardLook { model, memory_mib, slices, .. } = known.clone();
                (card.model, card.memory_mib, card.slices) = (model, memory_mib, slices);
            }
        }
    }
}

/// Watches until it is told to stop. A host that has no library or no card is not asked again: what a node has is told
/// when it registers, so a driver that was installed since needs its agent started anew.
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
        match ended {
            Ok(()) => return,
            Err(error) => {
                let why_none = Some(in_words(&error));
                let is_broken = !matches!(error, NvmlError::LibloadingError(_));
                shared.settle(Found { devices: Vec::new(), why_none, is_broken });
                if shared.known().is_empty() {
                    return;
                }
                tracing::warn!(%error, "the NVIDIA driver stopped working; it is opened anew");
            }
        }
        if is_over(stop, REOPEN_AFTER) {
            return;
        }
    }
}

/// Looks and listens until it is told to stop, or the library has to be opened anew.
fn watch_with(nvml: &Nvml, shared: &Shared, stop: &mpsc::Receiver<()>) -> Result<(), NvmlError> {
    shared.took(look(nvml, &shared.known())?);
    let events = Events::open(nvml, shared);
    loop {
        let next_look = Instant::now() + LOOK_EVERY;
        while let Some(left) = next_look.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let wait = left.min(EVENT_WAIT);
            match events.as_ref().map(|events| events.wait(wait)) {
                Some(Ok((card, xid))) => shared.heard(&card, xid),
                Some(Err(NvmlError::Timeout)) => {}
                // It would say so again at once: wait without it.
                Some(Err(_)) | None => {
                    if is_over(stop, wait) {
                        return Ok(());
                    }
                }
            }
            if is_over(stop, Duration::ZERO) {
                return Ok(());
            }
        }
        shared.took(look(nvml, &shared.known())?);
    }
}

// === impl Events ===

impl<'nvml> Events<'nvml> {
    /// Listens to every card that can send XIDs; nothing when none can.
    fn open(nvml: &'nvml Nvml, shared: &Shared) -> Option<Self> {
        let mut cards = shared.known();
        while !cards.is_empty() {
            match Self::register(nvml, &cards) {
                Ok(events) => return Some(events),
                // A refusal frees the whole set, so the others begin anew without that card.
                Err(at) => {
                    tracing::info!(card = cards[at], "this GPU sends no events; only looks show its faults");
                    cards.remove(at);
                }
            }
        }
        None
    }

    /// Registers all cards, or says which one cannot be.
    fn register(nvml: &'nvml Nvml, cards: &[String]) -> Result<Self, usize> {
        let mut set = nvml.create_event_set().map_err(|_| 0_usize)?;
        let mut handles = Vec::new();
        for (at, uuid) in cards.iter().enumerate() {
            let device = nvml.device_by_uuid(uuid.as_str()).map_err(|_| at)?;
            let types = device.supported_event_types().map_err(|_| at)?;
            if !types.contains(EventTypes::CRITICAL_XID_ERROR) {
                return Err(at);
            }
            handles.push((handle_of(&device), uuid.clone()));
            set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|_| at)?;
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
