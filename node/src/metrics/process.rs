//! What the kernel knows of this process: memory, files, threads, time spent.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::page::Page;

/// Writes it. What the kernel does not tell is left out.
pub fn write(page: &mut Page, started: SystemTime) {
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.number("process_start_time_seconds", since.as_secs_f64());
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    page.number("process_cpu_seconds_total", spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        page.count("process_resident_memory_bytes", kib.saturating_mul(1024));
    }
    if let Some(threads) = field(&status, "Threads:") {
        page.count("process_threads", threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.count("process_open_fds", open.count() as u64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = field(&limits, "Max open files") {
        page.count("process_max_fds", most);
    }
}

/// The first number after a word that begins a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let mut page = Page::default();
        write(&mut page, SystemTime::now());
        let text = page.text();
        for name in
            ["resident_memory_bytes", "open_fds", "max_fds", "threads", "cpu_seconds_total", "start_time_seconds"]
        {
            let line = text.lines().find(|line| line.starts_with(&format!("process_{name} "))).unwrap_or_default();
            let value: f64 = line.rsplit(' ').next().unwrap_or_default().parse().unwrap_or_default();
            assert!(value > 0.0, "{name}: {line}");
        }
    }
}
