//! Templates: list, read, write, delete. The body of a write is the template itself, byte for byte.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG};
use raft::command::Edit;
use raft::state::{ScriptStyle, TEMPLATE_BYTES_MAX, Template, TemplateKind};
use raft::types::Digest;
use serde::Deserialize;

use super::body::{Asked, Names, blocking, whole};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::write::{Write, etag};
use super::{Context, view};

/// What a list of templates may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the name.
    prefix: String,
    /// Where they are served.
    r#type: Option<TemplateKind>,
}

pub(super) async fn list(State(context): State<Context>, Asked(filter): Asked<Filter>) -> Answer<Response> {
    // Each item's text is hashed.
    blocking(move || page_of(&context, filter)).await
}

fn page_of(context: &Context, filter: Filter) -> Answer<Response> {
    let state = context.cluster.read();
    let found = state.templates().filter(|stored| {
        let Template { kind, name, .. } = &stored.value;
        name.starts_with(&filter.prefix) && filter.r#type.is_none_or(|wanted| wanted == *kind)
    });
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(asked, found, |stored| cursor(&stored.value), |stored| view::template(stored, false))
}

/// In the order the state keeps them: kinds first, in the order of their declaration.
fn cursor(template: &Template) -> String {
    let order = match template.kind {
        TemplateKind::Generic => 'a',
        TemplateKind::Ignition => 'b',
        TemplateKind::Cloud => 'c',
    };
    format!("{order}/{}", template.name)
}

/// How a template is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct How {
    /// The bytes themselves instead of a description.
    content: bool,
}

pub(super) async fn read(
    State(context): State<Context>,
    Names((kind, name)): Names<(String, String)>,
    Asked(how): Asked<How>,
) -> Answer<Response> {
    let kind = kind_of(&kind)?;
    let state = context.cluster.read();
    let missing = || ApiError::not_found(format!("template `{name}` of type {}", kind.name()));
    let stored = state.template(kind, &name).ok_or_else(missing)?;
    if !how.content {
        return Ok(view::template(stored, true).answer());
    }
    let mut response = ([(CONTENT_TYPE, "application/octet-stream")], stored.value.content.clone()).into_response();
    if let Some(tag) = etag(stored.revision) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// How a template may be written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct About {
    /// Store it although no machine can be given what it makes.
    allow_unusable: bool,
}

pub(super) async fn write(
    State(context): State<Context>,
    Names((kind, name)): Names<(String, String)>,
    Asked(about): Asked<About>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let kind = kind_of(&kind)?;
    let content = whole(&headers, body, TEMPLATE_BYTES_MAX).await?.into_bytes();
    let digest = Digest::of(&content);
    let template = Template { kind, name, content };
    if !judged(&context.cluster.read(), about.allow_unusable) {
        return write.one(&context, Edit::PutTemplate(template), digest).await;
    }
    let reader = context.clone();
    let template = blocking(move || usable(&reader, &template).map(|()| template)).await?;
    let context = context.without_template_check();
    write.one(&context, Edit::PutTemplate(template), digest).await
}

/// Whether templates are refused when they are unusable, so that nothing is left to warn of. Where matchbox is to be matched
/// to the byte they are not: it stores anything.
pub(super) fn judged(state: &raft::state::State, allow_unusable: bool) -> bool {
    let exact = state.settings().is_some_and(|settings| settings.value.script_style == ScriptStyle::Matchbox);
    !allow_unusable && !exact
}

/// Refuses a template of which no machine could be given anything.
///
/// # Errors
/// `unusable_template`, with the place in it.
pub(super) fn usable(context: &Context, template: &Template) -> Answer<()> {
    let checked = (context.checks.template)(template.kind, &template.name, &template.content);
    checked.map_err(|problem| {
        let hint =
            "correct it, or store it all the same (--allow-unusable, `allow_unusable`): machines that fetch it get 404";
        ApiError::unprocessable("unusable_template", problem, hint).at("content")
    })
}

pub(super) async fn delete(
    State(context): State<Context>,
    Names((kind, name)): Names<(String, String)>,
    write: Write,
) -> Answer<Response> {
    write.one(&context, Edit::DeleteTemplate(kind_of(&kind)?, name), Digest::of(b"")).await
}

fn kind_of(text: &str) -> Answer<TemplateKind> {
    match text {
        "generic" => Ok(TemplateKind::Generic),
        "ignition" => Ok(TemplateKind::Ignition),
        "cloud" => Ok(TemplateKind::Cloud),
        _ => {
            let hint = "write /templates/generic/…, /templates/ignition/… or /templates/cloud/…";
            Err(ApiError::bad_request("invalid_path", "there is no such type of template", hint).at("type"))
        }
    }
}
