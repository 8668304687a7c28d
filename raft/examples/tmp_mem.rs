//! temp
fn rss() -> String { let s=std::fs::read_to_string("/proc/self/status").unwrap(); s.lines().filter(|l| l.starts_with("RssAnon")).collect::<String>() }
fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    eprintln!("start {}", rss());
    let e = raft::engine::RocksEngine::open(raft::engine::RocksOptions{path: dir.join("db"), create:false, sync:true}).unwrap();
    eprintln!("engine {}", rss());
    let id: raft::codec::Identity = raft::codec::decode(&std::fs::read(dir.join("identity")).unwrap()).unwrap();
    let snaps = raft::snapshot::Snapshots::open(dir.join("snapshots"), id).unwrap();
    let l = raft::log_store::load(&e, None).unwrap();
    eprintln!("log {} {:?}", rss(), l.next);
    let s = raft::state_machine::load(&e, &snaps).unwrap();
    eprintln!("state {} {}", rss(), s.state.groups().len());
    drop(e);
    eprintln!("engine closed {}", rss());
    let c = s.state.clone();
    let mut n = raft::state::State::default();
    for r in c.records() { n.restore(raft::codec::decode_record(&raft::codec::encode_record(&r).unwrap()).unwrap()); }
    eprintln!("state again {}", rss());
    let groups: Vec<_> = c.groups().map(|g| g.value.clone()).collect();
    eprintln!("groups vec {}", rss());
    drop(groups);
}
