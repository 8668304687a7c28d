//! Everything that can be asked, and the role it takes. Each answer passes through here once.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post, put};
use raft::state::Role;

use super::error::ApiError;
use super::{
    Context, apply, assets, auth, backup, blobs, browser, ca, certificates, cluster, explain, machines, objects,
    openapi, request_id, settings, status, support, templates, tokens,
};

/// Where the API begins.
const PREFIX: &str = "/api/v1";

/// The table: path, what its bearer must at least be, what answers.
fn table() -> Vec<(&'static str, Role, MethodRouter<Context>)> {
    use Role::{Admin, Operate, Read};
    vec![
        ("/status", Read, get(status::status)),
        ("/profiles", Read, get(objects::list_profiles)),
        ("/profiles/{*id}", Read, get(objects::get_profile)),
        ("/profiles/{*id}", Operate, put(objects::put_profile).delete(objects::delete_profile)),
        ("/groups", Read, get(objects::list_groups)),
        ("/groups/{*id}", Read, get(objects::get_group)),
        ("/groups/{*id}", Operate, put(objects::put_group).delete(objects::delete_group)),
        ("/templates", Read, get(templates::list)),
        ("/templates/{type}/{*name}", Read, get(templates::read)),
        ("/templates/{type}/{*name}", Operate, put(templates::write).delete(templates::delete)),
        ("/assets", Read, get(assets::list)),
        ("/assets/{*name}", Read, get(assets::read)),
        ("/assets/{*name}", Operate, put(assets::write).delete(assets::delete)),
        ("/blobs/{digest}", Read, get(blobs::read)),
        ("/blobs/{digest}", Operate, put(blobs::write)),
        ("/machines", Read, get(machines::list)),
        ("/machines/{id}", Read, get(machines::read)),
        ("/machines/{id}", Operate, axum::routing::delete(machines::delete)),
        ("/machines/{id}/timeline", Read, get(machines::timeline)),
        ("/machines/{id}/policy", Operate, put(machines::write).patch(machines::patch)),
        ("/apply", Operate, post(apply::apply)),
        ("/explain", Read, post(explain::explain)),
        ("/settings", Read, get(settings::read)),
        ("/settings", Admin, put(settings::write).patch(settings::patch)),
        ("/cluster", Read, get(cluster::read)),
        ("/cluster/settings", Read, get(cluster::read_settings)),
        ("/cluster/settings", Admin, put(cluster::write_settings).patch(cluster::patch_settings)),
        ("/cluster/join-tokens", Admin, get(cluster::list_tokens).post(cluster::create_token)),
        ("/cluster/join-tokens/{id}", Admin, axum::routing::delete(cluster::delete_token)),
        ("/cluster/transfer", Admin, post(cluster::transfer)),
        ("/cluster/members/{node}", Admin, axum::routing::delete(cluster::remove)),
        ("/cluster/leave", Admin, post(cluster::leave)),
        ("/backup", Admin, get(backup::read)),
        ("/support", Admin, get(support::bundle)),
        ("/tokens", Admin, get(tokens::list).post(tokens::create)),
        ("/tokens/{id}", Admin, axum::routing::delete(tokens::delete)),
        ("/tokens/{id}/rotate", Admin, post(tokens::rotate)),
        ("/certificates", Read, get(certificates::list)),
        ("/certificates", Admin, post(certificates::issue)),
        ("/certificates/node", Read, get(certificates::own)),
        ("/certificates/{serial}/revocation", Admin, put(certificates::revoke).delete(certificates::forget)),
        ("/ca", Read, get(ca::read)),
        ("/ca/certificate", Read, get(ca::certificate)),
        ("/ca/rotate", Admin, post(ca::step)),
    ]
}

/// What anybody may ask.
fn open() -> Vec<(&'static str, MethodRouter<Context>)> {
    vec![
        ("/healthz", get(status::alive)),
        ("/readyz", get(status::ready)),
        ("/api/v1/openapi.json", get(openapi::read)),
    ]
}

/// The API as a service. `serve` adds the peer's address to each request.
pub fn router(context: Context) -> Router {
    let mut router = Router::new();
    for (path, methods) in open() {
        router = router.route(path, methods);
    }
    let reader = from_fn_with_state((context.clone(), Role::Read), auth::require);
    router = router.route("/metrics", get(support::numbers).route_layer(reader));
    for (path, role, methods) in table() {
        let guard = from_fn_with_state((context.clone(), role), auth::require);
        router = router.route(&format!("{PREFIX}{path}"), methods.route_layer(guard));
    }
    router
        .fallback(async || {
            let hint = "the API is below /api/v1; see the reference for its paths";
            ApiError::new(http::StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path", hint)
        })
        .method_not_allowed_fallback(async || {
            let hint = "the Allow header names the methods this path takes";
            ApiError::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take that method",
                hint,
            )
        })
        .layer(from_fn(browser::refuse_foreign))
        .layer(from_fn(request_id::stamp))
        .with_state(context)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PREFIX, open, openapi, table};

    #[test]
    fn the_reference_page_lists_every_path_with_its_role() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/admin-api.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        for (path, role, methods) in table() {
            let (path, role) = (format!("`{path}`"), format!("{role:?}").to_lowercase());
            let described = rows.iter().filter(|row| row.get(1) == Some(&&*path) && row.get(3) == Some(&&*role));
            assert!(described.count() == 1, "the page has not exactly one row for {path} as {role}: {methods:?}");
        }
        let described = rows.iter().filter(|row| row.get(1).is_some_and(|path| path.starts_with("`/"))).count();
        assert_eq!(described, table().len(), "the page describes paths that do not exist");
    }

    #[test]
    fn the_document_has_every_path_and_no_other() {
        let document = openapi::document();
        // OpenAPI has no names with slashes; percent-encoded they are one part of a path.
        let guarded = table().into_iter().map(|(path, ..)| format!("{PREFIX}{}", path.replace("{*", "{")));
        let others = open().into_iter().map(|(path, _)| path.to_owned()).chain(["/metrics".to_owned()]);
        let paths: BTreeSet<String> = guarded.chain(others).collect();
        let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, paths);
    }
}
