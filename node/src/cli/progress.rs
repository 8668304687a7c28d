//! A progress bar on standard error, only where somebody looks at it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `bytes`, labelled. It draws nothing when standard error is no terminal.
#[must_use]
pub(super) fn bar(label: &str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg:24!} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_style(style.expect("the template is one"));
    bar.set_message(label.to_owned());
    bar
}
