//! What a number is worth nothing without: on what, under what, when and by which command it was measured.

use std::fmt;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The global allocator, by the name of the feature that chose it.
pub const ALLOCATOR: &str = if cfg!(feature = "mimalloc") {
    "mimalloc"
} else if cfg!(feature = "jemalloc") {
    "jemalloc"
} else {
    SYSTEM
};

/// The allocator that comes with the C library.
pub const SYSTEM: &str = "system";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    pub cpu: String,
    pub threads: usize,
    pub system: String,
    /// [`ALLOCATOR`].
    pub allocator: String,
    pub c_library: String,
    pub huge_pages: String,
    /// The load average of the minute before: at nought, nothing else was running.
    pub load: String,
    /// Which processors the process may use, and which of them share a core. A host may place virtual ones as it likes.
    #[serde(default)]
    pub placement: String,
    pub date: String,
    pub command: String,
}

impl Circumstances {
    pub fn now() -> Circumstances {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let known =
            |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|pair| pair.1);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let binary = std::env::current_exe().ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
        let c_library = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok();
        let c_library = c_library.and_then(|output| String::from_utf8(output.stdout).ok());
        Circumstances {
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |model| model.trim().to_owned()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            system: system(&read("/etc/os-release"), &read("/proc/sys/kernel/osrelease")),
            allocator: ALLOCATOR.to_owned(),
            c_library: known(c_library.as_deref()),
            huge_pages: known(Some(&read("/sys/kernel/mm/transparent_hugepage/enabled"))),
            load: known(read("/proc/loadavg").split_once(' ').map(|pair| pair.0)),
            placement: placement(),
            date: date(seconds),
            command: command(binary.as_deref().unwrap_or("compare"), &arguments),
        }
    }

    /// In words.
    pub fn allocator(&self) -> String {
        if self.allocator == SYSTEM { format!("{}'s", self.c_library) } else { self.allocator.clone() }
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Circumstances { cpu, threads, system, huge_pages, load, placement, date, command, .. } = self;
        writeln!(f, "{cpu}, {threads} hardware threads; {system}; allocator: {}; {date}.", self.allocator())?;
        write!(f, "Transparent huge pages: `{huge_pages}`. Load average when it began: {load}.")?;
        if !placement.is_empty() {
            write!(f, " {placement}")?;
        }
        writeln!(f, "\nCommand: `{command}`.")
    }
}

fn placement() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map_or("unknown", str::trim);
    let mut cores: Vec<String> = (0..1024)
        .map_while(|cpu| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            std::fs::read_to_string(path).ok().map(|list| list.trim().to_owned())
        })
        .collect();
    cores.dedup();
    let shared: Vec<&str> = cores.iter().map(String::as_str).filter(|list| list.contains([',', '-'])).collect();
    let siblings = match (cores.is_empty(), shared.is_empty()) {
        (true, _) => "which share a core is unknown".to_owned(),
        (_, true) => "none reported as sharing a core".to_owned(),
        _ => format!("sharing a core: {}", shared.join("; ")),
    };
    format!("Processors allowed: {allowed}, {siblings}.")
}

/// What of the process lies in memory.
pub fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()? << 10)
}

/// The distribution, and the kernel's version without what its builder appended.
fn system(os_release: &str, kernel: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let numbers: Vec<&str> = kernel.trim().splitn(3, '.').take(2).collect();
    if kernel.is_empty() { name.to_owned() } else { format!("{name}, kernel {}", numbers.join(".")) }
}

fn command(binary: &str, arguments: &[String]) -> String {
    let mut command = String::from("cargo run --release -p compare");
    if ALLOCATOR != SYSTEM {
        let _ = write!(command, " --features {ALLOCATOR}");
    }
    if binary != "compare" {
        let _ = write!(command, " --bin {binary}");
    }
    if !arguments.is_empty() {
        let _ = write!(command, " -- {}", arguments.join(" "));
    }
    command
}

/// The civil date of a Unix time, after Howard Hinnant's `civil_from_days`.
pub fn date(unix_seconds: u64) -> String {
    let days = (unix_seconds / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
