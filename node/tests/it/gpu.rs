//! GPUs through the real wrapper: a script beside the stand-in library says what the driver answers.

use std::time::Duration;

use berth_core::{health::DeviceSign, model::Device};
use berth_node::gpu::{
    CardLook, GpuMonitor, GpuView,
    fake::{FakeGpus, FakeHost},
};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than any look takes; only what never comes is cut by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host with a script, and its monitor.
struct Host {
    _dir: TempDir,
    fake: FakeHost,
    monitor: GpuMonitor,
    script: String,
}

impl Host {
    fn new(gpus: &str) -> Self {
        Self::scripted(gpus.parse::<FakeGpus>().unwrap().script("t"))
    }

    fn scripted(script: String) -> Self {
        Self::that_had(&[], script)
    }

    /// A host that had these cards when its last agent asked.
    fn that_had(before: &[&str], script: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeHost::install(dir.path(), &script).unwrap();
        let before = before.iter().map(|uuid| Device { uuid: (*uuid).to_owned(), ..Device::default() });
        let monitor = GpuMonitor::start(Some(&fake.library()), before.collect()).unwrap();
        Self { _dir: dir, fake, monitor, script }
    }

    /// Waits until the host has these devices.
    async fn until_it_has(&self, uuids: &[&str]) {
        let mut devices = self.monitor.devices();
        let has = |devices: &Vec<Device>| devices.iter().map(|device| device.uuid.as_str()).eq(uuids.iter().copied());
        let waited = timeout(PATIENCE, devices.wait_for(has)).await.map(|seen| seen.map(drop));
        waited.unwrap_or_else(|_| panic!("{:?}", self.monitor.devices().borrow())).unwrap();
    }

    /// Changes the script.
    fn change(&mut self, change: impl FnOnce(String) -> String) {
        self.script = change(std::mem::take(&mut self.script));
        self.fake.rewrite(&self.script).unwrap();
    }

    /// Appends events.
    fn events(&mut self, lines: &str) {
        self.change(|script| format!("{script}{lines}\n"));
    }

    /// Waits until what is seen fits.
    async fn until(&self, fits: impl Fn(&GpuView) -> bool) -> GpuView {
        let (mut looks, mut faults) = (self.monitor.looks(), self.monitor.faults());
        let seen = async {
            loop {
                let view = self.monitor.view();
                if fits(&view) {
                    return view;
                }
                tokio::select! {
                    changed = looks.changed() => changed.unwrap(),
                    changed = faults.changed() => changed.unwrap(),
                    // Age is seen without a look.
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("never seen; last: {:?}", self.monitor.view()))
    }
}

fn card<'a>(view: &'a GpuView, uuid: &str) -> &'a CardLook {
    view.look.cards.iter().find(|card| card.uuid == uuid).unwrap_or_else(|| panic!("no {uuid} in {view:?}"))
}

fn sign<'a>(view: &'a GpuView, uuid: &str) -> &'a DeviceSign {
    view.signs.iter().find(|sign| sign.card == uuid).unwrap_or_else(|| panic!("no {uuid} in {view:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_card_tells_is_read() {
    let host = Host::scripted(
        "[driver]\nversion = 550.90.07 simulated\n[device GPU-a]\nname = NVIDIA H100 80GB HBM3\nmemory_mib = 81559\n\
         used_mib = 9318\nutilization = 37\ntemperature = 61\npower_mw = 412000\npower_limit_mw = 700000\necc_corrected = 3\n\
         ecc_uncorrected = 1\nprocess = 4711 9318\nprocess = 4712 12\n[device GPU-b]\nname = Tesla T4\n\
         memory_mib = 15360\nunsupported = power\nunsupported = utilization\nunsupported = events\n"
            .to_owned(),
    );
    let found = tokio::task::block_in_place(|| host.monitor.found(PATIENCE));
    let devices: Vec<_> = found.devices.iter().map(|d| (d.uuid.as_str(), d.model.as_str(), d.memory_mib)).collect();
    assert_eq!(devices, [("GPU-a", "H100", 81_559), ("GPU-b", "T4", 15_360)]);
    assert!(found.devices.iter().all(|d| d.healthy && d.simulated && d.driver.starts_with("550") && d.card.is_none()));
    let view = host.until(|view| !view.look.cards.is_empty()).await;
    let expected = CardLook {
        uuid: "GPU-a".into(),
        model: "H100".into(),
        memory_mib: 81_559,
        used_mib: 9_318,
        utilization_percent: Some(37),
        temperature_celsius: Some(61),
        power_milliwatt: Some(412_000),
        power_limit_milliwatt: Some(700_000),
        ecc_corrected: Some(3),
        ecc_uncorrected: Some(1),
        processes: vec![(4_711, Some(9_318)), (4_712, Some(12))],
        ..CardLook::default()
    };
    assert_eq!(*card(&view, "GPU-a"), expected);
    let dumb = card(&view, "GPU-b");
    assert_eq!((dumb.power_milliwatt, dumb.utilization_percent, dumb.ecc_corrected), (None, None, None));
    assert_eq!(dumb.power_limit_milliwatt, None);
    assert_eq!((dumb.temperature_celsius, &dumb.fault), (Some(0), &None), "not knowing is no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_cut_is_listed_as_its_slices() {
    let host = Host::new("1x80GiB:H100/2x1g.10gb,1x24GiB:A10");
    let found = tokio::task::block_in_place(|| host.monitor.found(PATIENCE));
    let devices: Vec<_> = found
        .devices
        .iter()
        .map(|d| (d.uuid.as_str(), d.model.as_str(), d.mig_profile.as_deref(), d.memory_mib, d.card()))
        .collect();
    assert_eq!(
        devices,
        [
            ("MIG-t-0-0", "H100", Some("1g.10gb"), 10_240, "GPU-t-0"),
            ("MIG-t-0-1", "H100", Some("1g.10gb"), 10_240, "GPU-t-0"),
            ("GPU-t-1", "A10", None, 24_576, "GPU-t-1"),
        ]
    );
}

#[tokio::test]
async fn a_card_that_is_to_be_cut_and_has_no_slices_yet_is_nobodys() {
    let script = "2x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let mut host = Host::scripted(script.replacen("temperature = 30", "temperature = 30\nmig_mode = true", 1));
    host.until_it_has(&["GPU-t-1"]).await;
    host.change(|script| script.replacen("mig_mode = true", "mig = MIG-1 3g.40gb 40000", 1));
    host.until_it_has(&["GPU-t-1", "MIG-1"]).await;
}

#[tokio::test]
async fn an_xid_is_heard_at_once_and_only_the_devices_own_are_faults() {
    let mut host = Host::new("2x80GiB:H100");
    host.until(|view| view.signs.len() == 2 && view.signs.iter().all(|sign| sign.passing.is_some())).await;
    // The monitor listens from its first look on; a second look means that it does.
    let seen = *host.monitor.looks().borrow();
    let mut looks = host.monitor.looks();
    timeout(PATIENCE, looks.wait_for(|looks| *looks > seen)).await.unwrap().unwrap();
    host.events("xid = 13 GPU-t-0\nxid = 31 GPU-t-0");
    let view = host.until(|view| sign(view, "GPU-t-0").notes == 2).await;
    assert_eq!((sign(&view, "GPU-t-0").faults, sign(&view, "GPU-t-0").passing.is_some()), (0, true));
    assert!(sign(&view, "GPU-t-0").last_note.contains("XID 31"), "{view:?}");
    host.events("xid = 48 GPU-t-1");
    let view = host.until(|view| sign(view, "GPU-t-1").faults == 1).await;
    assert!(sign(&view, "GPU-t-1").last_fault.contains("XID 48"), "{view:?}");
    assert_eq!(sign(&view, "GPU-t-0").faults, 0, "its neighbour is sound");
    // It answers every question, so it passes again, and the fault stays counted.
    let view = host.until(|view| sign(view, "GPU-t-1").passing.is_some()).await;
    assert_eq!(sign(&view, "GPU-t-1").faults, 1);
}

#[tokio::test]
async fn a_card_that_falls_off_the_bus_or_vanishes_is_a_fault_and_comes_back() {
    let mut host = Host::new("2x80GiB:H100");
    host.until(|view| view.signs.iter().filter(|sign| sign.passing.is_some()).count() == 2).await;
    host.change(|script| script.replacen("temperature = 30", "temperature = 30\nlost = true", 1));
    let view = host.until(|view| sign(view, "GPU-t-0").faults == 1).await;
    assert_eq!(card(&view, "GPU-t-0").fault.as_deref(), Some("it fell off the bus"));
    assert_eq!((card(&view, "GPU-t-0").model.as_str(), sign(&view, "GPU-t-0").passing), ("H100", None));
    assert_eq!(sign(&view, "GPU-t-1").faults, 0);
    host.change(|script| script.replace("lost = true", "lost = false"));
    host.until(|view| sign(view, "GPU-t-0").passing.is_some() && card(view, "GPU-t-0").fault.is_none()).await;
    host.change(|script| script.replace("[device GPU-t-1]", "[device GPU-other]"));
    let view = host.until(|view| sign(view, "GPU-t-1").faults == 1).await;
    assert_eq!(card(&view, "GPU-t-1").fault.as_deref(), Some("the driver does not list it any more"));
}

#[tokio::test]
async fn memory_errors_that_could_not_be_corrected_are_a_fault() {
    let mut host = Host::new("1x80GiB:H100");
    host.until(|view| view.signs.iter().any(|sign| sign.passing.is_some())).await;
    host.change(|script| script.replace("ecc_uncorrected = 0", "ecc_uncorrected = 2"));
    let view = host.until(|view| sign(view, "GPU-t-0").faults == 1).await;
    assert_eq!(sign(&view, "GPU-t-0").last_fault, "2 new memory errors that could not be corrected");
}

#[tokio::test]
async fn a_driver_that_hangs_blocks_nobody_and_its_silence_grows() {
    let mut host = Host::new("1x80GiB:H100");
    host.until(|view| view.signs.iter().any(|sign| sign.passing.is_some())).await;
    host.change(|script| script.replace("[driver]", "[driver]\nhang = true"));
    // What was seen last stays to be read, with its age.
    let view = host.until(|view| sign(view, "GPU-t-0").silent.0 >= 2_500).await;
    assert_eq!((sign(&view, "GPU-t-0").faults, card(&view, "GPU-t-0").memory_mib), (0, 81_920));
    host.change(|script| script.replace("hang = true", "hang = false"));
    host.until(|view| sign(view, "GPU-t-0").silent.0 < 1_000).await;
}

#[tokio::test]
async fn a_driver_that_is_reset_is_opened_anew() {
    let mut host = Host::new("1x80GiB:H100");
    host.until(|view| view.signs.iter().any(|sign| sign.passing.is_some())).await;
    host.change(|script| script.replace("[driver]", "[driver]\nfails = 9"));
    host.until(|view| sign(view, "GPU-t-0").silent.0 >= 2_500).await;
    host.change(|script| script.replace("fails = 9", "fails = 0"));
    let view = host.until(|view| sign(view, "GPU-t-0").silent.0 < 1_000).await;
    assert_eq!(sign(&view, "GPU-t-0").faults, 0, "a reset is silence, not a fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_gpus_says_why() {
    let empty = tempfile::tempdir().unwrap();
    let missing = GpuMonitor::start(Some(&empty.path().join("libnvidia-ml.so")), Vec::new()).unwrap();
    for (monitor, why) in [
        (missing, "the NVML library is not on this host"),
        (Host::scripted("[driver]\nfails = 9\n".into()).monitor, "the NVIDIA driver is not loaded"),
        (Host::scripted("[driver]\nfails = 18\n".into()).monitor, "the host was not started again since"),
        (Host::scripted("[driver]\nversion = 1\n".into()).monitor, "the NVIDIA driver lists no GPU"),
    ] {
        let found = tokio::task::block_in_place(|| monitor.found(PATIENCE));
        assert!(found.devices.is_empty());
        assert!(found.why_none.as_deref().is_some_and(|said| said.contains(why)), "{found:?}");
    }
    let hanging = Host::scripted("[driver]\nhang = true\n".into());
    let found = tokio::task::block_in_place(|| hanging.monitor.found(Duration::from_millis(200)));
    assert!(found.why_none.is_some_and(|why| why.contains("has not answered")));
}

/// On a host with GPUs this is a test of the real library; on any other, of a reason being given.
#[tokio::test(flavor = "multi_thread")]
async fn what_this_host_has_is_told_whole_or_with_a_reason() {
    let monitor = GpuMonitor::start(None, Vec::new()).unwrap();
    let found = tokio::task::block_in_place(|| monitor.found(PATIENCE));
    assert_eq!(found.devices.is_empty(), found.why_none.is_some(), "{found:?}");
    for device in &found.devices {
        assert!(!device.simulated && !device.model.is_empty() && device.memory_mib > 1_000, "{device:?}");
    }
}

#[tokio::test]
async fn a_driver_that_is_loaded_after_the_agent_is_found() {
    let script = "2x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let mut host = Host::scripted(script.replace("[driver]", "[driver]\nfails = 9"));
    host.until_it_has(&[]).await;
    host.change(|script| script.replace("fails = 9", "fails = 0"));
    host.until_it_has(&["GPU-t-0", "GPU-t-1"]).await;
    let view = host.until(|view| view.signs.len() == 2 && view.signs.iter().all(|sign| sign.passing.is_some())).await;
    assert!(view.signs.iter().all(|sign| sign.faults == 0), "{view:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_while_the_driver_hangs_keeps_what_the_host_had() {
    let script = "2x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let before = ["GPU-t-0", "GPU-t-1"];
    let mut host = Host::that_had(&before, script.replace("[driver]", "[driver]\nhang = true"));
    let found = tokio::task::block_in_place(|| host.monitor.found(Duration::from_millis(100)));
    assert_eq!((found.devices.len(), found.is_broken), (2, true), "{found:?}");
    // Nobody looked at them since this agent started: they are not to be trusted, and not condemned.
    let view = host.until(|view| view.signs.iter().all(|sign| sign.silent.0 >= 200)).await;
    assert!(view.signs.len() == 2 && view.signs.iter().all(|sign| sign.faults == 0 && sign.passing.is_none()));
    host.change(|script| script.replace("hang = true", "hang = false"));
    host.until(|view| view.signs.iter().all(|sign| sign.passing.is_some())).await;
    host.until_it_has(&before).await;
}

#[tokio::test]
async fn what_a_host_had_follows_what_its_driver_lists() {
    let script = "1x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    // One was taken out before the agent started; what is listed no more while it runs is sick.
    let mut host = Host::that_had(&["GPU-old", "GPU-t-0"], script);
    host.until_it_has(&["GPU-t-0"]).await;
    host.until(|view| view.signs.len() == 1).await;
    host.change(|script| {
        script.replace("[events]", "[device GPU-new]\nname = NVIDIA A10\nmemory_mib = 24576\n[events]")
    });
    host.until_it_has(&["GPU-t-0", "GPU-new"]).await;
    host.change(|script| script.replacen("temperature = 30", "temperature = 30\nmig = MIG-1 3g.40gb 40000", 1));
    host.until_it_has(&["GPU-new", "MIG-1"]).await;
    host.change(|script| script.replacen("temperature = 30", "temperature = 30\nlost = true", 1));
    host.until(|view| sign(view, "GPU-t-0").faults == 1).await;
    host.until_it_has(&["GPU-new", "MIG-1"]).await;

    // Only where no library is, there is nothing.
    let empty = tempfile::tempdir().unwrap();
    let had = vec![Device { uuid: "GPU-1".into(), ..Device::default() }];
    let monitor = GpuMonitor::start(Some(&empty.path().join("libnvidia-ml.so")), had).unwrap();
    timeout(PATIENCE, monitor.devices().wait_for(Vec::is_empty)).await.unwrap().unwrap();
    assert!(monitor.view().signs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_card_blinds_nobody_to_the_others() {
    let script = "3x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let sick = script.replace("[device GPU-t-1]", "[device GPU-t-1]\nfails = 999");
    // One that never said who it is: nobody can be given it, and people are told.
    let mut host = Host::scripted(sick.clone());
    host.until_it_has(&["GPU-t-0", "GPU-t-2"]).await;
    let found = tokio::task::block_in_place(|| host.monitor.found(PATIENCE));
    assert!(matches!(found.sick.as_slice(), [one] if one.contains("never seen")), "{found:?}");
    host.change(|_| script);
    host.until_it_has(&["GPU-t-0", "GPU-t-2", "GPU-t-1"]).await;
    // One that is known is a card with a fault, and stays.
    host.change(|_| sick);
    let view = host.until(|view| sign(view, "GPU-t-1").faults == 1).await;
    assert_eq!((sign(&view, "GPU-t-0").faults, card(&view, "GPU-t-1").model.as_str()), (0, "H100"));
    host.until_it_has(&["GPU-t-0", "GPU-t-2", "GPU-t-1"]).await;
    host.events("xid = 48 GPU-t-2");
    host.until(|view| sign(view, "GPU-t-2").faults == 1).await;
}

#[tokio::test]
async fn events_that_fail_are_asked_for_anew() {
    let mut host = Host::new("1x80GiB:H100");
    host.until(|view| view.signs.iter().any(|sign| sign.passing.is_some())).await;
    host.change(|script| script.replace("[driver]", "[driver]\nevents_fail = 15"));
    // A second look from here on ends a wait that failed.
    let (mut looks, seen) = (host.monitor.looks(), *host.monitor.looks().borrow());
    timeout(PATIENCE, looks.wait_for(|looks| *looks >= seen + 2)).await.unwrap().unwrap();
    host.change(|script| script.replace("events_fail = 15", "events_fail = 0"));
    let seen = *host.monitor.looks().borrow();
    timeout(PATIENCE, looks.wait_for(|looks| *looks >= seen + 2)).await.unwrap().unwrap();
    host.events("xid = 48 GPU-t-0");
    host.until(|view| sign(view, "GPU-t-0").faults == 1).await;
}

#[tokio::test]
async fn a_driver_that_hides_what_processes_hold_is_told_of_once() {
    let mut host = Host::new("1x80GiB:H100");
    host.change(|script| script.replace("temperature = 30", "temperature = 30\nprocess = 7 -\nprocess = 8 12"));
    let view = host.until(|view| view.signs.iter().any(|sign| sign.notes > 0)).await;
    assert!(sign(&view, "GPU-t-0").last_note.contains("no share is enforced"), "{view:?}");
    assert_eq!(card(&view, "GPU-t-0").processes, [(7, None), (8, Some(12))]);
    let (mut looks, seen) = (host.monitor.looks(), *host.monitor.looks().borrow());
    timeout(PATIENCE, looks.wait_for(|looks| *looks >= seen + 2)).await.unwrap().unwrap();
    assert_eq!(sign(&host.monitor.view(), "GPU-t-0").notes, 1);
}
