//! The C interface: NVML's names, types and error codes over the script.
//!
//! A handle is a number dressed as a pointer: the place of a UUID in a list that only grows. So a handle outlives its
//! device, as the driver's do, and no pointer that comes in is ever followed unless NVML's contract says it is an
//! output.

#![expect(unsafe_code, reason = "a C interface is called by C's rules: outputs are raw pointers")]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    event, place,
    script::{Device, Script, Slice},
};

const SUCCESS: c_uint = 0;
const INVALID_ARGUMENT: c_uint = 2;
const NOT_SUPPORTED: c_uint = 3;
const NOT_FOUND: c_uint = 6;
const INSUFFICIENT_SIZE: c_uint = 7;
const DRIVER_NOT_LOADED: c_uint = 9;
const TIMEOUT: c_uint = 10;
const GPU_IS_LOST: c_uint = 15;
const ARGUMENT_VERSION_MISMATCH: c_uint = 25;

const XID_EVENT: c_ulonglong = 8;
/// What NVML answers for "no instance" in a process or an event.
const NO_INSTANCE: c_uint = c_uint::MAX;
/// What NVML answers for an amount it does not know.
const NOT_AVAILABLE: c_ulonglong = c_ulonglong::MAX;
/// Slices a card can have at most, on every card with MIG so far.
const SLICES_MAX: c_uint = 7;
const MIB: u64 = 1 << 20;
/// How often a wait for events looks at the script.
const EVENT_STEP: Duration = Duration::from_millis(5);

/// A device handle: a place in [`UUIDS`], counted from one.
type Handle = *mut c_void;

/// Every UUID a handle was given out for.
static UUIDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlUtilization_t`.
#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlProcessInfo_v2_t`.
#[repr(C)]
pub struct ProcessInfo {
    pid: c_uint,
    used_memory: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// `nvmlEventData_t`.
#[repr(C)]
pub struct EventData {
    device: Handle,
    event_type: c_ulonglong,
    event_data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// What a handle stands for.
enum Found<'a> {
    Card(&'a Device),
    Slice(&'a Device, &'a Slice),
}

fn handle_of(uuid: &str) -> Handle {
    let mut uuids = UUIDS.lock().unwrap_or_else(PoisonError::into_inner);
    let at = uuids.iter().position(|known| known == uuid).unwrap_or_else(|| {
        uuids.push(uuid.to_owned());
        uuids.len() - 1
    });
    std::ptr::without_provenance_mut(at + 1)
}

fn uuid_of(handle: Handle) -> Option<String> {
    let uuids = UUIDS.lock().unwrap_or_else(PoisonError::into_inner);
    handle.addr().checked_sub(1).and_then(|at| uuids.get(at).cloned())
}

/// Answers from the script, once it lets calls through.
fn answer(of: impl FnOnce(&Script) -> c_uint) -> c_uint {
    match place::script() {
        Some(script) if script.driver.fails != 0 => script.driver.fails,
        Some(script) => of(&script),
        None => DRIVER_NOT_LOADED,
    }
}

/// Returns the error a card answers with, if it does.
fn error_of(device: &Device) -> Option<c_uint> {
    match device.fails {
        _ if device.lost => Some(GPU_IS_LOST),
        0 => None,
        code => Some(code),
    }
}

/// Answers about a handle. A device that is gone from the script fell off the bus after its handle was given out.
fn about(handle: Handle, of: impl FnOnce(Found<'_>) -> c_uint) -> c_uint {
    let Some(uuid) = uuid_of(handle) else { return INVALID_ARGUMENT };
    answer(|script| {
        for device in &script.devices {
            let is_of_it = device.uuid == uuid || device.slices.iter().any(|slice| slice.uuid == uuid);
            if let Some(code) = error_of(device).filter(|_| is_of_it) {
                return code;
            }
            if device.uuid == uuid {
                return of(Found::Card(device));
            }
            if let Some(slice) = device.slices.iter().find(|slice| slice.uuid == uuid) {
                return of(Found::Slice(device, slice));
            }
        }
        GPU_IS_LOST
    })
}

/// Answers about a whole card; a slice cannot tell.
fn about_card(handle: Handle, of: impl FnOnce(&Device) -> c_uint) -> c_uint {
    about(handle, |found| match found {
        Found::Card(device) => of(device),
        Found::Slice(..) => NOT_SUPPORTED,
    })
}

/// Writes an output; null is an invalid argument.
fn put<T>(out: *mut T, value: T) -> c_uint {
    if out.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: NVML's contract: an output is null or points to one value of its type.
    unsafe { out.write(value) };
    SUCCESS
}

/// Writes a text with its zero; a buffer that is too short is left alone.
fn put_text(out: *mut c_char, length: c_uint, text: &str) -> c_uint {
    if out.is_null() {
        return INVALID_ARGUMENT;
    }
    if text.len() + 1 > length as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: NVML's contract: `out` has room for `length` bytes, and the text with its zero is no longer.
    unsafe {
        out.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        out.add(text.len()).write(0);
    }
    SUCCESS
}

/// Begins.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_uint {
    answer(|_| SUCCESS)
}

/// Begins with flags, of which none matters here.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> c_uint {
    answer(|_| SUCCESS)
}

/// Ends. Never hangs: it is called while a host is left.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_uint {
    SUCCESS
}

/// Puts an error into words.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(code: c_uint) -> *const c_char {
    let text = match code {
        SUCCESS => c"Success",
        INVALID_ARGUMENT => c"Invalid Argument",
        NOT_SUPPORTED => c"Not Supported",
        NOT_FOUND => c"Not Found",
        INSUFFICIENT_SIZE => c"Insufficient Size",
        DRIVER_NOT_LOADED => c"Driver Not Loaded",
        TIMEOUT => c"Timeout",
        GPU_IS_LOST => c"GPU is lost",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

/// Tells the driver's version.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, length: c_uint) -> c_uint {
    answer(|script| put_text(out, length, &script.driver.version))
}

/// Tells the CUDA version the driver speaks.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetCudaDriverVersion_v2(out: *mut c_int) -> c_uint {
    answer(|script| put(out, script.driver.cuda))
}

/// Counts cards.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> c_uint {
    answer(|script| put(out, script.devices.len() as c_uint))
}

/// Finds a card by its place. One that fell off the bus has no handle any more.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut Handle) -> c_uint {
    answer(|script| match script.devices.get(index as usize) {
        Some(device) => error_of(device).unwrap_or_else(|| put(out, handle_of(&device.uuid))),
        None => INVALID_ARGUMENT,
    })
}

/// Finds a card or a slice by its UUID.
///
/// # Safety
///
/// `uuid` is null or a string that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, out: *mut Handle) -> c_uint {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller's promise.
    let wanted = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
    answer(|script| {
        let has = |device: &&Device| device.uuid == wanted || device.slices.iter().any(|slice| slice.uuid == wanted);
        match script.devices.iter().find(has) {
            Some(device) => error_of(device).unwrap_or_else(|| put(out, handle_of(&wanted))),
            None => NOT_FOUND,
        }
    })
}

/// Names a device; a slice is named after its card and profile.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetName(device: Handle, out: *mut c_char, length: c_uint) -> c_uint {
    about(device, |found| match found {
        Found::Card(card) => put_text(out, length, &card.name),
        Found::Slice(card, slice) => put_text(out, length, &format!("{} MIG {}", card.name, slice.profile)),
    })
}

/// Tells a device's UUID.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUUID(device: Handle, out: *mut c_char, length: c_uint) -> c_uint {
    about(device, |found| match found {
        Found::Card(card) => put_text(out, length, &card.uuid),
        Found::Slice(_, slice) => put_text(out, length, &slice.uuid),
    })
}

/// Tells a device's memory. The caller states which version of the structure it means.
///
/// # Safety
///
/// `out` is null or points to a structure of which at least the version is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, out: *mut MemoryV2) -> c_uint {
    if out.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller's promise.
    let version = unsafe { (&raw const (*out).version).read() };
    if version != (size_of::<MemoryV2>() | 2 << 24) as c_uint {
        return ARGUMENT_VERSION_MISMATCH;
    }
    about(device, |found| {
        let (total, used) = match found {
            Found::Card(card) => (card.memory_mib, card.used_mib),
            Found::Slice(_, slice) => (slice.memory_mib, 0),
        };
        let (total, used) = (total * MIB, used * MIB);
        put(out, MemoryV2 { version, total, reserved: 0, free: total.saturating_sub(used), used })
    })
}

/// Tells how busy a card is; of slices NVML does not know.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUtilizationRates(device: Handle, out: *mut Utilization) -> c_uint {
    about_card(device, |card| match card.supports("utilization") {
        true => put(out, Utilization { gpu: card.utilization, memory: card.memory_utilization }),
        false => NOT_SUPPORTED,
    })
}

/// Tells a card's temperature; there is one sensor.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTemperature(device: Handle, sensor: c_uint, out: *mut c_uint) -> c_uint {
    about_card(device, |card| match (sensor, card.supports("temperature")) {
        (0, true) => put(out, card.temperature),
        (0, false) => NOT_SUPPORTED,
        _ => INVALID_ARGUMENT,
    })
}

/// Tells what a card draws, in milliwatts.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPowerUsage(device: Handle, out: *mut c_uint) -> c_uint {
    about_card(device, |card| if card.supports("power") { put(out, card.power_mw) } else { NOT_SUPPORTED })
}

/// Tells the most a card may draw, in milliwatts.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetEnforcedPowerLimit(device: Handle, out: *mut c_uint) -> c_uint {
    about_card(device, |card| card.power_limit_mw.map_or(NOT_SUPPORTED, |limit| put(out, limit)))
}

/// Tells whether a card corrects its memory, now and after the next start.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetEccMode(device: Handle, now: *mut c_uint, next: *mut c_uint) -> c_uint {
    about_card(device, |card| match card.ecc_corrected.or(card.ecc_uncorrected) {
        Some(_) => put(now, 1).max(put(next, 1)),
        None => NOT_SUPPORTED,
    })
}

/// Counts memory errors, corrected (0) or not (1).
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: Handle,
    kind: c_uint,
    _counter: c_uint,
    out: *mut c_ulonglong,
) -> c_uint {
    about_card(device, |card| {
        let count = match kind {
            0 => card.ecc_corrected,
            1 => card.ecc_uncorrected,
            _ => return INVALID_ARGUMENT,
        };
        count.map_or(NOT_SUPPORTED, |count| put(out, count))
    })
}

/// Lists processes. Too little room is an error that says how much is needed.
///
/// # Safety
///
/// `count` points to the number of entries `out` has room for; `out` may be null when that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    out: *mut ProcessInfo,
) -> c_uint {
    if count.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller's promise.
    let room = unsafe { count.read() };
    about_card(device, |card| {
        if !card.supports("processes") {
            return NOT_SUPPORTED;
        }
        let needed = card.processes.len() as c_uint;
        if put(count, needed) != SUCCESS || needed == 0 {
            return SUCCESS;
        }
        if room < needed || out.is_null() {
            return INSUFFICIENT_SIZE;
        }
        for (at, (pid, mib)) in card.processes.iter().enumerate() {
            let process = ProcessInfo {
                pid: *pid,
                used_memory: mib.map_or(NOT_AVAILABLE, |mib| mib * MIB),
                gpu_instance: NO_INSTANCE,
                compute_instance: NO_INSTANCE,
            };
            // SAFETY: the caller's promise: room for at least `needed` entries.
            unsafe { out.add(at).write(process) };
        }
        SUCCESS
    })
}

/// Tells whether a card is cut into slices, now and after the next reset.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(device: Handle, now: *mut c_uint, next: *mut c_uint) -> c_uint {
    about_card(device, |card| {
        let mode = c_uint::from(card.mig_mode || !card.slices.is_empty());
        put(now, mode).max(put(next, mode))
    })
}

/// Tells how many slices a card can have: the limit, not how many there are.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, out: *mut c_uint) -> c_uint {
    about_card(device, |_| put(out, SLICES_MAX))
}

/// Finds a slice of a card by its place.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: c_uint, out: *mut Handle) -> c_uint {
    about_card(device, |card| match card.slices.get(index as usize) {
        Some(slice) => put(out, handle_of(&slice.uuid)),
        None => NOT_FOUND,
    })
}

/// Finds the card of a slice.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slice: Handle, out: *mut Handle) -> c_uint {
    about(slice, |found| match found {
        Found::Card(_) => INVALID_ARGUMENT,
        Found::Slice(card, _) => put(out, handle_of(&card.uuid)),
    })
}

/// Tells whether a handle is that of a slice.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceIsMigDeviceHandle(device: Handle, out: *mut c_uint) -> c_uint {
    about(device, |found| put(out, c_uint::from(matches!(found, Found::Slice(..)))))
}

/// Tells which events a card can send.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetSupportedEventTypes(device: Handle, out: *mut c_ulonglong) -> c_uint {
    about_card(device, |card| put(out, if card.supports("events") { XID_EVENT } else { 0 }))
}

/// Makes a set of events.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetCreate(out: *mut Handle) -> c_uint {
    answer(|script| put(out, std::ptr::without_provenance_mut(event::create(script))))
}

/// Lets a set hear of a card.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(device: Handle, types: c_ulonglong, set: Handle) -> c_uint {
    about_card(device, |card| match types & !XID_EVENT {
        0 if !card.supports("events") => NOT_SUPPORTED,
        0 if event::listen(set.addr(), &card.uuid) => SUCCESS,
        _ => INVALID_ARGUMENT,
    })
}

/// Waits for an event.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetWait_v2(set: Handle, out: *mut EventData, timeout_ms: c_uint) -> c_uint {
    let until = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    loop {
        let code = answer(|script| match event::next(set.addr(), script) {
            _ if script.driver.events_fail != 0 => script.driver.events_fail,
            Ok(Some((xid, uuid))) => put(
                out,
                EventData {
                    device: handle_of(&uuid),
                    event_type: XID_EVENT,
                    event_data: xid,
                    gpu_instance: NO_INSTANCE,
                    compute_instance: NO_INSTANCE,
                },
            ),
            Ok(None) => TIMEOUT,
            Err(()) => INVALID_ARGUMENT,
        });
        if code != TIMEOUT || Instant::now() >= until {
            return code;
        }
        thread::sleep(EVENT_STEP);
    }
}

/// Frees a set. Never hangs: it is called while a host is left.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: Handle) -> c_uint {
    if event::free(set.addr()) { SUCCESS } else { INVALID_ARGUMENT }
}
