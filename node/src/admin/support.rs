//! What monitoring and those who look for a fault are given: the node's numbers, and one file from all nodes.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Serialize;

use super::error::{Answer, ApiError};
use super::{Context, cluster, status};
use crate::metrics::Page;
use crate::observe::FileText;

/// For Prometheus.
pub(super) async fn numbers(State(context): State<Context>) -> Response {
    ([(CONTENT_TYPE, Page::MEDIA_TYPE)], context.observe.numbers().await).into_response()
}

/// The settings as far as they are nobody's secret: arguments of kernels may hold passwords.
#[derive(Serialize)]
struct Settings {
    dhcp_mode: String,
    script_style: String,
    extra_kernel_args: String,
    loaders: usize,
}

/// One compressed file.
pub(super) async fn bundle(State(context): State<Context>) -> Answer<Response> {
    let state = context.cluster.read();
    let settings = state.settings().map(|stored| {
        let settings = &stored.value;
        Settings {
            dhcp_mode: format!("{:?}", settings.dhcp_mode).to_lowercase(),
            script_style: format!("{:?}", settings.script_style).to_lowercase(),
            extra_kernel_args: format!("{} (left out)", settings.extra_kernel_args.len()),
            loaders: settings.loaders.len(),
        }
    });
    let more = vec![
        text("status.json", &status::report(&context).await?),
        text("members.json", &cluster::report(&context).await),
        text("settings.json", &settings),
    ];
    let bundle = context.observe.bundle(more).await;
    let (name, bytes) = bundle.map_err(|error| ApiError::internal(format!("the file cannot be packed: {error}")))?;
    let disposition = format!("attachment; filename=\"{name}.tar.gz\"");
    let headers = [
        (CONTENT_TYPE, "application/gzip".to_owned()),
        (CONTENT_DISPOSITION, disposition),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

fn text(name: &str, value: &impl Serialize) -> FileText {
    FileText::json(name, value)
}
