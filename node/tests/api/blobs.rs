//! Assets over the API: bytes first, name last; and what happens when the bytes are wrong or too many.

use std::fs;

use raft::types::Digest;
use serde_json::json;

use crate::server::Server;
use crate::small::SmallDisk;

#[test]
fn an_asset_is_uploaded_described_fetched_and_removed() {
    let server = Server::start();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes).to_string();
    let put =
        server.call_and("PUT", "/api/v1/assets/talos/vmlinuz?origin=here", &[("x-content-sha256", &digest)], &bytes);
    assert_eq!(put.status, 201);
    assert_eq!(put.ok()["effect"], "created");
    let about = server.get("/api/v1/assets/talos/vmlinuz").ok();
    assert_eq!((&about["digest"], &about["size"], &about["stored"]), (&json!(digest), &json!(1_200_000), &json!(true)));
    assert_eq!(about["origin"], "here");
    for path in ["/api/v1/assets/talos/vmlinuz?content=true".to_owned(), format!("/api/v1/blobs/{digest}")] {
        let got = server.get(&path);
        assert_eq!(got.bytes, bytes, "{path}");
        assert_eq!((got.header("etag"), got.header("content-length")), (&*format!("\"{digest}\""), "1200000"));
    }
    server.call("PUT", "/api/v1/assets/talos/other", b"x").ok();
    let listed = server.get("/api/v1/assets?prefix=talos/v").ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    server.call("DELETE", "/api/v1/assets/talos/vmlinuz", b"").ok();
    assert_eq!(server.get("/api/v1/assets/talos/vmlinuz").status, 404);
    assert_eq!(server.get(&format!("/api/v1/blobs/{digest}")).status, 200, "the bytes stay for their grace");
}

#[test]
fn bytes_can_go_first_and_get_their_names_by_one_apply() {
    let server = Server::start();
    let digest = Digest::of(b"kernel").to_string();
    let blob = format!("/api/v1/blobs/{digest}");
    assert_eq!(server.call("HEAD", &blob, b"").status, 404);
    assert_eq!(server.call("PUT", &blob, b"kernel").status, 201);
    assert_eq!(server.call("PUT", &blob, b"kernel").status, 200);
    assert_eq!(server.call("HEAD", &blob, b"").status, 200);
    server
        .apply(&json!({"items": [
            {"kind": "asset", "name": "a", "digest": digest},
            {"kind": "asset", "name": "b", "digest": digest, "media_type": "text/x"},
        ]}))
        .ok();
    assert_eq!(server.get("/api/v1/assets/b").ok()["size"], 6);
    assert_eq!(server.get("/api/v1/assets/b?content=true").header("content-type"), "text/x");
    let shown = server.get("/api/v1/assets/b?content=true");
    assert_eq!(shown.header("content-security-policy"), "default-src 'none'; sandbox", "a page would do nothing");
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    let again = server.apply(&json!({"items": [server.get("/api/v1/assets/b").ok()]})).ok();
    assert_eq!(again["unchanged"], 1, "what was read may be sent back");
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    let server = Server::start();
    let digest = Digest::of(b"kernel").to_string();
    let wrong = server.call_and("PUT", "/api/v1/assets/k", &[("x-content-sha256", &digest)], b"kernfl");
    assert_eq!(wrong.error(), (422, "digest_mismatch".into(), "digest".into()));
    let wrong = server.call("PUT", &format!("/api/v1/assets/k?digest={digest}"), b"kernfl");
    assert_eq!(wrong.error().1, "digest_mismatch");
    assert_eq!(server.call("PUT", &format!("/api/v1/blobs/{digest}"), b"kernfl").error().1, "digest_mismatch");
    assert_eq!(server.call_and("PUT", "/api/v1/assets/k", &[("x-content-sha256", "short")], b"x").error().2, "digest");
    assert_eq!(server.call("PUT", "/api/v1/assets/a//b", b"x").error().2, "name");
    assert_eq!(server.call("PUT", "/api/v1/assets/a%2F..%2Fb", b"x").error().2, "name");
    assert_eq!(server.call("PUT", "/api/v1/assets/k?media_type=a%0Ab", b"x").error().2, "media_type");
    assert_eq!(server.get("/api/v1/assets").ok()["items"], json!([]));
    assert_eq!(server.store.size(&Digest::of(b"kernfl")), None);
    assert_eq!(fs::read_dir(server.dir.path().join("assets/tmp")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_is_not_served() {
    let server = Server::start();
    server.call("PUT", "/api/v1/assets/k", b"kernel").ok();
    let digest = Digest::of(b"kernel").to_string();
    fs::write(server.dir.path().join("assets/blobs/sha256").join(&digest[..2]).join(&digest), "kernfl").unwrap();
    assert_eq!(server.get("/api/v1/assets/k?content=true").error().1, "blob_unavailable");
    assert_eq!(server.get("/api/v1/assets/k").ok()["stored"], false);
    assert_eq!(server.get("/api/v1/status").ok()["blobs"]["quarantined"], 1);
    server.call("PUT", "/api/v1/assets/k", b"kernel").ok();
    assert_eq!(server.get("/api/v1/assets/k?content=true").bytes, b"kernel");
}

#[test]
fn an_upload_larger_than_the_disk_is_refused_and_the_node_lives_on() {
    let disk = SmallDisk::new(16);
    let server = Server::start_in(tempfile::tempdir().unwrap(), disk.0.path());
    let large = vec![7; 20 * 1024 * 1024];
    for headers in [&[][..], &[("expect", "100-continue")]] {
        let reply = server.call_and("PUT", "/api/v1/assets/large", headers, &large);
        assert_eq!(reply.error(), (507, "disk_full".into(), String::new()));
    }
    // Of unknown length: noticed on the way.
    let chunked = server.call_and("PUT", "/api/v1/assets/large", &[("transfer-encoding", "chunked")], &large);
    assert_eq!(chunked.error().0, 507);
    assert_eq!(fs::read_dir(disk.0.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(server.call("PUT", "/api/v1/assets/small", b"kernel").status, 201);
}
