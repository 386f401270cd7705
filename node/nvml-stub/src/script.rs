//! The script: what the library pretends to see.
//!
//! ```text
//! [driver]
//! version = 550.90.07      ; text of nvmlSystemGetDriverVersion
//! cuda = 12040
//! hang = false             ; true: every call blocks until it is false again
//! fails = 0                ; an NVML error code that every call answers, init included
//! events_fail = 0          ; an NVML error code that every wait for events answers
//!
//! [device GPU-1]           ; the section names the UUID
//! name = NVIDIA H100 80GB HBM3
//! memory_mib = 81559
//! used_mib = 0
//! utilization = 0          ; percent
//! memory_utilization = 0   ; percent
//! temperature = 30         ; degrees
//! power_mw = 70000
//! power_limit_mw = 700000  ; absent: it does not tell
//! ecc_corrected = 0        ; both absent: no ECC
//! ecc_uncorrected = 0
//! process = 4711 9318      ; process id and MiB, `-` where the driver does not tell; may be repeated
//! mig = MIG-1 1g.10gb 9856 ; UUID, profile and MiB of a slice; may be repeated
//! mig_mode = false         ; true: it is to be cut, even while it has no slice
//! lost = false             ; true: it fell off the bus
//! fails = 0                ; an NVML error code that every call about it answers
//! unsupported = power      ; what this device cannot tell; may be repeated
//!
//! [events]
//! xid = 79 GPU-1           ; appended lines are new events
//! ```
//!
//! A device whose section is removed has vanished: its old handles answer as those of a lost one.

/// Everything a host's library sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) driver: Driver,
    pub(crate) devices: Vec<Device>,
    /// Every XID since the beginning, oldest first.
    pub(crate) xids: Vec<(u64, String)>,
}

/// The driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Driver {
    pub(crate) version: String,
    pub(crate) cuda: i32,
    pub(crate) hang: bool,
    pub(crate) fails: u32,
    pub(crate) events_fail: u32,
}

/// One card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) memory_mib: u64,
    pub(crate) used_mib: u64,
    pub(crate) utilization: u32,
    pub(crate) memory_utilization: u32,
    pub(crate) temperature: u32,
    pub(crate) power_mw: u32,
    pub(crate) power_limit_mw: Option<u32>,
    pub(crate) ecc_corrected: Option<u64>,
    pub(crate) ecc_uncorrected: Option<u64>,
    pub(crate) processes: Vec<(u32, Option<u64>)>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) mig_mode: bool,
    pub(crate) lost: bool,
    pub(crate) fails: u32,
    pub(crate) unsupported: Vec<String>,
}

/// One MIG slice of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) uuid: String,
    pub(crate) profile: String,
    pub(crate) memory_mib: u64,
}

/// Where a line belongs.
enum Section {
    None,
    Driver,
    Device,
    Events,
}

// === impl Script ===

impl Script {
    /// Reads a script; an unreadable line is an error with its number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut section = Section::None;
        for (at, line) in text.lines().enumerate() {
            let line = line.split(';').next().unwrap_or_default().trim();
            let wrong = |what: &str| format!("line {}: {what}: {line}", at + 1);
            if line.is_empty() {
                continue;
            }
            if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = script.open(head.trim()).ok_or_else(|| wrong("no such section"))?;
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("neither a section nor `key = value`"))?;
            let (key, value) = (key.trim(), value.trim());
            let known = match section {
                Section::None => None,
                Section::Driver => script.driver.set(key, value),
                Section::Device => script.devices.last_mut().and_then(|device| device.set(key, value)),
                Section::Events => script.event(key, value),
            };
            known.ok_or_else(|| wrong("no such key, or not a value it takes"))?;
        }
        Ok(script)
    }

    fn open(&mut self, head: &str) -> Option<Section> {
        match head.split_once(' ') {
            None if head == "driver" => Some(Section::Driver),
            None if head == "events" => Some(Section::Events),
            Some(("device", uuid)) => {
                self.devices.push(Device { uuid: uuid.trim().to_owned(), ..Device::default() });
                Some(Section::Device)
            }
            _ => None,
        }
    }

    fn event(&mut self, key: &str, value: &str) -> Option<()> {
        let (xid, uuid) = value.split_once(' ').filter(|_| key == "xid")?;
        self.xids.push((xid.parse().ok()?, uuid.trim().to_owned()));
        Some(())
    }
}

// === impl Driver ===

impl Driver {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "version" => value.clone_into(&mut self.version),
            "cuda" => self.cuda = value.parse().ok()?,
            "hang" => self.hang = value.parse().ok()?,
            "fails" => self.fails = value.parse().ok()?,
            "events_fail" => self.events_fail = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

// === impl Device ===

impl Device {
    /// Returns whether it can tell something.
    pub(crate) fn supports(&self, what: &str) -> bool {
        !self.unsupported.iter().any(|missing| missing == what)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "name" => value.clone_into(&mut self.name),
            "memory_mib" => self.memory_mib = value.parse().ok()?,
            "used_mib" => self.used_mib = value.parse().ok()?,
            "utilization" => self.utilization = value.parse().ok()?,
            "memory_utilization" => self.memory_utilization = value.parse().ok()?,
            "temperature" => self.temperature = value.parse().ok()?,
            "power_mw" => self.power_mw = value.parse().ok()?,
            "power_limit_mw" => self.power_limit_mw = Some(value.parse().ok()?),
            "ecc_corrected" => self.ecc_corrected = Some(value.parse().ok()?),
            "ecc_uncorrected" => self.ecc_uncorrected = Some(value.parse().ok()?),
            "mig_mode" => self.mig_mode = value.parse().ok()?,
            "lost" => self.lost = value.parse().ok()?,
            "fails" => self.fails = value.parse().ok()?,
            "unsupported" => self.unsupported.push(value.to_owned()),
            "process" => {
                let (pid, mib) = value.split_once(' ')?;
                let mib = match mib.trim() {
                    "-" => None,
                    mib => Some(mib.parse().ok()?),
                };
                self.processes.push((pid.parse().ok()?, mib));
            }
            "mig" => {
                let mut parts = value.split_whitespace();
                let (uuid, profile, mib) = (parts.next()?, parts.next()?, parts.next()?);
                let (uuid, profile) = (uuid.to_owned(), profile.to_owned());
                self.slices.push(Slice { uuid, profile, memory_mib: mib.parse().ok()? });
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_documented() {
        let text = "[driver]\nversion = 1.2\nhang = true ; now\n\n[device GPU-1]\nname = NVIDIA H100\nmemory_mib = 80\n\
                    process = 7 9\nmig = MIG-1 1g.10gb 9856\nunsupported = power\n[device GPU-2]\nlost = true\n\
                    [events]\nxid = 79 GPU-1\nxid = 13 GPU-2\n";
        let script = Script::parse(text).unwrap();
        assert_eq!((script.driver.version.as_str(), script.driver.hang), ("1.2", true));
        let [first, second] = script.devices.as_slice() else { panic!("{script:?}") };
        assert_eq!((first.uuid.as_str(), first.memory_mib, first.processes[0]), ("GPU-1", 80, (7, Some(9))));
        assert_eq!((first.slices[0].profile.as_str(), first.slices[0].memory_mib), ("1g.10gb", 9_856));
        assert!(!first.supports("power") && first.supports("temperature") && second.lost);
        assert_eq!(script.xids, [(79, "GPU-1".to_owned()), (13, "GPU-2".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_named_by_its_line() {
        for (text, line) in [
            ("version = 1", "line 1"),
            ("[driver]\ncolour = red", "line 2"),
            ("[device G]\nmemory_mib = lots", "line 2"),
            ("[devices]", "line 1"),
            ("[events]\nxid = 79", "line 2"),
            ("[driver]\nhello", "line 2"),
        ] {
            assert!(Script::parse(text).unwrap_err().starts_with(line), "{text}");
        }
    }
}
